//! Rules of e-graphs: functions that look at a node and say what it is equal to.
//!
//! Four rules for rules, learnt by others before. A rule whose right side is never cheaper does not belong here. Order and
//! grouping of sums and products are not free: rules look for what they need in either operand. A rule looks at a node
//! and the nodes of its operands, no further, so that only what is around a change is looked at again. And it says what is
//! equal, not what is better: that is for the costs to decide.

use egg::Id;
use quad_ir::ops::{Op, OpKind, OpTraits, OpVariant};
use quad_ir::tensor::Tensor;
use quad_ir::types::TensorType;
use smallvec::SmallVec;

use super::analysis::EGraph;
use super::language::ENode;
use super::term::Term;

/// A rule: nodes that it starts from, and what they are equal to.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// The name, in kebab-case.
    pub name: &'static str,
    /// The operations that it starts from.
    pub roots: Roots,
    /// What a node is equal to; nothing when the rule does not apply.
    pub equal: fn(&Site<'_, '_>) -> Vec<Term>,
}

/// The operations that a rule starts from.
#[derive(Clone, Copy, Debug)]
pub enum Roots {
    /// These.
    Kinds(&'static [OpKind]),
    /// All elementwise ones.
    Elementwise,
    /// Those for which a function says so.
    Where(fn(&Op) -> bool),
}

impl Roots {
    /// Whether `op` is one of them.
    pub fn contain(self, op: &Op) -> bool {
        match self {
            Self::Kinds(kinds) => kinds.contains(&op.kind()),
            Self::Elementwise => is_elementwise(op),
            Self::Where(accepts) => accepts(op),
        }
    }
}

/// Whether each element of the result depends on the elements at the same place only.
pub fn is_elementwise(op: &Op) -> bool {
    op.def().traits().contains(OpTraits::ELEMENTWISE)
}

/// A node that a rule looks at.
#[derive(Clone, Copy, Debug)]
pub struct Site<'e, 'g> {
    egraph: &'e EGraph<'g>,
    op: &'e Op,
    operands: &'e [Id],
    ty: &'e TensorType,
}

impl<'e, 'g> Site<'e, 'g> {
    /// `node` of the class `class`, when it is an operation with a type.
    pub fn new(egraph: &'e EGraph<'g>, class: Id, node: &'e ENode) -> Option<Self> {
        let ENode::Apply { op, children } = node else { return None };
        Some(Self { egraph, op, operands: children, ty: egraph[class].data.ty()? })
    }

    /// The operation.
    pub fn op(&self) -> &'e Op {
        self.op
    }

    /// The operation as an `O`, when it is one.
    pub fn is<O: OpVariant>(&self) -> Option<&'e O> {
        O::of(self.op)
    }

    /// The type of the result.
    pub fn ty(&self) -> &'e TensorType {
        self.ty
    }

    /// The operands, those that are left out included.
    pub fn operands(&self) -> &'e [Id] {
        self.operands
    }

    /// The operand at `index`, when it is there.
    pub fn operand(&self, index: usize) -> Option<Id> {
        self.operands.get(index).copied().filter(|operand| !self.is_absent(*operand))
    }

    /// Whether `class` stands for an operand that is left out.
    pub fn is_absent(&self, class: Id) -> bool {
        self.ty_of(class).is_none()
    }

    /// The type of `class`; `None` of an operand that is left out.
    pub fn ty_of(&self, class: Id) -> Option<&'e TensorType> {
        self.egraph[class].data.ty()
    }

    /// The sizes of `class`, when all are numbers.
    pub fn sizes(&self, class: Id) -> Option<SmallVec<[u64; 6]>> {
        self.ty_of(class)?.shape.as_known()
    }

    /// Whether `class` is known to have one element, or is left out, so that it means the same next to any axes.
    pub fn is_single(&self, class: Id) -> bool {
        self.sizes(class).map_or_else(|| self.is_absent(class), |sizes| sizes.iter().all(|size| *size == 1))
    }

    /// The elements of `class`, where they are few and known.
    pub fn tensor(&self, class: Id) -> Option<&'e Tensor> {
        self.egraph[class].data.tensor()
    }

    /// The elements of the integer operand at `index`, when they are known.
    pub fn integers(&self, index: usize) -> Option<Vec<i64>> {
        self.tensor(self.operand(index)?)?.to_i64().ok()
    }

    /// Whether `class` is a constant, or computed from constants only.
    pub fn is_constant(&self, class: Id) -> bool {
        self.egraph[class].data.constant && !self.is_absent(class)
    }

    /// The nodes of `class` that are an `O`, with their operands.
    pub fn nodes<O: OpVariant>(&self, class: Id) -> impl Iterator<Item = (&'e O, &'e [Id])> + use<'e, O> {
        self.egraph[class].nodes.iter().filter_map(|node| match node {
            ENode::Apply { op, children } => Some((O::of(op)?, children.as_slice())),
            _ => None,
        })
    }

    /// All nodes of `class`, to look at as at this one.
    pub fn operations(&self, class: Id) -> impl Iterator<Item = Site<'e, 'g>> + use<'e, 'g> {
        let egraph = self.egraph;
        egraph[class].nodes.iter().filter_map(move |node| Site::new(egraph, class, node))
    }

    /// The operation of this node on other operands.
    pub fn with_operands(&self, operands: impl IntoIterator<Item = Term>) -> Term {
        Term::apply(self.op.clone(), operands)
    }
}
