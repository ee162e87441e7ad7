//! Slots of 8 bits whose factors are normalized by rank, from a model and adapters to outputs: one encoding fits all adapters,
//! nothing is clipped, and outputs are as good as with slots of their own.

use libtest_mimic::Failed;
use quad_frontends::data::npz;
use quad_frontends::data::safetensors::SafeTensorsFile;
use quad_ir::dtype::DType;
use serde_json::Value;

use crate::{Bench, Calibrated, Form, TASKS, expected, inputs, lora, output, psnr};

/// What outputs have at least against the float model, in decibels: with two samples of each adapter to calibrate with,
/// activations are clipped now and then.
const QUALITY: f64 = 40.0;

/// See the [module](self).
pub(crate) fn slots_are_normalized_by_rank() -> Result<(), Failed> {
    let statistics = Calibrated::new(Form::Normalized);
    let bench = Bench::new(&statistics, "w8a16-slots8")?;
    let typed = bench.quantize("typed.quad", &[])?;
    let profile: Value = serde_json::from_slice(&std::fs::read(bench.path("profile"))?)?;
    let entries = profile["entries"].as_object().ok_or("entries")?;
    let scales: Vec<f64> = entries
        .iter()
        .filter(|(name, _)| name.contains(".lora_A") || name.contains(".lora_B"))
        .filter_map(|(_, entry)| entry["scale"].as_f64())
        .collect();
    assert!(
        scales.len() > 100 && scales.iter().all(|scale| (scale * 127.0 - 1.0).abs() < 1e-6),
        "{scales:?}"
    );
    for task in TASKS {
        let taken = bench.path("inputs.npz");
        npz::write(&taken, &inputs(task)?)?;
        let packed = bench.path("packed.safetensors");
        let pack = output(&[
            "adapter".into(),
            "pack".into(),
            typed.clone().into(),
            lora(task).into(),
            "--strict".into(),
            "-o".into(),
            packed.clone().into(),
        ])?;
        assert!(pack.status.success(), "{task}: {}", String::from_utf8_lossy(&pack.stderr));
        let file = SafeTensorsFile::open(&packed)?;
        let is_factor = |name: &str| name.contains(".lora_A") || name.contains(".lora_B");
        let factors = || file.tensors().iter().filter(|(name, _)| is_factor(name));
        assert!(factors().all(|(_, tensor)| tensor.dtype() == DType::I8), "{task}: factors are bytes");
        let reaches_the_end = |codes: Vec<i64>| codes.iter().any(|code| code.abs() == 127);
        let full = factors()
            .filter_map(|(_, tensor)| tensor.to_i64().ok())
            .filter(|codes| reaches_the_end(codes.clone()));
        assert!(full.count() > 100, "{task}: factors use all codes");
        let found = psnr(&bench.run(&typed, Some(&packed), &taken)?, &expected(task)?)?;
        assert!(found > QUALITY, "{task}: {found:.2} dB against the float model");
    }
    Ok(())
}
