//! The targets that QUAD knows, and how a module is made legal for one.

use std::collections::{BTreeMap, BTreeSet};

use quad_backends::target::{FROZEN, Target, TargetInfo, is_frozen};
use quad_ir::graph::{Graph, NodeRef};
use quad_ir::module::Module;
use quad_ir::ops::OpKind;
use quad_passes::pass::PassError;
use quad_passes::pipeline::{Pipeline, PipelineError};
use quad_passes::registry::Registry;
use quad_passes::runner::{self, RunError, RunErrorKind, RunOptions};

/// Every target. A backend adds a line.
pub const TARGETS: &[TargetInfo] = &[
    quad_litert::target::LITERT,
    quad_litert::vendor::NEUROPILOT,
    quad_litert::vendor::EXYNOS,
    quad_litert::vendor::QUALCOMM,
    quad_qnn::target::QNN,
];

/// A module does not become legal for a target.
#[derive(Debug, thiserror::Error)]
pub enum LegalizeError {
    /// The passes are not such.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// A pass refuses the module, which is a fault of the module.
    #[error(transparent)]
    Refused(Box<RunError>),
    /// A pass failed in another way, which is a fault of the pass.
    #[error(transparent)]
    Pass(Box<RunError>),
}

/// Runs on `module` the passes that make it legal for `target`. `sizes` are numbers of symbolic sizes by name; a symbol
/// without one becomes 1, which `notes` says.
pub fn make_legal(
    module: &mut Module,
    target: &dyn Target,
    sizes: &BTreeMap<String, u64>,
    registry: &Registry,
    notes: &mut Vec<String>,
) -> Result<(), LegalizeError> {
    let mut passes = Vec::new();
    let symbols = symbols(module);
    if !symbols.is_empty() {
        let missing: Vec<&str> =
            symbols.iter().filter(|name| !sizes.contains_key(*name)).map(String::as_str).collect();
        if !missing.is_empty() {
            let names = missing.join("`, `");
            notes.push(format!("the symbolic size `{names}` is 1 here; --size NAME=N gives another"));
        }
        let given: Vec<String> = sizes.iter().map(|(name, size)| format!("{name}={size}")).collect();
        passes.push(format!("specialize{{sizes=\"{}\",rest=1}}", given.join(" ")));
    }
    if !is_frozen(module) {
        passes.push(FROZEN.to_owned());
    }
    passes.push(target.finishing());
    let pipeline = Pipeline::parse(&passes.join(","), registry)?;
    runner::run(&pipeline, module, &RunOptions::default(), &mut []).map_err(failed)?;
    Ok(())
}

/// Makes lookups of the sines of timesteps, which are whole numbers below `steps`, and says how many sines there were.
pub fn tabulate_timesteps(
    module: &mut Module,
    steps: u64,
    registry: &Registry,
) -> Result<usize, LegalizeError> {
    let sines = |module: &Module| {
        let is_sine = |node: &NodeRef<'_>| matches!(node.op().kind(), OpKind::Sin | OpKind::Cos);
        module.graphs.iter().flat_map(Graph::nodes).filter(is_sine).count()
    };
    let before = sines(module);
    let passes = format!("tabulate-timesteps{{steps={steps}}},dce");
    let pipeline = Pipeline::parse(&passes, registry)?;
    runner::run(&pipeline, module, &RunOptions::default(), &mut []).map_err(failed)?;
    Ok(before - sines(module))
}

/// A failed pass is a fault of the model where the pass refuses it, and a bug otherwise.
fn failed(error: RunError) -> LegalizeError {
    match error.kind {
        RunErrorKind::Pass(PassError::Refused(_)) => LegalizeError::Refused(Box::new(error)),
        _ => LegalizeError::Pass(Box::new(error)),
    }
}

/// The names of symbolic sizes of inputs.
pub fn symbols(module: &Module) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for graph in &module.graphs {
        let dims = graph.inputs().flat_map(|input| input.ty().shape.iter().cloned().collect::<Vec<_>>());
        names.extend(dims.flat_map(|dim| {
            dim.symbols().map(|symbol| graph.symbols().spelling(symbol)).collect::<Vec<String>>()
        }));
    }
    names
}
