//! Models as files for runtimes, of modules that a target's passes have made legal.

pub mod litert;
pub mod qnn;

use std::fmt::Write as _;

use quad_backends::report::Report;
use quad_backends::target::Target;
use quad_ir::graph::Graph;

/// What the compiler of `target` would leave of `graph` to another processor, in sentences with every reason; `None` where
/// it takes all.
pub fn left_out(graph: &Graph, target: &dyn Target) -> Option<String> {
    let report = Report::new(target.name(), graph, &target.verdicts(graph));
    if report.legal {
        return None;
    }
    let mut said = format!(
        "{} does not take {} of {} nodes, and the graph falls into {} partitions",
        target.name(),
        report.nodes - report.legal_nodes,
        report.nodes,
        report.partitions.len()
    );
    for (reason, nodes) in report.by_reason() {
        let _ = write!(said, "\n  {} x {reason}", nodes.len());
    }
    Some(said)
}
