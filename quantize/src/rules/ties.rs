//! Values that must share an encoding, found by union and find.

use quad_ir::graph::{NodeRef, ValueId, ValueRef};
use quad_ir::ops::resize::Interpolation;
use quad_ir::ops::{Concat, OpKind, Resize};
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

/// Whether `node`, of a kind that moves elements, does not compute any: a resize may interpolate.
fn moves_only(node: NodeRef<'_>) -> bool {
    node.is::<Resize>().is_none_or(|resize| resize.mode == Interpolation::Nearest)
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
