//! The operands of a node, as type rules and as the reference semantics see them.

use std::cell::Cell;

use super::{Arity, InferError, Operand};
use crate::dtype::DType;
use crate::entity::Entity;
use crate::tensor::Tensor;
use crate::types::{Dim, DimExpr, Known, SymId, SymTensor, TensorType};

/// What is known of one operand.
#[derive(Clone, Debug)]
pub struct Fact {
    /// Its type.
    pub ty: TensorType,
    /// Its elements, as far as they are known.
    pub known: Option<Known>,
}

/// The operands as a type rule sees them.
pub struct Operands<'a> {
    declared: &'static [Operand],
    facts: &'a [Option<Fact>],
    next_symbol: Cell<usize>,
}

impl<'a> Operands<'a> {
    /// The operands `facts` of an operation that declares `declared`. Fresh symbols are numbered from `next_symbol`.
    pub fn new(declared: &'static [Operand], facts: &'a [Option<Fact>], next_symbol: usize) -> Self {
        Self { declared, facts, next_symbol: Cell::new(next_symbol) }
    }

    /// Number of operands given, absent ones in between included.
    pub fn len(&self) -> usize {
        self.facts.len()
    }

    /// Whether no operand was given.
    pub fn is_empty(&self) -> bool {
        self.facts.is_empty()
    }

    /// Whether the operand at `index` is there.
    pub fn has(&self, index: usize) -> bool {
        self.fact(index).is_some()
    }

    /// The type of the operand at `index`.
    pub fn ty(&self, index: usize) -> Result<&'a TensorType, InferError> {
        let missing = || InferError::Missing { operand: self.name(index) };
        self.fact(index).map(|fact| &fact.ty).ok_or_else(missing)
    }

    /// The type of the operand at `index`, or `None` when it was left out.
    pub fn optional(&self, index: usize) -> Option<&'a TensorType> {
        self.fact(index).map(|fact| &fact.ty)
    }

    /// What is known of the elements of the operand at `index`.
    pub fn known(&self, index: usize) -> Option<&'a Known> {
        self.fact(index)?.known.as_ref()
    }

    /// The elements of the operand at `index`, when they are all numbers.
    pub fn constant(&self, index: usize) -> Option<&'a Tensor> {
        self.known(index)?.constant()
    }

    /// The elements of an integer operand that is constant.
    pub fn integers(&self, index: usize) -> Option<Vec<i64>> {
        self.constant(index)?.to_i64().ok()
    }

    /// The elements of a small integer operand as polynomials of symbolic sizes.
    pub fn symbolic(&self, index: usize) -> Option<SymTensor> {
        self.known(index)?.symbolic()
    }

    /// A size that nothing is known of.
    pub fn fresh(&self) -> Dim {
        let index = self.next_symbol.get();
        self.next_symbol.set(index + 1);
        Dim::Sym(SymId::from_index(index))
    }

    /// The size that `expr` is; a fresh symbol for `None`. A negative number is an error of `operand`.
    pub fn dim(&self, index: usize, expr: Option<DimExpr>) -> Result<Dim, InferError> {
        let Some(expr) = expr else { return Ok(self.fresh()) };
        let negative = expr.as_constant();
        Dim::from_expr(expr).ok_or_else(|| InferError::Operand {
            operand: self.name(index),
            found: format!("a size of {}", negative.unwrap_or_default()),
            expected: "sizes that are not negative".to_owned(),
        })
    }

    /// The size of an axis on which two operands must agree, `a` of this one and `b` of the one at `index`.
    pub fn same_dim(&self, index: usize, a: &Dim, b: &Dim) -> Result<Dim, InferError> {
        match (a, b) {
            (Dim::Known(x), Dim::Known(y)) if x != y => {
                Err(self.mismatch(index, format!("size {x} where the other operand has {y}")))
            }
            (Dim::Known(_), _) => Ok(a.clone()),
            (_, Dim::Known(_)) => Ok(b.clone()),
            _ => Ok(a.clone()),
        }
    }

    /// The error that the operand at `index` does not fit.
    pub fn mismatch(&self, index: usize, expected: impl Into<String>) -> InferError {
        let found = self.optional(index).map_or_else(|| "nothing".to_owned(), ToString::to_string);
        InferError::Operand { operand: self.name(index), found, expected: expected.into() }
    }

    /// The type of the operand at `index`, which must have one of `dtypes`.
    pub fn one_of(&self, index: usize, dtypes: &[DType]) -> Result<&'a TensorType, InferError> {
        let ty = self.ty(index)?;
        if dtypes.contains(&ty.dtype) {
            return Ok(ty);
        }
        let names: Vec<&str> = dtypes.iter().map(|dtype| dtype.name()).collect();
        Err(self.mismatch(index, format!("elements of {}", names.join(", "))))
    }

    /// The type of the operand at `index`, which must be floating-point.
    pub fn float(&self, index: usize) -> Result<&'a TensorType, InferError> {
        let ty = self.ty(index)?;
        if ty.dtype.is_float() { Ok(ty) } else { Err(self.mismatch(index, "floating-point elements")) }
    }

    /// The type of the operand at `index`, which must have `rank` axes.
    pub fn ranked(&self, index: usize, rank: usize) -> Result<&'a TensorType, InferError> {
        let ty = self.ty(index)?;
        if ty.rank() == rank { Ok(ty) } else { Err(self.mismatch(index, format!("{rank} axes"))) }
    }

    /// The type of the operand at `index`, which must have the element type of the operand at `like`.
    pub fn same_dtype(&self, index: usize, like: usize) -> Result<&'a TensorType, InferError> {
        let (ty, other) = (self.ty(index)?, self.ty(like)?);
        if ty.dtype == other.dtype {
            return Ok(ty);
        }
        Err(self.mismatch(index, format!("elements of {} like operand `{}`", other.dtype, self.name(like))))
    }

    /// The name of the operand at `index`; variadic ones are numbered.
    pub fn name(&self, index: usize) -> String {
        operand_name(self.declared, index)
    }

    /// What is known of all operands.
    pub(crate) fn facts(&self) -> &'a [Option<Fact>] {
        self.facts
    }

    /// Applies `rule` to `facts` instead of these. Symbols that it hands out are counted here.
    pub(crate) fn instead<T>(&self, facts: &[Option<Fact>], rule: impl FnOnce(&Operands<'_>) -> T) -> T {
        let operands = Operands::new(self.declared, facts, self.next_symbol());
        let result = rule(&operands);
        self.next_symbol.set(operands.next_symbol());
        result
    }

    /// One past the number of the last symbol handed out.
    pub(crate) fn next_symbol(&self) -> usize {
        self.next_symbol.get()
    }

    fn fact(&self, index: usize) -> Option<&'a Fact> {
        self.facts.get(index)?.as_ref()
    }
}

