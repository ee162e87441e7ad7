//! What an operation declares: name, operands, attributes, type rule and reference semantics.
//!
//! Five items define an operation; everything else (file formats, backends, costs) is a table in the crate that needs
//! it, keyed by operation.

use std::fmt;

use smallvec::SmallVec;

use super::{Inputs, OpKind, Operands};
use crate::attr::{AttrError, AttrVisitor};
use crate::dtype::DType;
use crate::kernels::KernelError;
use crate::tensor::{Tensor, TensorError};
use crate::types::{Shape, SymTensor, TensorType};

/// How often an operand occurs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arity {
    /// Always there.
    One,
    /// There or left out.
    Optional,
    /// Any number, and the last of the list.
    Variadic,
}

/// An operand that an operation declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operand {
    /// The name by which passes and messages know it.
    pub name: &'static str,
    /// How often it occurs.
    pub arity: Arity,
}

/// An operand that is always there.
pub const fn one(name: &'static str) -> Operand {
    Operand { name, arity: Arity::One }
}

/// An operand that may be left out.
pub const fn optional(name: &'static str) -> Operand {
    Operand { name, arity: Arity::Optional }
}

/// Any number of operands, after all others.
pub const fn variadic(name: &'static str) -> Operand {
    Operand { name, arity: Arity::Variadic }
}

bitflags::bitflags! {
    /// What passes may assume of an operation.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct OpTraits: u8 {
        /// The results depend on operands and attributes only.
        const PURE = 1;
        /// Each element of the result depends on the elements at the same (broadcast) place only.
        const ELEMENTWISE = 1 << 1;
        /// The first two operands may be exchanged.
        const COMMUTATIVE = 1 << 2;
    }
}

/// Result types of a node.
pub type Types = SmallVec<[TensorType; 1]>;

/// Elements of a node's results.
pub type Results = SmallVec<[Tensor; 1]>;

/// An operation. See `docs/add-an-op.md` for a walk through one.
pub trait OpDef: Clone + fmt::Debug + Default + Eq + Ord + std::hash::Hash + Send + Sync + 'static {
    /// The spelling in the text format.
    const NAME: &'static str;
    /// The operands in order; at most the last is variadic.
    const OPERANDS: &'static [Operand];
    /// Names of the results. Where the number varies, the names of the first ones.
    const RESULTS: &'static [&'static str] = &["y"];
    /// What passes may assume.
    const TRAITS: OpTraits = OpTraits::PURE;

    /// Hands every field to `visitor`, once, in the order in which attributes are printed.
    fn attrs(&mut self, _visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        Ok(())
    }

    /// The type rule: result types from what is known of the operands. Run when a node is built, with symbolic sizes,
    /// and again when it is evaluated, with every size and every operand's elements known.
    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError>;

    /// The reference semantics. `types` are what [`infer`](Self::infer) returned for these very operands; sizes that
    /// depend on elements are already numbers there. Not called where no result has elements.
    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError>;

    /// The elements of the only result as polynomials of symbolic sizes, for operations that shapes are computed with.
    /// Called only where an operand is not constant.
    fn symbolic(&self, _operands: &Operands<'_>) -> Option<SymTensor> {
        None
    }

    /// As [`symbolic`](Self::symbolic), for operations with several results: those of the first ones.
    fn symbolic_results(&self, operands: &Operands<'_>) -> Vec<Option<SymTensor>> {
        vec![self.symbolic(operands)]
    }
}

/// An operation did not accept its operands or attributes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InferError {
    /// An operand that must be there is not.
    #[error("operand `{operand}` is missing")]
    Missing {
        /// The operand.
        operand: String,
    },
    /// More operands than the operation has.
    #[error("{found} operands given, the operation has {expected}")]
    TooMany {
        /// How many were given.
        found: usize,
        /// How many there may be.
        expected: usize,
    },
    /// An operand does not fit.
    #[error("operand `{operand}`: {found} does not fit, expected {expected}")]
    Operand {
        /// The operand.
        operand: String,
        /// Its type, or what was wrong with it.
        found: String,
        /// What would have fitted.
        expected: String,
    },
    /// An attribute does not fit the operands.
    #[error("attribute `{attr}`: {found} does not fit, expected {expected}")]
    Attribute {
        /// The attribute.
        attr: &'static str,
        /// Its value.
        found: String,
        /// What would have fitted.
        expected: String,
    },
    /// A result would have more elements or axes than any machine holds.
    #[error("the result {ty} is larger than a tensor may be (2^48 elements, 32 axes)")]
    TooLarge {
        /// The type of the result.
        ty: String,
    },
    /// A result cannot be encoded as the node states.
    #[error("result {result}: {found} {why}")]
    Encoding {
        /// Which result, counted from 0.
        result: usize,
        /// Its type without an encoding.
        found: String,
        /// What is wrong with the statement.
        why: String,
    },
    /// The operation is not defined for this combination yet.
    #[error("not supported: {0}")]
    Unsupported(String),
}

