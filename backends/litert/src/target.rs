//! The runtime on a processor as a target: the passes that come first, and the verdict for each node.

use std::collections::BTreeMap;

use quad_backends::legality::Legality;
use quad_backends::support::{SupportRow, rows_of};
use quad_backends::target::{Target, TargetInfo};
use quad_ir::graph::{Graph, NodeId};

use crate::lower::{Settings, legality, table};

/// The passes that make a frozen graph legal: everything in single precision, nothing that the runtime has no kernel for.
pub const FINISHING: &str =
    "convert-floats,decompose{gemm=true,swish=true,layer-norm=true,group-norm=true},clean";

/// In lists of targets.
pub const LITERT: TargetInfo = TargetInfo {
    name: "litert",
    summary: "LiteRT, which was TensorFlow Lite: the kernels of its interpreter, version 2.3.0.",
    archs: &[],
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
        FINISHING.to_owned()
    }

    fn verdicts(&self, graph: &Graph) -> BTreeMap<NodeId, Legality> {
        let settings = Settings::default();
        graph.nodes().map(|node| (node.id(), legality(node, &settings))).collect()
    }

    fn support(&self) -> Vec<SupportRow> {
        rows_of(table())
    }
}
