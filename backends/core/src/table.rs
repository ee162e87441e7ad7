//! Tables that a backend attaches to operations.
//!
//! A row holds, side by side, what an operation becomes, what is asked of its nodes, and how one is emitted. The type of
//! the emission is the backend's own: most often a function that writes into its model.

use std::collections::BTreeMap;

use quad_ir::graph::{Graph, NodeId, NodeRef};
use quad_ir::ops::{OpKind, all_ops};

use crate::legality::Legality;

/// What a backend does with one operation.
#[derive(Debug)]
pub struct OpRow<C: ?Sized, E> {
    /// The operation.
    pub kind: OpKind,
    /// What it becomes, in the target's words: `CONV_2D, after PAD where needed`.
    pub becomes: &'static str,
    /// What is asked of a node, in words for the support page; empty where every node is taken.
    pub asks: &'static str,
    /// Whether a node is taken in a given setting, which is the backend's own: a precision, an architecture.
    pub legality: fn(NodeRef<'_>, &C) -> Legality,
    /// How a node is emitted.
    pub emit: E,
}

// Derived ones would ask the same of the setting, of which a row holds nothing.
impl<C: ?Sized, E: Copy> Clone for OpRow<C, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C: ?Sized, E: Copy> Copy for OpRow<C, E> {}

/// The rows of a backend by operation.
#[derive(Debug)]
pub struct OpTable<C: ?Sized, E> {
    rows: BTreeMap<OpKind, OpRow<C, E>>,
}

impl<C: ?Sized, E: Copy> OpTable<C, E> {
    /// The table of `rows`.
    ///
    /// # Panics
    /// When two rows are for one operation: a fault of the table.
    pub fn new(rows: impl IntoIterator<Item = OpRow<C, E>>) -> Self {
        let mut table = BTreeMap::new();
        for row in rows {
            let kind = row.kind;
            assert!(table.insert(kind, row).is_none(), "two rows for {kind:?}");
        }
        Self { rows: table }
    }

    /// The row of `kind`; `None` where the operation is not supported.
    pub fn row(&self, kind: OpKind) -> Option<&OpRow<C, E>> {
        self.rows.get(&kind)
    }

    /// All rows by operation.
    pub fn rows(&self) -> impl Iterator<Item = &OpRow<C, E>> {
        self.rows.values()
    }

    /// Whether `node` is taken in the setting `context`. What has no row is not.
    pub fn legality(&self, node: NodeRef<'_>, context: &C) -> Legality {
        match self.row(node.op().kind()) {
            Some(row) => (row.legality)(node, context),
            None => Legality::because(format!("`{}` is not supported", node.op().def().name())),
        }
    }

    /// The verdict for every node of `graph`.
    pub fn verdicts(&self, graph: &Graph, context: &C) -> BTreeMap<NodeId, Legality> {
        graph.nodes().map(|node| (node.id(), self.legality(node, context))).collect()
    }
}

/// The name of the operation `kind` in the text format.
pub fn name_of(kind: OpKind) -> &'static str {
    static NAMES: std::sync::LazyLock<BTreeMap<OpKind, &'static str>> =
        std::sync::LazyLock::new(|| all_ops().iter().map(|op| (op.kind(), op.def().name())).collect());
    NAMES.get(&kind).copied().unwrap_or("?")
}

#[cfg(test)]
mod tests {
    use quad_ir::dtype::DType;
    use quad_ir::loc::Loc;
    use quad_ir::ops::source::Binding;
    use quad_ir::ops::{Add, Exp};
    use quad_ir::types::TensorType;

    use super::*;

    fn few_axes(node: NodeRef<'_>, most: &[usize]) -> Legality {
        let rank = node.result().ty().rank();
        if most.contains(&rank) { Legality::Legal } else { Legality::because(format!("it has {rank} axes")) }
    }

    #[test]
    fn what_has_no_row_is_not_legal() {
        let row = |kind| OpRow { kind, becomes: "ADD", asks: "", legality: few_axes, emit: () };
        let table: OpTable<[usize], ()> = OpTable::new([row(OpKind::Add), row(OpKind::Input)]);
        let mut graph = Graph::new("main");
        let x = graph
            .add_input("x", TensorType::known(DType::F32, &[2, 3]), Binding::Run, Loc::Built)
            .expect("an input");
        let sum = graph.add(Add, &[Some(x), Some(x)], Loc::Built).expect("typed");
        let sum = graph.node(sum).result().id();
        graph.add(Exp, &[Some(sum)], Loc::Built).expect("typed");
        let reasons = |ranks: &[usize]| -> Vec<String> {
            let verdicts = table.verdicts(&graph, ranks);
            verdicts
                .values()
                .flat_map(|legality| legality.reasons().iter().map(ToString::to_string))
                .collect()
        };
        assert_eq!(reasons(&[2]), ["`exp` is not supported"]);
        assert_eq!(reasons(&[1]), ["it has 2 axes", "it has 2 axes", "`exp` is not supported"]);
        assert_eq!(name_of(OpKind::ReduceMean), "reduce_mean");
    }
}
