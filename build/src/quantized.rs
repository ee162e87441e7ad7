//! A profile put into effect: the frozen model with stored integers.

use quad_ir::dtype::DType;
use quad_ir::module::Module;
use quad_passes::context::Context;
use quad_passes::pass::PassError;
use quad_passes::pipeline::{Pipeline, PipelineError};
use quad_passes::registry::Registry;
use quad_passes::runner::{self, RunError, RunOptions};
use quad_quantize::insert::{self, Report};
use quad_quantize::profile::{Entry, Profile};

/// How quantization is written in a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Values of quantized types: arithmetic with integers.
    Typed,
    /// Pairs of operations that quantize and dequantize: the simulation in floats, and what ONNX holds.
    Qdq,
}

/// A profile could not be put into effect.
#[derive(Debug, thiserror::Error)]
pub enum QuantizeError {
    /// The profile is of another graph, or does not fit it.
    #[error(transparent)]
    Insert(#[from] PassError),
    /// The passes that follow are not such.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// A pass that follows failed.
    #[error(transparent)]
    Run(#[from] Box<RunError>),
}

/// Quantizes `module`, a frozen one with the digest `digest`, as `profile` says. The report says what became of each value.
pub fn quantize(
    module: &mut Module,
    digest: &str,
    profile: &Profile,
    form: Form,
) -> Result<Report, QuantizeError> {
    let report = insert::insert_profile(module, digest, profile, &mut Context::default())?;
    let finish = if form == Form::Typed { "fold-quant,dce" } else { "dce" };
    let pipeline = Pipeline::parse(finish, &Registry::standard())?;
    runner::run(&pipeline, module, &RunOptions::default(), &mut []).map_err(Box::new)?;
    Ok(report)
}

/// Lets biases stay floats that `profile` stores in 64 bits, because ONNX dequantizes 32 at most. How many there are.
pub fn keep_wide_biases(profile: &mut Profile) -> usize {
    let is_wide = |(_, entry): &(&String, &Entry)| entry.encoding.stored == DType::I64;
    let wide: Vec<String> = profile.entries.iter().filter(is_wide).map(|(name, _)| name.clone()).collect();
    for name in &wide {
        profile.entries.remove(name);
        profile.floats.insert(name.clone(), "a bias of 64 bits, which ONNX does not dequantize".to_owned());
    }
    wide.len()
}
