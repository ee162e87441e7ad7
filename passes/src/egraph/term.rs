//! Expressions over classes of equal values: what a rule says that a class is equal to.

use egg::Id;
use quad_ir::dtype::DType;
use quad_ir::ops::{Op, Reshape, Transpose};
use quad_ir::tensor::Tensor;

use super::analysis::EGraph;
use super::language::{Children, Constant, ENode};
use super::perm::Perm;

/// An expression over classes.
#[derive(Clone, Debug)]
pub enum Term {
    /// Any value of a class.
    Class(Id),
    /// An operand left out.
    Absent,
    /// A small constant.
    Constant(Constant),
    /// An operation with a single result.
    Apply(Op, Vec<Term>),
}

impl Term {
    /// The result of `op`.
    pub fn apply(op: impl Into<Op>, operands: impl IntoIterator<Item = Self>) -> Self {
        Self::Apply(op.into(), operands.into_iter().collect())
    }

    /// A list of integers.
    pub fn integers(values: &[i64]) -> Option<Self> {
        let tensor = Tensor::from_vec(&[values.len()], values.to_vec()).ok()?;
        Some(Self::Constant(Constant::new(&tensor)))
    }

    /// A float without axes.
    pub fn float(dtype: DType, value: f64) -> Option<Self> {
        let tensor = match dtype {
            DType::F64 => Tensor::scalar(value),
            _ => Tensor::from_f32(dtype, &[], &[value as f32]).ok()?,
        };
        Some(Self::Constant(Constant::new(&tensor)))
    }

    /// The term with its axes in the order `perm`, which may be the one that they have.
    #[must_use]
    pub fn transposed(self, perm: &Perm) -> Self {
        if perm.is_identity() {
            return self;
        }
        Self::apply(Transpose { perm: Some(perm.to_attribute()) }, [self])
    }

    /// The term under other sizes, of which one may be -1.
    pub fn reshaped(self, sizes: &[i64]) -> Option<Self> {
        Some(Self::apply(Reshape { allowzero: true }, [self, Self::integers(sizes)?]))
    }

    /// Adds the nodes of the term to `egraph`. `None` when one has no type, or one with sizes that nothing is known of.
    pub fn add_to(self, egraph: &mut EGraph<'_>) -> Option<Id> {
        let node = match self {
            Self::Class(id) => return Some(egraph.find(id)),
            Self::Absent => return Some(egraph.add(ENode::Absent)),
            Self::Constant(constant) => ENode::Constant(constant),
            Self::Apply(op, operands) => {
                let children: Option<Children> =
                    operands.into_iter().map(|operand| operand.add_to(egraph)).collect();
                ENode::Apply { op, children: children? }
            }
        };
        let id = egraph.add(node);
        egraph[id].data.fact.is_some().then_some(id)
    }
}

impl From<Id> for Term {
    fn from(id: Id) -> Self {
        Self::Class(id)
    }
}
