//! Removes nodes that nothing reads.
//!
//! Inputs stay: they are the graph's interface. Constants that nothing reads go, and with them, when the graph is
//! written, their bytes.
//!
//! Before:
//! ```quad
//! graph @main(%x: f32[2]) {
//!   %0 = relu(%x) : f32[2]
//!   %y = neg(%x) : f32[2]
//!   return "y" = %y
//! }
//! ```
//! After:
//! ```quad
//! graph @main(%x: f32[2]) {
//!   %y = neg(%x) : f32[2]
//!   return "y" = %y
//! }
//! ```

use quad_ir::graph::{Graph, Patch};

use crate::context::{Context, Place};
use crate::pass::{Invariants, Pass, PassError, PassInfo};

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub struct Dce;

const INFO: PassInfo = PassInfo { name: "dce", source: include_str!("dce.rs") };

impl Pass for Dce {
    fn info(&self) -> &'static PassInfo {
        &INFO
    }

    fn ensures(&self) -> Invariants {
        Invariants::NO_DEAD_NODES
    }

    fn run(&self, graph: &mut Graph, cx: &mut Context) -> Result<(), PassError> {
        let mut patch = Patch::new(graph, INFO.name);
        patch.erase_dead();
        let edit = patch.finish()?;
        let Some(first) = edit.erased().next() else { return Ok(()) };
        let place = Place::of(graph.node(first));
        cx.apply(graph, edit, INFO.name, place)?;
        Ok(())
    }
}
