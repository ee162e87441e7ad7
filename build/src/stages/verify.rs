//! The proof of each adapter on each target: what is packed for it takes effect, and how far outputs are from the model's.

use std::collections::BTreeMap;

use quad_frontends::data::safetensors::{self, SafeTensorsFile};
use quad_ir::graph::Graph;
use quad_ir::interpret::NamedTensors;
use quad_ir::text;
use quad_quantize::executor::samples::Samples;
use quad_quantize::executor::{Reference, run_all};
use quad_quantize::metrics::errors;
use quad_quantize::metrics::images::Likeness;
use quad_quantize::sensitivity::bench::CEILING;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::calibrate::{Calibrated, data};
use super::freeze::FrozenStage;
use super::runner::{Runner, read};
use super::target::{MODULE, Made};
use super::{BuildError, Failed, look};
use crate::bundle::{Packer, Packing};
use crate::cache::Product;
use crate::job::{Job, TargetKind};
use crate::limits::default_limit;

const OUTPUTS: &str = "outputs.safetensors";
const FIGURES: &str = "figures.json";
const PACKING: &str = "packing.json";
/// The file of slots.
pub(crate) const PACKED: &str = "packed.safetensors";

/// How an adapter is on a target, against the model in full precision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Peak signal-to-noise ratio in decibels, the mean over samples.
    pub psnr: f64,
    /// Structural similarity, where outputs are images.
    pub ssim: Option<f64>,
    /// Signal-to-quantization-noise ratio in decibels, over all outputs.
    pub sqnr: f64,
    /// How far the adapter moves an output at most, relative to its largest magnitude.
    pub effect: f64,
    /// Samples that were run.
    pub samples: usize,
    /// What is cut off of the adapter.
    pub packing: Packing,
}

impl Figures {
    /// A sentence when the quality is below what the job asks for.
    pub(super) fn poor(&self, job: &Job, adapter: &str, target: TargetKind) -> Option<String> {
        let least = job.verify.min_psnr.filter(|least| self.psnr < *least)?;
        Some(format!(
            "adapter `{adapter}` has {:.2} dB on target `{}`, and the job asks for {least:.2} dB",
            self.psnr,
            target.name()
        ))
    }
}

/// What an adapter is packed to.
pub(crate) struct Slots {
    pub(crate) product: Product,
    pub(crate) packing: Packing,
}

/// Packs the adapter `name` for a target.
pub(super) fn pack(run: &Runner<'_>, made: &Made, name: &str) -> Result<Slots, BuildError> {
    let adapter = &run.job.adapters[name];
    let source = run.digest(&adapter.path)?;
    let allow = &run.job.expose.allow_unused;
    let inputs = json!({"target": made.product.digest, "adapter": source, "name": name, "allow": allow});
    let of = format!("{name} for {}", made.kind.name());
    let product = run.stage("pack", of, &inputs, |place| {
        let packer = Packer::open(&made.files(), &made.facts)?;
        let packing =
            packer.pack(name, &adapter.path, &source, allow, &place.folder.join(PACKED), &mut place.notes)?;
        place.write(PACKING, &packing)
    })?;
    let packing = Runner::reading("pack", read(&product, PACKING))?;
    Ok(Slots { product, packing })
}

/// Runs the graph of a target with an adapter, and compares.
pub(super) fn verify(
    run: &Runner<'_>,
    frozen: &FrozenStage,
    calibrated: &Calibrated<'_>,
    made: &Made,
    name: &str,
    slots: &Slots,
) -> Result<(Figures, Product), BuildError> {
    let expected = expected(run, frozen, calibrated, name)?;
    let (job, data_digest) = (run.job, &frozen.sources.data[name]);
    let inputs = json!({
        "target": made.product.digest, "packed": slots.product.digest, "expected": expected.digest,
        "data": data_digest, "ignore": job.calibration.ignore, "verify": job.verify,
    });
    let of = format!("{name} on {}", made.kind.name());
    let product = run.stage("verify", of, &inputs, |place| {
        let module = text::read_files(&made.product.folder.join(MODULE))?;
        let main = module.main().ok_or("no graph of the model runs")?;
        let samples = data(run, name, main)?;
        let which = spread(samples.len(), job.verify.samples);
        let packed: NamedTensors =
            SafeTensorsFile::open(&slots.product.folder.join(PACKED))?.tensors().iter().cloned().collect();
        let done = place.counter(run, which.len() + 1);
        let found = run_graph(main, &samples, &packed, &which, &done)?;
        let base = Packer::open(&made.files(), &made.facts)?.base()?;
        let without = run_graph(main, &samples, &base, &which[..1], &done)?;
        drop(done);
        let expected = read_outputs(&expected)?;
        let figures = Figures {
            effect: effect(&found[..1], &without)?,
            packing: slots.packing.clone(),
            ..compare(&expected, &found, job)?
        };
        if let (Some(expected), Some(found)) = (expected.first(), found.first()) {
            look::write_pictures(place.folder, expected, found, job)?;
        }
        place.write(FIGURES, &figures)
    })?;
    let figures: Figures = Runner::reading("verify", read(&product, FIGURES))?;
    if figures.effect > 0.0 {
        return Ok((figures, product));
    }
    Err(BuildError::NoEffect { adapter: name.to_owned(), target: made.kind.name() })
}

