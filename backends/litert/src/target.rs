//! The runtime on a processor as a target: the passes that come first, and the verdict for each node.

use std::collections::BTreeMap;

use quad_backends::legality::Legality;
use quad_backends::support::{SupportRow, rows_of};
use quad_backends::target::{Target, TargetInfo};
use quad_ir::graph::{Graph, NodeId};

use crate::lower::{Settings, legality, table};
use crate::vendor::{EXYNOS, NEUROPILOT, QUALCOMM};

/// The passes that make a frozen graph legal: floats in single precision, and nothing that the runtime has no kernel for.
/// Normalizations compute in floats between stored integers: what is inside of them has no encodings. `lacks_sines` says that
/// there are none of sines either.
pub fn finishing(lacks_sines: bool) -> String {
    let sines = if lacks_sines { ",sine=true" } else { "" };
    format!(
        "unfold-quant,dce,convert-floats,decompose{{gemm=true,layer-norm=true,group-norm=true{sines}}},clean,fold-quant,dce"
    )
}

/// All targets whose models are written by this backend.
pub const TARGETS: [TargetInfo; 4] = [LITERT, NEUROPILOT, EXYNOS, QUALCOMM];

/// Rules whose profiles fit the runtime's kernels. Those of vendors ask for more.
pub(crate) const RULES: &[&str] = &["litert", "neuropilot", "exynos"];

/// In lists of targets.
pub const LITERT: TargetInfo = TargetInfo {
    name: "litert",
    summary: "LiteRT, which was TensorFlow Lite: the kernels of its interpreter, version 2.3.0.",
    archs: &[],
    rules: RULES,
    make: |_| Box::new(LiteRt),
};

/// The runtime's own kernels.
#[derive(Clone, Copy, Debug)]
pub struct LiteRt;

impl Target for LiteRt {
    fn name(&self) -> &'static str {
        LITERT.name
    }

    fn finishing(&self) -> String {
        finishing(false)
    }

    fn verdicts(&self, graph: &Graph) -> BTreeMap<NodeId, Legality> {
        let settings = Settings::default();
        graph.nodes().map(|node| (node.id(), legality(node, &settings))).collect()
    }

    fn support(&self) -> Vec<SupportRow> {
        rows_of(table())
    }
}
