//! Values that must share an encoding, found by union and find.

use quad_ir::graph::{NodeRef, ValueId, ValueRef};
use quad_ir::ops::pad::PadMode;
use quad_ir::ops::resize::{Coordinates, Interpolation};
use quad_ir::ops::{Concat, OpKind, Pad, Resize};
use quad_passes::pattern::uniform;
use rustc_hash::FxHashMap;

use super::islands::is_real;
use super::{Asks, Rules};

/// Sets of values. One that was never united is alone.
#[derive(Debug, Default)]
pub struct Sets {
    parents: FxHashMap<ValueId, ValueId>,
}

impl Sets {
    /// The value that stands for the set of `value`: the one with the smallest id.
    pub fn find(&mut self, value: ValueId) -> ValueId {
        let mut root = value;
        while let Some(parent) = self.parents.get(&root) {
            root = *parent;
        }
        let mut at = value;
        while at != root {
            at = self.parents.insert(at, root).unwrap_or(root);
        }
        root
    }

    /// Makes one set of those of `a` and `b`.
    pub fn unite(&mut self, a: ValueId, b: ValueId) {
        let (a, b) = (self.find(a), self.find(b));
        if a != b {
            self.parents.insert(a.max(b), a.min(b));
        }
    }
}

/// The operands of `node` whose elements its results are, by the rules: a mover's first, or the parts of a concat.
pub fn moved<'g>(node: NodeRef<'g>, rules: &Rules) -> Vec<ValueRef<'g>> {
    if is_concat(node) {
        return if rules.asks.contains(Asks::CONCAT) { node.tail().collect() } else { Vec::new() };
    }
    let is_mover = rules.movers.contains(&node.op().kind()) && moves_only(node);
    node.operands().next().flatten().filter(|_| is_mover).into_iter().collect()
}

/// Whether `node` is a concat.
pub fn is_concat(node: NodeRef<'_>) -> bool {
    node.is::<Concat>().is_some()
}

/// Whether `node`, of a kind that moves elements, makes none of its own but zeros, which every encoding has: a resize may
/// interpolate, and both it and a pad may put a number where there is no element.
fn moves_only(node: NodeRef<'_>) -> bool {
    if let Some(resize) = node.is::<Resize>() {
        let is_inside = resize.coordinate_transformation_mode != Coordinates::TfCropAndResize;
        let adds_none = is_inside || resize.extrapolation_value.get() == 0.0;
        return resize.mode == Interpolation::Nearest && adds_none;
    }
    let repeats = |pad: &Pad| pad.mode != PadMode::Constant;
    let adds_zeros = || node.operand("value").is_none_or(|value| uniform(value) == Some(0.0));
    node.is::<Pad>().is_none_or(|pad| repeats(pad) || adds_zeros())
}

/// The result of a layer that `node`, a `relu` or `clip`, alone reads, so that both are one operation on a target.
pub fn fused<'g>(node: NodeRef<'g>, rules: &Rules) -> Option<ValueRef<'g>> {
    let is_clamp = matches!(node.op().kind(), OpKind::Relu | OpKind::Clip);
    let x =
        node.operands().next().flatten().filter(|_| rules.asks.contains(Asks::FUSED_CLAMPS) && is_clamp)?;
    let is_layer = matches!(
        x.producer().op().kind(),
        OpKind::Conv | OpKind::ConvTranspose | OpKind::Gemm | OpKind::MatMul
    );
    (is_layer && x.only_reader().is_some()).then_some(x)
}

/// The results of `node` that are floats.
pub fn real_results(node: NodeRef<'_>) -> impl Iterator<Item = ValueRef<'_>> {
    node.results().filter(|result| is_real(result.ty().dtype))
}

#[cfg(test)]
mod tests {
    use quad_ir::entity::Entity;

    use super::*;

    #[test]
    fn sets_are_united() {
        let [a, b, c, d] = [0, 1, 2, 3].map(ValueId::from_index);
        let mut sets = Sets::default();
        sets.unite(d, c);
        sets.unite(b, d);
        assert_eq!([a, b, c, d].map(|value| sets.find(value)), [a, b, b, b]);
        sets.unite(c, a);
        assert_eq!([a, b, c, d].map(|value| sets.find(value)), [a; 4]);
    }
}
