//! The ONNX model of the testbed in ONNX Runtime with one thread and without optimizations, against the interpreter with the
//! kernels of that: every number of the output is the same, to the bit, for every adapter.

use std::ffi::OsStr;
use std::path::Path;

use libtest_mimic::Failed;
use quad_frontends::data::npz;
use quad_frontends::data::safetensors::SafeTensorsFile;
use quad_ir::interpret::NamedTensors;

use crate::{Bench, Calibrated, Session, TASKS, inputs, lora, show};

/// Three forms of the model compute the same: with quantized types, with what stores and reads, and in the file that ONNX
/// Runtime is given.
pub(crate) fn are_computed(statistics: &Calibrated, precision: &str, python: &OsStr) -> Result<(), Failed> {
    let bench = Bench::new(statistics, precision)?;
    let typed = bench.quantize("typed.quad", &[])?;
    let qdq = bench.quantize("qdq.quad", &["--form", "qdq"])?;
    let model = bench.quantize("model.onnx", &[])?;
    for task in TASKS {
        let mut fed = inputs(task)?;
        let taken = bench.path("inputs.npz");
        npz::write(&taken, &fed)?;
        let packed = bench.pack(&typed, lora(task).as_os_str())?;
        fed.extend(SafeTensorsFile::open(&packed)?.tensors().iter().cloned());
        let expected = bench.onnxruntime(python, &model, &[fed], Session::Single)?.swap_remove(0);
        for form in [&typed, &qdq, &model] {
            // What is packed for one form is for all.
            let given =
                ["--kernels".as_ref(), "onnxruntime".as_ref(), "--adapter".as_ref(), packed.as_os_str()];
            let found = bench.run_with(form, &given, &taken)?;
            compare(&found, &expected, form, task)?;
        }
    }
    Ok(())
}

fn compare(found: &NamedTensors, expected: &NamedTensors, form: &Path, task: &str) -> Result<(), Failed> {
    let bits = |outputs: &NamedTensors| -> Result<Vec<u32>, Failed> {
        let numbers = outputs.values().next().ok_or("an output")?.to_f32()?;
        Ok(numbers.iter().map(|number| number.to_bits()).collect())
    };
    let (found, expected) = (bits(found)?, bits(expected)?);
    let differ = found.iter().zip(&expected).filter(|(found, expected)| found != expected).count();
    let said = format!("{task}, {}: {differ} of {} numbers differ", form.display(), expected.len());
    if std::env::var_os("QUAD_SHOW").is_some() {
        show(&said);
    }
    if differ == 0 && found.len() == expected.len() { Ok(()) } else { Err(said.into()) }
}