/// The operands as the reference semantics see them.
pub struct Inputs<'a> {
    declared: &'static [Operand],
    tensors: &'a [Option<Tensor>],
}

impl<'a> Inputs<'a> {
    /// The tensors of an operation that declares `declared`.
    pub fn new(declared: &'static [Operand], tensors: &'a [Option<Tensor>]) -> Self {
        Self { declared, tensors }
    }

    /// Number of operands given, absent ones in between included.
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Whether no operand was given.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// The operand at `index`.
    pub fn tensor(&self, index: usize) -> Result<&'a Tensor, InferError> {
        self.optional(index)
            .ok_or_else(|| InferError::Missing { operand: operand_name(self.declared, index) })
    }

    /// The operand at `index`, or `None` when it was left out.
    pub fn optional(&self, index: usize) -> Option<&'a Tensor> {
        self.tensors.get(index)?.as_ref()
    }

    /// All operands.
    pub(crate) fn tensors(&self) -> &'a [Option<Tensor>] {
        self.tensors
    }

    /// Applies `rule` to `tensors` instead of these.
    pub(crate) fn instead<T>(&self, tensors: &[Option<Tensor>], rule: impl FnOnce(&Inputs<'_>) -> T) -> T {
        rule(&Inputs { declared: self.declared, tensors })
    }

    /// The operands from `index` on that are there.
    pub fn rest(&self, index: usize) -> impl Iterator<Item = &'a Tensor> {
        self.tensors.iter().skip(index).flatten()
    }
}

/// The name of the operand at `index`; variadic ones are numbered.
pub(crate) fn operand_name(declared: &[Operand], index: usize) -> String {
    match (declared.get(index), declared.last()) {
        (Some(operand), _) if operand.arity != Arity::Variadic => operand.name.to_owned(),
        (_, Some(last)) if last.arity == Arity::Variadic => {
            format!("{}[{}]", last.name, index + 1 - declared.len())
        }
        _ => format!("#{index}"),
    }
}
