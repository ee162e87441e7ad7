//! What a report shows beside figures: images before and after, and the noise of layers.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use quad_ir::graph::Graph;
use quad_ir::interpret::NamedTensors;
use quad_ir::tensor::Tensor;
use quad_quantize::executor::{Executor, Reference};
use quad_quantize::metrics::errors;
use quad_quantize::metrics::images::Planes;
use quad_quantize::profile::Role;
use quad_quantize::sensitivity::bench::CEILING;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::calibrate::{self, Calibrated};
use super::freeze::FrozenStage;
use super::runner::{Runner, read};
use super::{BuildError, Failed};
use crate::adapters::{self, AdapterFailure};
use crate::cache::Product;
use crate::job::Job;
use crate::quantized::{self, Form};
use crate::report::Picture;

const LAYERS: &str = "layers.json";
/// An image of an output, in a file of its bytes.
const SIZES: &str = "picture.json";
/// Values of one run that are kept to be compared, in bytes: those of large models are left out after so many.
const KEPT: usize = 1 << 30;
/// The most pixels along a side of an image that is shown.
const SIDE: usize = 512;

/// The size of an image, and whether it has colours.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Size {
    width: u32,
    height: u32,
}

/// Writes the images that the first outputs of a sample are, in full precision and quantized, when they are images.
pub(super) fn write_pictures(
    folder: &Path,
    expected: &NamedTensors,
    found: &NamedTensors,
    job: &Job,
) -> Result<(), Failed> {
    let Some((name, before)) = expected.iter().next() else { return Ok(()) };
    let Some(after) = found.get(name) else { return Ok(()) };
    let range = match job.verify.peak {
        // Images in [-1, 1].
        Some(2.0) => (-1.0, 1.0),
        _ => match extremes(before)? {
            Some(range) => range,
            None => return Ok(()),
        },
    };
    for (file, tensor) in [("before", before), ("after", after)] {
        let Some((size, pixels)) = pixels(tensor, job.verify.shuffle as usize, range) else { return Ok(()) };
        fs::write(folder.join(file), pixels)?;
        fs::write(folder.join(SIZES), serde_json::to_vec(&size)?)?;
    }
    Ok(())
}

fn extremes(tensor: &Tensor) -> Result<Option<(f32, f32)>, Failed> {
    let numbers = tensor.to_f32()?;
    let low = numbers.iter().copied().fold(f32::INFINITY, f32::min);
    let high = numbers.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    Ok((low < high).then_some((low, high)))
}

/// The pixels of a tensor that is an image of one or three planes.
fn pixels(tensor: &Tensor, block: usize, (low, high): (f32, f32)) -> Option<(Size, Vec<u8>)> {
    let planes = Planes::of(tensor, block).ok()?;
    let (height, width) = planes.size();
    let area = height * width;
    let count = planes.numbers().len() / area.max(1);
    if !(count == 1 || count == 3) || !(8..=SIDE).contains(&height) || !(8..=SIDE).contains(&width) {
        return None;
    }
    let mut bytes = Vec::with_capacity(3 * area);
    for pixel in 0..area {
        for colour in 0..3 {
            let number = planes.numbers()[(colour % count) * area + pixel];
            bytes.push((255.0 * (number - low) / (high - low)).round().clamp(0.0, 255.0) as u8);
        }
    }
    Some((Size { width: width as u32, height: height as u32 }, bytes))
}

/// The images that verifying `adapter` on `target` left.
pub(super) fn pictures(product: &Product, adapter: &str, target: &str) -> Vec<Picture> {
    let read = |file: &str, what: &str| {
        let size: Size = serde_json::from_slice(&fs::read(product.folder.join(SIZES)).ok()?).ok()?;
        let pixels = fs::read(product.folder.join(file)).ok()?;
        let caption = format!("{adapter}, {what}");
        Some(Picture { caption, width: size.width, height: size.height, pixels })
    };
    let after = format!("quantized for {target}");
    [read("before", "full precision"), read("after", &after)].into_iter().flatten().collect()
}

/// The signal-to-quantization-noise ratio of each quantized value, with the adapter `name` on its first sample.
pub(super) fn layers(
    run: &Runner<'_>,
    frozen: &FrozenStage,
    calibrated: &Calibrated<'_>,
    profile: &Product,
    name: &str,
) -> Result<Vec<(String, f64)>, BuildError> {
    let inputs = json!({
        "frozen": frozen.product.digest, "profile": profile.digest, "adapter": frozen.sources.adapters[name],
        "data": frozen.sources.data[name], "ignore": run.job.calibration.ignore, "expose": run.job.expose,
    });
    let product = run.stage("layers", name, &inputs, |place| {
        let profile = super::profile::read(profile)?;
        let mut module = frozen.module()?.clone();
        quantized::quantize(&mut module, &frozen.facts.digest, &profile, Form::Qdq)?;
        let prepared = calibrate::prepared(run, name, module)?;
        let slots = adapters::fill(&prepared, [(0, 1.0)])?.slots;
        let samples = calibrated.data(name)?;
        let main = frozen.module()?.main().ok_or(AdapterFailure::NoMain)?;
        let mut kept: BTreeMap<String, Vec<f32>> = BTreeMap::new();
        let mut bytes = 0;
        observe(main, &samples.inputs(0, &calibrated.slots(name)?)?, &mut |value, numbers| {
            let is_wanted = profile.entries.get(value).is_some_and(|entry| entry.role == Role::Activation);
            if is_wanted && bytes < KEPT {
                bytes += 4 * numbers.len();
                kept.insert(format!("{value}.dq"), numbers.to_vec());
            }
        })?;
        let mut layers: BTreeMap<String, f64> = BTreeMap::new();
        let main = prepared.module.main().ok_or(AdapterFailure::NoMain)?;
        observe(main, &samples.inputs(0, &slots)?, &mut |value, numbers| {
            let sqnr = kept.get(value).and_then(|real| errors::sqnr(real, numbers).ok());
            if let Some(sqnr) = sqnr {
                layers.insert(value.trim_end_matches(".dq").to_owned(), sqnr.min(CEILING));
            }
        })?;
        place.write(LAYERS, &layers)
    })?;
    let layers: BTreeMap<String, f64> = Runner::reading("layers", read(&product, LAYERS))?;
    Ok(layers.into_iter().collect())
}

fn observe(graph: &Graph, inputs: &NamedTensors, seen: &mut dyn FnMut(&str, &[f32])) -> Result<(), Failed> {
    let limit = crate::limits::default_limit(graph, inputs);
    let executor = Reference::new(graph)?.with_memory_limit(limit);
    executor.run_observed(inputs, &mut |name, tensor| {
        if tensor.dtype().is_float()
            && let Ok(numbers) = tensor.to_f32()
        {
            seen(name, &numbers);
        }
    })?;
    Ok(())
}
