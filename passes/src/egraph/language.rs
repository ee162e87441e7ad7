//! The nodes of an e-graph: every pure operation with one result, and what such operations start from.

use bytes::Bytes;
use egg::{Id, Language};
use quad_ir::graph::ValueId;
use quad_ir::ops::{Op, OpKind};
use quad_ir::tensor::{Tensor, TensorError};
use quad_ir::types::TensorType;
use smallvec::SmallVec;

/// The operands of a node, as classes of equal values.
pub type Children = SmallVec<[Id; 4]>;

/// A node of an e-graph.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ENode {
    /// A value of the graph that is not looked into: an input, a weight, or a result of a node outside of the region.
    Outside(ValueId),
    /// The place of an optional operand that is left out.
    Absent,
    /// A small constant.
    Constant(Constant),
    /// An operation with a single result.
    Apply {
        /// The operation.
        op: Op,
        /// Its operands.
        children: Children,
    },
}

/// A small constant by its elements, so that equal ones are one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Constant {
    ty: TensorType,
    bytes: Bytes,
}

impl Constant {
    /// The constant `tensor`.
    pub fn new(tensor: &Tensor) -> Self {
        Self { ty: tensor.ty(), bytes: tensor.bytes().clone() }
    }

    /// Its elements.
    pub fn tensor(&self) -> Result<Tensor, TensorError> {
        let sizes = self.ty.shape.as_known().unwrap_or_default();
        let sizes: SmallVec<[usize; 6]> = sizes.iter().map(|size| *size as usize).collect();
        Tensor::new(self.ty.dtype, &sizes, self.bytes.clone())
    }
}

/// What nodes are told apart by before anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Discriminant {
    /// A value from outside.
    Outside,
    /// An operand left out.
    Absent,
    /// A constant.
    Constant,
    /// An operation of this kind.
    Apply(OpKind),
}

impl Language for ENode {
    type Discriminant = Discriminant;

    fn discriminant(&self) -> Discriminant {
        match self {
            Self::Outside(_) => Discriminant::Outside,
            Self::Absent => Discriminant::Absent,
            Self::Constant(_) => Discriminant::Constant,
            Self::Apply { op, .. } => Discriminant::Apply(op.kind()),
        }
    }

    fn matches(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Apply { op, children }, Self::Apply { op: other_op, children: others }) => {
                op == other_op && children.len() == others.len()
            }
            _ => self == other,
        }
    }

    fn children(&self) -> &[Id] {
        match self {
            Self::Apply { children, .. } => children,
            Self::Outside(_) | Self::Absent | Self::Constant(_) => &[],
        }
    }

    fn children_mut(&mut self) -> &mut [Id] {
        match self {
            Self::Apply { children, .. } => children,
            Self::Outside(_) | Self::Absent | Self::Constant(_) => &mut [],
        }
    }
}