/// An operation could not be evaluated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// The operands do not fit.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// An element of an operand has a value for which the operation is not defined.
    #[error("operand `{operand}` holds {found}, expected {expected}")]
    Value {
        /// The operand.
        operand: &'static str,
        /// The value.
        found: String,
        /// What would have been right.
        expected: String,
    },
    /// A tensor could not be made or read: a fault of the operation's rule.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// The operation has no reference semantics for this combination.
    #[error("not supported: {0}")]
    Unsupported(String),
}

/// Type rules rule these out, so one is a combination that they let through.
impl From<KernelError> for EvalError {
    fn from(error: KernelError) -> Self {
        Self::Unsupported(error.to_string())
    }
}

/// [`OpDef`] as a trait object: what generic code sees of an operation it does not know.
pub trait OpObj: fmt::Debug + Send + Sync {
    /// The spelling in the text format.
    fn name(&self) -> &'static str;
    /// The operands in order.
    fn operands(&self) -> &'static [Operand];
    /// Names of the results.
    fn results(&self) -> &'static [&'static str];
    /// What passes may assume.
    fn traits(&self) -> OpTraits;
    /// See [`OpDef::attrs`].
    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError>;
    /// See [`OpDef::infer`].
    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError>;
    /// See [`OpDef::eval`].
    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError>;
    /// See [`OpDef::symbolic_results`].
    fn symbolic_results(&self, operands: &Operands<'_>) -> Vec<Option<SymTensor>>;
}

impl<O: OpDef> OpObj for O {
    fn name(&self) -> &'static str {
        O::NAME
    }
    fn operands(&self) -> &'static [Operand] {
        O::OPERANDS
    }
    fn results(&self) -> &'static [&'static str] {
        O::RESULTS
    }
    fn traits(&self) -> OpTraits {
        O::TRAITS
    }
    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        OpDef::attrs(self, visitor)
    }
    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        OpDef::infer(self, operands)
    }
    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        // Of no elements there is nothing to compute, and one of the sizes may be too large for a table of its places.
        let empty: Option<Results> = types.iter().map(without_elements).collect();
        empty.filter(|results| !results.is_empty()).map_or_else(|| OpDef::eval(self, operands, types), Ok)
    }
    fn symbolic_results(&self, operands: &Operands<'_>) -> Vec<Option<SymTensor>> {
        OpDef::symbolic_results(self, operands)
    }
}

/// The tensor of type `ty`, when it has no elements.
fn without_elements(ty: &TensorType) -> Option<Tensor> {
    let sizes = sizes_of(ty).ok()?;
    if sizes.contains(&0) { Tensor::zeros(ty.dtype, &sizes).ok() } else { None }
}

/// An operation that is a variant of [`Op`](super::Op): lets generic code ask whether an op is an `O`.
pub trait OpVariant: OpDef + Into<super::Op> {
    /// Its kind.
    const KIND: OpKind;
    /// `op` as this operation, when it is one.
    fn of(op: &super::Op) -> Option<&Self>;
}

/// The type of the only result: `dtype` with `shape`.
pub fn single(dtype: DType, shape: Shape) -> Types {
    smallvec::smallvec![TensorType::new(dtype, shape)]
}

/// The only result.
pub fn only(tensor: Tensor) -> Results {
    smallvec::smallvec![tensor]
}

/// The sizes of a result type as the reference semantics use them.
///
/// # Errors
/// When a size is not known, which the interpreter rules out for results of [`OpDef::infer`] on known operands.
pub fn sizes_of(ty: &TensorType) -> Result<crate::tensor::Sizes, EvalError> {
    let known = ty.shape.as_known().map(|sizes| sizes.iter().map(|size| *size as usize).collect());
    known.ok_or_else(|| {
        EvalError::Unsupported(format!("a result of type {ty}, whose sizes depend on its elements"))
    })
}
