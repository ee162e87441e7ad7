//! `one_hot`: a new axis of `depth` elements for each index: `values[1]` at the index, `values[0]` elsewhere.
//!
//! Negative indices count from the end; indices from `depth` on, or below `-depth`, name no place.

use super::{
    EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, movement, one, only, rules,
    single, sizes_of,
};
use crate::attr::{AttrError, AttrVisitor};
use crate::dtype::DType;
use crate::tensor::{Tensor, with_lane};
use crate::types::{Dim, DimExpr, TensorType};

/// See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OneHot {
    /// The new axis of the result; negative ones count from the end.
    pub axis: i64,
}

impl Default for OneHot {
    fn default() -> Self {
        Self { axis: -1 }
    }
}

impl OpDef for OneHot {
    const NAME: &'static str = "one_hot";
    const OPERANDS: &'static [Operand] = &[one("indices"), one("depth"), one("values")];

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("axis", &mut self.axis)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let (indices, values) = (operands.ty(0)?, operands.ranked(2, 1)?);
        movement::check_scalar(operands, 1)?;
        operands.same_dim(2, &values.shape[0], &Dim::Known(2))?;
        let axis = rules::axis("axis", self.axis, indices.rank() + 1)?;
        let symbolic = || operands.symbolic(1)?.elements.into_iter().next();
        let rounded = || Some(DimExpr::constant(integers(operands.constant(1)?).ok()?.first().copied()?));
        let mut shape = indices.shape.clone();
        shape.0.insert(axis, operands.dim(1, symbolic().or_else(rounded))?);
        Ok(single(values.dtype, shape))
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        let (indices, values) = (integers(operands.tensor(0)?)?, operands.tensor(2)?);
        let sizes = sizes_of(&types[0])?;
        let axis = rules::axis("axis", self.axis, sizes.len())?;
        let (depth, inner) = (sizes[axis], sizes[axis + 1..].iter().product::<usize>());
        Ok(only(with_lane!(values.dtype(), L => {
            let choice = values.lanes::<L>();
            let mut lanes = vec![choice[0]; sizes.iter().product()];
            for (number, index) in indices.iter().enumerate() {
                let Ok(place) = movement::normal_index("indices", *index, depth) else { continue };
                lanes[(number / inner * depth + place) * inner + number % inner] = choice[1];
            }
            Tensor::from_lanes(values.dtype(), &sizes, lanes)
        })?))
    }
}

/// The elements as integers; floats are rounded toward zero.
fn integers(tensor: &Tensor) -> Result<Vec<i64>, EvalError> {
    if tensor.dtype().is_float() || tensor.dtype() == DType::U64 {
        // Saturation keeps large unsigned indices out of range.
        return Ok(tensor.to_f64()?.iter().map(|value| *value as i64).collect());
    }
    Ok(tensor.to_i64()?)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{floats, ints, list, run, run_one, tensor};
    use super::*;

    #[test]
    fn the_new_axis_may_be_anywhere() {
        let operands = [ints(&[2], &[0, -1]), ints(&[], &[3]), list(&[7, 8])];
        assert_eq!(run_one(OneHot::default(), &operands), (vec![2, 3], vec![8, 7, 7, 7, 7, 8]));
        assert_eq!(run_one(OneHot { axis: 0 }, &operands), (vec![3, 2], vec![8, 7, 7, 7, 7, 8]));
    }

    #[test]
    fn indices_out_of_range_name_no_place() {
        let operands = [tensor(&[4], &[2.0, -3.0, 1.9, f32::INFINITY]), tensor(&[1], &[2.0]), list(&[0, 1])];
        assert_eq!(run_one(OneHot::default(), &operands), (vec![4, 2], vec![0, 0, 0, 0, 0, 1, 0, 0]));
    }

    #[test]
    fn operands_that_do_not_fit_are_refused() {
        let refused = |axis, depth, values| run(OneHot { axis }, &[list(&[0]), depth, values]).is_err();
        assert!(refused(-1, ints(&[], &[-1]), list(&[0, 1])));
        assert!(refused(-1, list(&[1, 2]), list(&[0, 1])));
        assert!(refused(-1, ints(&[], &[2]), list(&[0, 1, 2])));
        assert!(refused(2, ints(&[], &[2]), list(&[0, 1])));
        assert!(refused(-1, floats(&[]), ints(&[], &[1])));
    }
}
