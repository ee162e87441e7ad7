//! `reshape`: the same elements under other sizes.
//!
//! `shape[i] > 0` is a size; `-1`, at most once, is what the number of elements asks for; `0` is the size of axis `i`
//! of `x`, or, with `allowzero`, no elements along that axis.

use super::{EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, one, only, single, sizes_of};
use crate::attr::{AttrError, AttrVisitor};
use crate::dtype::DType;
use crate::types::{Dim, DimExpr, Shape, SymTensor, TensorType};

/// See the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reshape {
    /// Whether a 0 in `shape` means no elements.
    pub allowzero: bool,
}

impl OpDef for Reshape {
    const NAME: &'static str = "reshape";
    const OPERANDS: &'static [Operand] = &[one("x"), one("shape")];

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("allowzero", &mut self.allowzero)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let x = operands.ty(0)?;
        let shape = operands.one_of(1, &[DType::I64])?;
        let rank = shape.shape.as_known().filter(|sizes| sizes.len() == 1).map(|sizes| sizes[0]);
        let rank = rank.ok_or_else(|| operands.mismatch(1, "a vector of known length"))?;
        let result = match operands.symbolic(1) {
            Some(target) => self.resolve(operands, &x.shape, &target)?,
            None => (0..rank).map(|_| operands.fresh()).collect(),
        };
        Ok(single(x.dtype, result))
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        Ok(only(operands.tensor(0)?.reshaped(&sizes_of(&types[0])?)?))
    }

    fn symbolic(&self, operands: &Operands<'_>) -> Option<SymTensor> {
        let x = operands.symbolic(0)?;
        let sizes = operands.integers(1).filter(|sizes| sizes.iter().all(|size| *size >= -1))?;
        let length = x.elements.len();
        let given: usize = sizes.iter().filter(|size| **size > 0).map(|size| *size as usize).product();
        let size = |size: &i64| usize::try_from(*size).ok().or_else(|| length.checked_div(given));
        let sizes: smallvec::SmallVec<[usize; 6]> = sizes.iter().map(size).collect::<Option<_>>()?;
        // A 0 copies a size or empties the tensor; neither happens to the shapes that are followed here.
        (sizes.iter().product::<usize>() == length).then(|| SymTensor { sizes, ..x })
    }
}

impl Reshape {
    /// The sizes that `target` asks for.
    fn resolve(&self, operands: &Operands<'_>, x: &Shape, target: &SymTensor) -> Result<Shape, InferError> {
        let mut sizes: Vec<Option<DimExpr>> = Vec::with_capacity(target.elements.len());
        for (axis, size) in target.elements.iter().enumerate() {
            sizes.push(match size.as_constant() {
                Some(-1) => None,
                Some(0) if !self.allowzero => {
                    let copied = x.get(axis).map(Dim::expr);
                    Some(copied.ok_or_else(|| operands.mismatch(1, "0 only where `x` has an axis to copy"))?)
                }
                _ => Some(size.clone()),
            });
        }
        let unknown = sizes.iter().filter(|size| size.is_none()).count();
        if unknown > 1 {
            return Err(operands.mismatch(1, "at most one -1"));
        }
        let product = |sizes: &[Option<DimExpr>]| {
            sizes.iter().flatten().try_fold(DimExpr::constant(1), |product, size| product.mul(size))
        };
        let (total, given) = (x.elements(), product(&sizes));
        let missing = total.as_ref().zip(given.as_ref()).and_then(|(total, given)| total.div_exact(given));
        let numbers = |expr: &Option<DimExpr>| expr.as_ref().and_then(DimExpr::as_constant);
        if let (Some(total), Some(given)) = (numbers(&total), numbers(&given)) {
            let fits = if unknown == 1 { given != 0 && total % given == 0 } else { total == given };
            if !fits {
                let expected = format!("a `shape` with as many elements, got {given}");
                return Err(operands.mismatch(0, expected));
            }
        }
        let dims = sizes.into_iter().map(|size| operands.dim(1, size.or_else(|| missing.clone())));
        dims.collect()
    }
}