/// The outputs of the model in full precision with the adapter `name`.
fn expected(
    run: &Runner<'_>,
    frozen: &FrozenStage,
    calibrated: &Calibrated<'_>,
    name: &str,
) -> Result<Product, BuildError> {
    let inputs = json!({
        "frozen": frozen.product.digest, "slots": calibrated.slots_digest(name), "data": frozen.sources.data[name],
        "ignore": run.job.calibration.ignore, "samples": run.job.verify.samples,
    });
    run.stage("expected", name, &inputs, |place| {
        let main = frozen.module()?.main().ok_or("no graph of the model runs")?;
        let samples = calibrated.data(name)?;
        let which = spread(samples.len(), run.job.verify.samples);
        let done = place.counter(run, which.len());
        let outputs = run_graph(main, &samples, &calibrated.slots(name)?, &which, &done)?;
        drop(done);
        let mut tensors = NamedTensors::new();
        for (sample, outputs) in outputs.into_iter().enumerate() {
            // So that the order of names is that of samples.
            tensors.extend(
                outputs.into_iter().map(|(output, tensor)| (format!("{sample:08}/{output}"), tensor)),
            );
        }
        Ok(safetensors::write(&place.folder.join(OUTPUTS), &tensors, &BTreeMap::new())?)
    })
}

fn read_outputs(product: &Product) -> Result<Vec<NamedTensors>, Failed> {
    let mut outputs: BTreeMap<String, NamedTensors> = BTreeMap::new();
    for (name, tensor) in SafeTensorsFile::open(&product.folder.join(OUTPUTS))?.tensors() {
        let (sample, output) = name.split_once('/').ok_or("outputs without a sample")?;
        outputs.entry(sample.to_owned()).or_default().insert(output.to_owned(), tensor.clone());
    }
    Ok(outputs.into_values().collect())
}

/// At most `most` samples of `len`, spread over all.
fn spread(len: usize, most: usize) -> Vec<usize> {
    let count = most.max(1).min(len);
    (0..count).map(|at| at * len / count).collect()
}

fn run_graph(
    main: &Graph,
    samples: &Samples,
    slots: &NamedTensors,
    which: &[usize],
    done: &(dyn Fn() + Sync),
) -> Result<Vec<NamedTensors>, Failed> {
    let limit = default_limit(main, &samples.inputs(which.first().copied().unwrap_or(0), slots)?);
    let executor = Reference::new(main)?.with_memory_limit(limit);
    Ok(run_all(&executor, samples, slots, which.iter().copied(), done)?)
}

/// How far `found` is from `expected`.
fn compare(expected: &[NamedTensors], found: &[NamedTensors], job: &Job) -> Result<Figures, Failed> {
    let peak = match job.verify.peak {
        Some(peak) => peak,
        None => spread_of(expected)?,
    };
    let (mut psnr, mut ssim, mut reals, mut stored) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (expected, found) in expected.iter().zip(found) {
        for (name, tensor) in expected.iter().filter(|(_, tensor)| tensor.dtype().is_float()) {
            let found = found.get(name).ok_or_else(|| format!("the target has no output `{name}`"))?;
            let likeness = Likeness::between(tensor, found, job.verify.shuffle as usize, peak)?;
            psnr.push(likeness.psnr);
            ssim.extend(likeness.ssim);
            reals.extend_from_slice(&tensor.to_f32()?);
            stored.extend_from_slice(&found.to_f32()?);
        }
    }
    let ssim =
        (!ssim.is_empty() && ssim.len() == psnr.len()).then(|| ssim.iter().sum::<f64>() / ssim.len() as f64);
    if stored.iter().any(|number| !number.is_finite()) && reals.iter().all(|number| number.is_finite()) {
        return Err(
            "outputs on the target are no numbers, where those of the model in full precision are".into()
        );
    }
    let psnr = errors::mean_decibels(&psnr, CEILING).ok_or("the model has no output of floats to compare")?;
    if psnr.is_nan() {
        return Err("outputs of the model are no numbers: look at the samples, and at the adapter".into());
    }
    Ok(Figures {
        psnr,
        ssim,
        sqnr: errors::sqnr(&reals, &stored)?.min(CEILING),
        effect: 0.0,
        samples: expected.len(),
        packing: Packing::default(),
    })
}

/// From the smallest number of outputs to the largest.
fn spread_of(outputs: &[NamedTensors]) -> Result<f64, Failed> {
    let (mut low, mut high) = (f32::INFINITY, f32::NEG_INFINITY);
    for tensor in outputs.iter().flat_map(NamedTensors::values).filter(|tensor| tensor.dtype().is_float()) {
        for number in tensor.to_f32()?.iter() {
            (low, high) = (low.min(*number), high.max(*number));
        }
    }
    Ok(f64::from(high) - f64::from(low))
}

/// The largest difference of outputs, relative to their largest magnitude.
fn effect(with: &[NamedTensors], without: &[NamedTensors]) -> Result<f64, Failed> {
    let mut largest: f64 = 0.0;
    for (with, without) in with.iter().zip(without) {
        for (name, tensor) in with.iter().filter(|(_, tensor)| tensor.dtype().is_float()) {
            let other = without.get(name).ok_or_else(|| format!("the target has no output `{name}`"))?;
            let (with, without) = (tensor.to_f32()?, other.to_f32()?);
            let magnitude = without.iter().fold(0f32, |most, number| most.max(number.abs()));
            let difference =
                with.iter().zip(without.iter()).fold(0f32, |most, (a, b)| most.max((a - b).abs()));
            if difference > 0.0 {
                largest = largest.max(f64::from(difference) / f64::from(magnitude.max(f32::MIN_POSITIVE)));
            }
        }
    }
    Ok(largest)
}
