//! Puts quantization into a graph, as a profile says: each value that has an encoding is quantized and dequantized again.
//!
//! What comes of it is the QDQ form. It computes in floats with numbers that the stored integers can be, which makes it
//! the simulation of the quantized model; it can be written as an ONNX model, and `fold-quant` makes integer arithmetic
//! of it. What has an encoding is told by its name, and what it is decides what happens to it:
//!
//! * An activation `v` goes through `quantize_linear` and `dequantize_linear`; whatever read `v` reads `v.dq`, outputs of
//!   the graph too, and the stored numbers are `v.q`. Inputs and outputs of the graph stay floats.
//! * A weight becomes a recipe, whose bytes are made once, when the model is written. It keeps its name, and its readers
//!   read `w.dq`. A bias, which is stored in 32 or 64 bits, is divided by its scale and rounded.
//! * A slot, an input that an adapter fills, takes stored numbers from then on, and `@pack` quantizes. It keeps its name.
//!
//! Weights and slots whose zero is in the middle use as many negative numbers as positive ones: -127 and not -128 is the
//! smallest of 8 bits. A value without an encoding stays a float. Nothing is done twice.
//!
//! Options: `profile` is the path of a profile, which must be one of this very graph. `encodings` adds to it,
//! `name=type:scales:zero_points@axis` with spaces between, of which zero points and the axis may be left out, and several
//! scales or zero points have commas between.
//!
//! Before `insert-quant{encodings="x=u8:0.02:128 w=i8:0.02,0.01@1 b=i32:0.0004,0.0002@0 s=i16:0.001 y=u8:0.05:100"}`:
//! ```quad
//! graph @main(%x: f32[2, 3], %s: f32[2, 2] adapter) {
//!   %w = weight [1.0, -0.5, 0.25, 1.25, -2.0, 0.75] : f32[3, 2]
//!   %b = weight [0.5, -0.25] : f32[2]
//!   %y = gemm(%x, %w, %b) : f32[2, 2]
//!   %z = matmul(%y, %s) : f32[2, 2]
//!   return "z" = %z
//! }
//!
//! graph @pack(%s: f32[2, 2] adapter) {
//!   return "s" = %s
//! }
//! ```
//! After (off by 2e-2):
//! ```quad
//! graph @main(%x: f32[2, 3], %s: i16[2, 2] adapter) {
//!   %s.scale = weight 0.001 : f32[]
//!   %s.zero_point = weight 0 : i16[]
//!   %s.dq = dequantize_linear(%s, %s.scale, %s.zero_point) : f32[2, 2]
//!   %w.scale = weight [0.02, 0.01] : f32[2]
//!   %w.zero_point = weight [0, 0] : i8[2]
//!   %w = weight [50, -50, 12, 125, -100, 75] : i8[3, 2]
//!   %w.dq = dequantize_linear(%w, %w.scale, %w.zero_point) : f32[3, 2]
//!   %b.scale = weight [0.0004, 0.0002] : f32[2]
//!   %b = weight [1250, -1250] : i32[2]
//!   %b.dq = dequantize_linear(%b, %b.scale) {axis = 0} : f32[2]
//!   %x.scale = weight 0.02 : f32[]
//!   %x.zero_point = weight 128 : u8[]
//!   %x.q = quantize_linear(%x, %x.scale, %x.zero_point) : u8[2, 3]
//!   %x.dq = dequantize_linear(%x.q, %x.scale, %x.zero_point) : f32[2, 3]
//!   %y = gemm(%x.dq, %w.dq, %b.dq) : f32[2, 2]
//!   %y.scale = weight 0.05 : f32[]
//!   %y.zero_point = weight 100 : u8[]
//!   %y.q = quantize_linear(%y, %y.scale, %y.zero_point) : u8[2, 2]
//!   %y.dq = dequantize_linear(%y.q, %y.scale, %y.zero_point) : f32[2, 2]
//!   %z = matmul(%y.dq, %s.dq) : f32[2, 2]
//!   return "z" = %z
//! }
//!
//! graph @pack(%s: f32[2, 2] adapter) {
//!   %s.scale = weight 0.001 : f32[]
//!   %s.zero_point = weight 0 : i16[]
//!   %0 = quantize_linear(%s, %s.scale, %s.zero_point) : i16[2, 2]
//!   %1 = weight -32767 : i16[]
//!   %2 = clip(%0, %1) : i16[2, 2]
//!   return "s" = %2
//! }
//! ```

mod encodings;
mod parameters;
mod plan;
mod report;
mod slots;
mod values;

use std::error::Error as _;
use std::path::Path;
use std::sync::Arc;

use quad_ir::attr::{AttrError, AttrVisitor};
use quad_ir::graph::Graph;
use quad_ir::module::Module;
use quad_passes::check::PACK;
use quad_passes::context::Context;
use quad_passes::pass::{Pass, PassError, PassInfo};

use crate::digest;
use crate::profile::Profile;
use crate::profile::file::FileError;
pub use encodings::{Encodings, EncodingsError, Wanted, of_profile, parse};
use plan::Plan;
pub use plan::Problem;
pub use report::{FloatValue, Report};

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub struct InsertQuant {
    /// The path of a profile; empty for none.
    pub profile: String,
    /// Encodings as text.
    pub encodings: String,
    /// Encodings that the pass was made with.
    given: Arc<Encodings>,
}

