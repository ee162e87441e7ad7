//! `squeeze`, `unsqueeze` and `flatten`: the same elements with axes of size 1 removed or added, or with all axes
//! joined into two.

use smallvec::SmallVec;

use super::{
    EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, movement, one, only, optional,
    rules, single, sizes_of,
};
use crate::attr::{AttrError, AttrVisitor};
use crate::types::{Dim, DimExpr, MAX_RANK, Shape, SymTensor, TensorType};

/// Removes the axes `axes`, which must have size 1; without that operand, every axis of size 1.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Squeeze;

impl OpDef for Squeeze {
    const NAME: &'static str = "squeeze";
    const OPERANDS: &'static [Operand] = &[one("x"), optional("axes")];

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let x = operands.ty(0)?;
        let removed = if operands.has(1) {
            movement::axes_operand(operands, 1, x.rank())?
        } else {
            Some(axes_of_size_one(&x.shape)?)
        };
        let Some(removed) = removed else {
            let left = x.rank().checked_sub(movement::list_len(operands, 1)?);
            let rank = left.ok_or_else(|| operands.mismatch(1, "no more axes than `x` has"))?;
            return Ok(single(x.dtype, (0..rank).map(|_| operands.fresh()).collect()));
        };
        if let Some(axis) = removed.iter().find(|axis| x.shape[**axis].known().is_some_and(|size| size != 1))
        {
            return Err(operands.mismatch(0, format!("size 1 on axis {axis}, which is removed")));
        }
        let kept = x.shape.iter().enumerate().filter(|(axis, _)| !removed.contains(axis));
        Ok(single(x.dtype, kept.map(|(_, dim)| dim.clone()).collect()))
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        Ok(only(operands.tensor(0)?.reshaped(&sizes_of(&types[0])?)?))
    }

    fn symbolic(&self, operands: &Operands<'_>) -> Option<SymTensor> {
        movement::symbolic_only(self, operands, 0..1)
    }
}

fn axes_of_size_one(shape: &Shape) -> Result<SmallVec<[usize; 6]>, InferError> {
    if shape.iter().any(|dim| dim.known().is_none()) {
        let why = format!("without `axes`, the rank of the result depends on the symbolic sizes {shape}");
        return Err(InferError::Unsupported(why));
    }
    Ok((0..shape.rank()).filter(|axis| shape[*axis] == Dim::Known(1)).collect())
}

/// Adds axes of size 1, so that they are the axes `axes` of the result.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Unsqueeze;

impl OpDef for Unsqueeze {
    const NAME: &'static str = "unsqueeze";
    const OPERANDS: &'static [Operand] = &[one("x"), one("axes")];

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let x = operands.ty(0)?;
        let rank = x.rank().saturating_add(movement::list_len(operands, 1)?);
        if rank > MAX_RANK {
            return Err(operands.mismatch(1, format!("axes that make at most {MAX_RANK}")));
        }
        let Some(added) = movement::axes_operand(operands, 1, rank)? else {
            return Ok(single(x.dtype, (0..rank).map(|_| operands.fresh()).collect()));
        };
        let mut own = x.shape.iter().cloned();
        let dim = |axis| if added.contains(&axis) { Some(Dim::Known(1)) } else { own.next() };
        Ok(single(x.dtype, (0..rank).filter_map(dim).collect()))
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        Ok(only(operands.tensor(0)?.reshaped(&sizes_of(&types[0])?)?))
    }

    fn symbolic(&self, operands: &Operands<'_>) -> Option<SymTensor> {
        movement::symbolic_only(self, operands, 0..1)
    }
}

/// A matrix: the axes before `axis` joined into the first, the others into the second.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flatten {
    /// From minus the rank to the rank; negative ones count from the end.
    pub axis: i64,
}

impl Default for Flatten {
    fn default() -> Self {
        Self { axis: 1 }
    }
}

impl OpDef for Flatten {
    const NAME: &'static str = "flatten";
    const OPERANDS: &'static [Operand] = &[one("x")];

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("axis", &mut self.axis)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let x = operands.ty(0)?;
        // One past the last axis is allowed, too.
        let axis = match usize::try_from(self.axis) {
            Ok(axis) if axis == x.rank() => axis,
            _ => rules::axis("axis", self.axis, x.rank())?,
        };
        let product = |dims: &[Dim]| {
            dims.iter().try_fold(DimExpr::constant(1), |product, dim| product.mul(&dim.expr()))
        };
        let (rows, columns) = x.shape.split_at(axis);
        let shape = Shape::from_iter([operands.dim(0, product(rows))?, operands.dim(0, product(columns))?]);
        Ok(single(x.dtype, shape))
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        Ok(only(operands.tensor(0)?.reshaped(&sizes_of(&types[0])?)?))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{floats, ints, list, run};
    use super::*;
    use crate::ops::Op;
    use crate::tensor::Tensor;

    fn sizes(op: impl Into<Op>, operands: &[Tensor]) -> Option<Vec<usize>> {
        run(op, operands).ok().map(|results| results[0].sizes().to_vec())
    }

    #[test]
    fn squeeze_takes_axes_of_size_one_only() {
        let x = floats(&[1, 3, 1]);
        assert_eq!(sizes(Squeeze, std::slice::from_ref(&x)), Some(vec![3]));
        assert_eq!(sizes(Squeeze, &[x.clone(), list(&[-1])]), Some(vec![1, 3]));
        assert_eq!(sizes(Squeeze, &[x.clone(), list(&[])]), Some(vec![1, 3, 1]));
        assert_eq!(sizes(Squeeze, &[x.clone(), list(&[1])]), None);
        assert_eq!(sizes(Squeeze, &[x, list(&[0, -3])]), None);
    }

    #[test]
    fn unsqueeze_counts_axes_of_the_result() {
        let x = floats(&[3, 4]);
        assert_eq!(sizes(Unsqueeze, &[x.clone(), list(&[0, -1])]), Some(vec![1, 3, 4, 1]));
        assert_eq!(sizes(Unsqueeze, &[x.clone(), list(&[3, 1])]), Some(vec![3, 1, 4, 1]));
        assert_eq!(sizes(Unsqueeze, &[x.clone(), ints(&[], &[1])]), Some(vec![3, 1, 4]));
        assert_eq!(sizes(Unsqueeze, &[x.clone(), list(&[3])]), None);
        assert_eq!(sizes(Unsqueeze, &[x, list(&[0; 40])]), None);
    }

    #[test]
    fn flatten_makes_a_matrix() {
        let x = floats(&[2, 3, 4]);
        for (axis, expected) in [(0, [1, 24]), (1, [2, 12]), (3, [24, 1]), (-1, [6, 4]), (-3, [1, 24])] {
            assert_eq!(sizes(Flatten { axis }, std::slice::from_ref(&x)), Some(expected.to_vec()));
        }
        assert_eq!(sizes(Flatten { axis: 4 }, &[x]), None);
        assert_eq!(sizes(Flatten { axis: 0 }, &[floats(&[])]), Some(vec![1, 1]));
    }
}
