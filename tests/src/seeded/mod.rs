//! Passes that are broken on purpose, as passes are broken in practice: the bench has to catch every one, name the rewrite,
//! and show it on a small model.

mod computing;
mod moving;

use quad_ir::graph::{Graph, NodeRef, Patch, ValueId, ValueRef};
use quad_ir::loc::Loc;
use quad_ir::ops::OpKind;
use quad_passes::clean::dce::Dce;
use quad_passes::context::Context;
use quad_passes::pass::{Pass, PassError, PassInfo};
use quad_passes::pipeline::{Configured, Pipeline, Step};
use quad_passes::rule::{Rule, Skip, apply_rules};

/// A pass of one rule that is wrong.
#[derive(Clone, Copy, Debug)]
pub struct Seeded {
    info: &'static PassInfo,
    roots: &'static [OpKind],
    rewrite: fn(NodeRef<'_>, &mut Patch<'_>) -> Result<(), Skip>,
}

/// All of them. The name says what is wrong.
pub const SEEDED: &[Seeded] = &[
    moving::TRANSPOSES_COMPOSED_BACKWARDS,
    moving::TRANSPOSE_AS_RESHAPE,
    moving::PADS_SWAPPED,
    moving::SLICE_OFF_BY_ONE,
    moving::HALVES_SWAPPED,
    moving::ATTRIBUTES_IGNORED,
    moving::OUTPUT_TAKEN_FOR_DEAD,
    moving::GATHERED_BACKWARDS,
    computing::BIAS_DROPPED,
    computing::SCALE_TWICE,
    computing::EPSILON_DROPPED,
    computing::SOFTMAX_ALONG_ANOTHER_AXIS,
    computing::SUBTRACTION_COMMUTED,
    computing::ROW_AS_NUMBER,
    computing::CONSTANT_OF_INTEGERS,
    computing::OUTER_CLIP_DROPPED,
    computing::SUM_FOR_MEAN,
    computing::PANICS,
    computing::IMPOSSIBLE,
];

impl Seeded {
    const fn new(
        info: &'static PassInfo,
        roots: &'static [OpKind],
        rewrite: fn(NodeRef<'_>, &mut Patch<'_>) -> Result<(), Skip>,
    ) -> Self {
        Self { info, roots, rewrite }
    }

    /// A pipeline in which it is between passes that are right.
    pub fn pipeline(self) -> Pipeline {
        let dce = || Step::Pass(Configured::new(Box::new(Dce), Box::new(Dce)));
        let seeded = Step::Pass(Configured::new(Box::new(self), Box::new(self)));
        Pipeline { steps: vec![dce(), seeded, dce()] }
    }
}

impl Rule for Seeded {
    fn name(&self) -> &'static str {
        self.info.name
    }

    fn roots(&self) -> &'static [OpKind] {
        self.roots
    }

    fn rewrite(&self, root: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
        // What is wrong once may look right to be wrong with again.
        let is_own = matches!(root.loc(), Loc::Rewritten { rule, .. } if *rule == self.info.name);
        if is_own { Err(Skip::NoMatch) } else { (self.rewrite)(root, patch) }
    }
}

impl Pass for Seeded {
    fn info(&self) -> &'static PassInfo {
        self.info
    }

    fn run(&self, graph: &mut Graph, cx: &mut Context) -> Result<(), PassError> {
        apply_rules(graph, &[self], cx)
    }
}

/// Replaces `old`, unless the types give the mistake away.
fn replace(patch: &mut Patch<'_>, old: ValueRef<'_>, new: ValueId) -> Result<(), Skip> {
    if patch.ty(new) != Some(old.ty()) {
        return Err(Skip::NoMatch);
    }
    Ok(patch.replace(old.id(), new)?)
}

/// The value that must be there for the rule to look further.
fn some<T>(found: Option<T>) -> Result<T, Skip> {
    found.ok_or(Skip::NoMatch)
}