/// The metadata entry of a graph that was quantized as a profile says: the hash of the profile.
pub const PROFILE: &str = "quad.profile";

const INFO: PassInfo = PassInfo { name: "insert-quant", source: include_str!("mod.rs") };

impl From<Encodings> for InsertQuant {
    fn from(encodings: Encodings) -> Self {
        Self { given: Arc::new(encodings), ..Self::default() }
    }
}

impl Pass for InsertQuant {
    fn info(&self) -> &'static PassInfo {
        &INFO
    }

    fn options(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("profile", &mut self.profile)?;
        visitor.attr("encodings", &mut self.encodings)
    }

    fn run(&self, graph: &mut Graph, cx: &mut Context) -> Result<(), PassError> {
        let profile = self.profile()?;
        check_graph(graph, profile.as_ref())?;
        let plan = Plan::of(graph, None, &self.all(profile.as_ref())?)?;
        values::insert(graph, &plan, cx)?;
        if let Some(profile) = &profile {
            note_profile(graph, profile);
        }
        Ok(())
    }

    fn run_module(&self, module: &mut Module, cx: &mut Context) -> Result<(), PassError> {
        let profile = self.profile()?;
        if let Some(main) = module.main() {
            check_graph(main, profile.as_ref())?;
        }
        let mut report = insert(module, &self.all(profile.as_ref())?, cx)?;
        if let Some(profile) = &profile {
            report.explain_floats(profile);
            note_profile(main_of(module)?, profile);
        }
        for line in report.lines() {
            cx.noted(INFO.name, line);
        }
        Ok(())
    }
}

impl InsertQuant {
    /// The profile that the options name.
    fn profile(&self) -> Result<Option<Profile>, PassError> {
        if self.profile.is_empty() {
            return Ok(None);
        }
        let told = |error: FileError| {
            let cause = error.source().map_or_else(String::new, |cause| format!(": {cause}"));
            PassError::Refused(format!("`insert-quant`: {error}{cause}"))
        };
        Profile::read(Path::new(&self.profile)).map(Some).map_err(told)
    }

    /// The encodings of `profile` and of all options.
    fn all(&self, profile: Option<&Profile>) -> Result<Encodings, PassError> {
        let refused = |error: &dyn std::fmt::Display| PassError::Refused(format!("`insert-quant`: {error}"));
        let mut all = (*self.given).clone();
        if let Some(profile) = profile {
            all.extend(of_profile(profile));
        }
        all.extend(parse(&self.encodings).map_err(|error| refused(&error))?);
        Ok(all)
    }
}

/// Quantizes the graph of `module` that runs, which has the digest `graph`, as `profile`, which must be of that very
/// graph, says. The hash of the profile becomes [metadata](PROFILE) of the graph.
pub fn insert_profile(
    module: &mut Module,
    graph: &str,
    profile: &Profile,
    cx: &mut Context,
) -> Result<Report, PassError> {
    check_digest(graph, profile)?;
    let mut report = insert(module, &of_profile(profile), cx)?;
    report.explain_floats(profile);
    note_profile(main_of(module)?, profile);
    Ok(report)
}

/// Lets `graph` say as which profile it was quantized.
fn note_profile(graph: &mut Graph, profile: &Profile) {
    graph.metadata_mut().insert(PROFILE.to_owned(), profile.hash());
}

/// The place of the graph of `module` that runs.
fn main_at(module: &Module) -> Result<usize, PassError> {
    let name = module.main().map(|main| main.name().clone());
    let at = module.graphs.iter().position(|graph| Some(graph.name()) == name.as_ref());
    at.ok_or_else(|| {
        PassError::Refused("no graph runs: there are several, and none is called @main".to_owned())
    })
}

fn main_of(module: &mut Module) -> Result<&mut Graph, PassError> {
    let at = main_at(module)?;
    Ok(&mut module.graphs[at])
}

/// Whether `profile` was made for `graph`.
fn check_graph(graph: &Graph, profile: Option<&Profile>) -> Result<(), PassError> {
    match profile {
        Some(profile) => check_digest(&digest::of_graph(graph)?, profile),
        None => Ok(()),
    }
}

fn check_digest(found: &str, profile: &Profile) -> Result<(), PassError> {
    if found == profile.graph {
        return Ok(());
    }
    Err(PassError::Refused(format!(
        "the profile is of another graph, {}, and this one is {found}: a profile fits the model, adapters and pipeline \
         (`{}`) that its statistics are of, and nothing else",
        profile.graph, profile.pipeline
    )))
}

/// Quantizes the values of the graph of `module` that runs which `encodings` names, and tells what was left.
pub fn insert(module: &mut Module, encodings: &Encodings, cx: &mut Context) -> Result<Report, PassError> {
    let at = main_at(module)?;
    let pack = module.graphs.iter().position(|graph| &**graph.name() == PACK);
    let plan = Plan::of(&module.graphs[at], pack.map(|pack| &module.graphs[pack]), encodings)?;
    if let Some(pack) = pack {
        slots::insert(module, at, pack, &plan.slots, cx)?;
    }
    values::insert(&mut module.graphs[at], &plan, cx)?;
    Ok(Report::of(plan))
}

#[cfg(test)]
mod tests;
