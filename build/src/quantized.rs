//! A profile put into effect: the frozen model with stored integers.

use quad_backends::target::TargetInfo;
use quad_ir::dtype::DType;
use quad_ir::module::Module;
use quad_passes::context::Context;
use quad_passes::pass::PassError;
use quad_passes::pipeline::{Pipeline, PipelineError};
use quad_passes::registry::Registry;
use quad_passes::runner::{self, RunError, RunOptions};
use quad_quantize::insert::{self, Report};
use quad_quantize::precision::{Mixed, Precision};
use quad_quantize::profile::anchor::{self, AnchorError, AnchorRule};
use quad_quantize::profile::make::{Made, MakeError, Options, make};
use quad_quantize::profile::{Entry, Profile};
use quad_quantize::rules::{Rules, UnknownRules};
use quad_quantize::statistics::{BASE, Statistics};

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
    /// The profile is of another graph.
    #[error(
        "the profile is of another graph, {expected}, and this one is {found}: it fits the model in full precision that was \
         calibrated, {with}; one that was exposed for them needs none"
    )]
    OtherGraph {
        /// The digest of the graph that the profile is of.
        expected: String,
        /// The digest of this one.
        found: String,
        /// With which adapters, in words.
        with: String,
    },
    /// The profile does not fit the graph.
    #[error(transparent)]
    Insert(#[from] PassError),
    /// The passes that follow are not such.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// A pass that follows failed.
    #[error(transparent)]
    Run(#[from] Box<RunError>),
}

/// The encodings of a profile are not what a target takes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the profile is made by the rules `{found}`, and {target} takes those of {known}: make another of the same statistics, \
     `quad profile make STATS --anchor {anchor} --precision {precision} --rules {first} -o P`",
    first = known.first().copied().unwrap_or_default(),
    known = known.join(", ")
)]
pub struct Unsuitable {
    /// The rules of the profile.
    pub found: String,
    /// The target.
    pub target: &'static str,
    /// The rules that it takes.
    pub known: &'static [&'static str],
    /// Whose encodings these are.
    pub anchor: String,
    /// Bits of the profile.
    pub precision: Precision,
}

/// Whether the rules that `profile` was made by are those of `target`.
pub fn check_rules(profile: &Profile, target: &TargetInfo) -> Result<(), Unsuitable> {
    if target.rules.contains(&profile.rules.as_str()) {
        return Ok(());
    }
    Err(Unsuitable {
        found: profile.rules.clone(),
        target: target.name,
        known: target.rules,
        anchor: profile.anchor.choice.clone(),
        precision: profile.precision,
    })
}

/// No profile can be made for a target.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The target names rules that there are not: a fault of the target.
    #[error(transparent)]
    Rules(#[from] UnknownRules),
    /// Nobody can be the anchor.
    #[error(transparent)]
    Anchor(#[from] AnchorError),
    /// The statistics give no encodings.
    #[error(transparent)]
    Make(#[from] MakeError),
}

/// A profile of `statistics` by the rules of `target`, with encodings of the anchor that `anchor` names, without scores.
pub fn profile_for(
    target: &TargetInfo,
    statistics: &Statistics,
    anchor: &AnchorRule,
    precision: Precision,
) -> Result<Made, ProfileError> {
    let rules = Rules::preset(target.rules.first().copied().unwrap_or_default())?;
    let anchor = anchor::choose(anchor, statistics, None)?;
    Ok(make(statistics, &anchor, &Options::new(rules, Mixed::uniform(precision)))?)
}

/// What the profile and the graph that `report` is of do not agree in, in sentences.
pub fn disagreements(report: &Report) -> Vec<String> {
    let absent =
        |name: &String| format!("the profile has an entry for `{name}`, which the graph does not have");
    let mut said: Vec<String> = report.absent.iter().map(absent).collect();
    let unexpected: Vec<String> =
        report.unexpected().map(|value| format!("`{}` ({})", value.name, value.op)).collect();
    if !unexpected.is_empty() {
        let count = unexpected.len();
        let values = if count == 1 { "value stays a float" } else { "values stay floats" };
        said.push(format!("{count} {values} and the profile does not say why: {}", unexpected.join(", ")));
    }
    said
}

/// With which adapters the graph of `profile` was made, as far as it says.
fn with_adapters(profile: &Profile) -> String {
    let names: Vec<&str> =
        profile.anchor.adapters.iter().map(String::as_str).filter(|name| *name != BASE).collect();
    if names.is_empty() {
        return "without an adapter".to_owned();
    }
    let options: Vec<String> = names.iter().map(|name| format!("--adapter {name}=PATH")).collect();
    format!("with all of its adapters, `{}`", options.join(" "))
}

/// Quantizes `module`, a frozen one with the digest `digest`, as `profile` says. The report says what became of each value.
pub fn quantize(
    module: &mut Module,
    digest: &str,
    profile: &Profile,
    form: Form,
) -> Result<Report, QuantizeError> {
    if profile.graph != digest {
        let (expected, found) = (profile.graph.clone(), digest.to_owned());
        return Err(QuantizeError::OtherGraph { expected, found, with: with_adapters(profile) });
    }
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
