//! `scatter_elements` and `scatter_nd`: a copy of `x` in which some elements are replaced by, or combined with,
//! `updates`.
//!
//! The indices mean what they mean to `gather_elements` and `gather_nd`. Updates are applied in their order, so that
//! the last one stays where several replace one element.

use super::{
    EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, movement, one, only, rules,
    single,
};
use crate::attr::{AttrError, AttrVisitor, attr_enum};
use crate::kernels::indexed;
use crate::tensor::{Number, Tensor, with_lane};
use crate::types::{Dim, TensorType};
use crate::with_number;

attr_enum! {
    /// What becomes of an element that is there and an update for it.
    pub enum Reduction {
        /// The update.
        #[default]
        None = "none",
        /// Their sum.
        Add = "add",
        /// Their product.
        Mul = "mul",
        /// The larger one.
        Max = "max",
        /// The smaller one.
        Min = "min",
    }
}

/// `y[.., indices[i..], ..] = updates[i..]` along one axis.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScatterElements {
    /// The axis; negative ones count from the end.
    pub axis: i64,
    /// How updates are combined with what is there.
    pub reduction: Reduction,
}

impl OpDef for ScatterElements {
    const NAME: &'static str = "scatter_elements";
    const OPERANDS: &'static [Operand] = &[one("x"), one("indices"), one("updates")];

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("axis", &mut self.axis)?;
        visitor.attr("reduction", &mut self.reduction)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        movement::check_element_indices(operands, self.axis)?;
        check_updates(operands, &operands.ty(1)?.shape)?;
        let x = operands.ty(0)?;
        Ok(single(x.dtype, x.shape.clone()))
    }

    fn eval(&self, operands: &Inputs<'_>, _types: &[TensorType]) -> Result<Results, EvalError> {
        let (x, indices) = (operands.tensor(0)?, operands.tensor(1)?);
        let axis = rules::axis("axis", self.axis, x.rank())?;
        let places = movement::element_places(x.sizes(), indices, axis)?;
        scatter(x, operands.tensor(2)?, (places, 1), self.reduction)
    }
}

/// `y[indices[i.., :]] = updates[i..]`, where the last axis of `indices` holds tuples of indices.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScatterNd {
    /// How updates are combined with what is there.
    pub reduction: Reduction,
}

impl OpDef for ScatterNd {
    const NAME: &'static str = "scatter_nd";
    const OPERANDS: &'static [Operand] = &[one("x"), one("indices"), one("updates")];

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("reduction", &mut self.reduction)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let (x, indices) = (operands.ty(0)?, operands.one_of(1, movement::INDEX)?);
        let tuple = movement::tuple_len(operands, x.rank())?;
        let outer = &indices.shape[..indices.rank() - 1];
        let expected: Vec<Dim> = outer.iter().chain(&x.shape[tuple..]).cloned().collect();
        check_updates(operands, &expected)?;
        Ok(single(x.dtype, x.shape.clone()))
    }

    fn eval(&self, operands: &Inputs<'_>, _types: &[TensorType]) -> Result<Results, EvalError> {
        let (x, indices) = (operands.tensor(0)?, operands.tensor(1)?);
        let places = movement::tuple_places(x.sizes(), indices, 0)?;
        scatter(x, operands.tensor(2)?, places, self.reduction)
    }
}

/// Updates must have the type of `x` and the sizes `expected`.
fn check_updates(operands: &Operands<'_>, expected: &[Dim]) -> Result<(), InferError> {
    operands.same_dtype(2, 0)?;
    let updates = operands.ranked(2, expected.len())?;
    let mut pairs = updates.shape.iter().zip(expected);
    pairs.try_for_each(|(size, expected)| operands.same_dim(2, size, expected).map(|_| ()))
}

/// `x` with the blocks of `updates` applied at their places; blocks have the length that goes with the places.
fn scatter(
    x: &Tensor,
    updates: &Tensor,
    places: (Vec<usize>, usize),
    reduction: Reduction,
) -> Result<Results, EvalError> {
    if reduction != Reduction::None {
        return with_number!(x.dtype(), T => combine::<T>(x, updates, places, reduction));
    }
    Ok(only(with_lane!(x.dtype(), L => {
        let mut lanes = x.lanes::<L>().into_owned();
        indexed::scatter(&mut lanes, places.1, places.0.into_iter(), &updates.lanes::<L>(), |_, new| new);
        Tensor::from_lanes(x.dtype(), x.sizes(), lanes)
    })?))
}

fn combine<T: Number>(
    x: &Tensor,
    updates: &Tensor,
    (places, block): (Vec<usize>, usize),
    reduction: Reduction,
) -> Result<Results, EvalError> {
    let mut values = x.to_compute::<T>()?.into_owned();
    let updates = updates.to_compute::<T>()?;
    // What is not a number stays or comes, whatever it is compared with.
    let function: fn(T, T) -> T = match reduction {
        Reduction::None => |_, new| new,
        Reduction::Add => Number::add,
        Reduction::Mul => Number::mul,
        Reduction::Max => |old, new| if new > old || new.is_nan() { new } else { old },
        Reduction::Min => |old, new| if new < old || new.is_nan() { new } else { old },
    };
    indexed::scatter(&mut values, block, places.into_iter(), &updates, function);
    Ok(only(Tensor::from_compute(x.dtype(), x.sizes(), values)?))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{floats, ints, list, run, run_one};
    use super::*;
    use crate::dtype::DType;

    #[test]
    fn elements_are_replaced_along_an_axis() {
        let x = ints(&[2, 3], &[0; 6]);
        let (indices, updates) = (ints(&[2, 2], &[2, 0, -2, 1]), ints(&[2, 2], &[1, 2, 3, 4]));
        let op = ScatterElements { axis: 1, ..ScatterElements::default() };
        assert_eq!(run_one(op, &[x, indices, updates]), (vec![2, 3], vec![2, 0, 1, 0, 4, 0]));
    }

    #[test]
    fn every_reduction() {
        let results = |reduction| {
            let op = ScatterElements { axis: 0, reduction };
            run_one(op, &[list(&[5, 5]), list(&[0, 0, 1]), list(&[2, 3, 7])]).1
        };
        assert_eq!(results(Reduction::None), [3, 7]);
        assert_eq!(results(Reduction::Add), [10, 12]);
        assert_eq!(results(Reduction::Mul), [30, 35]);
        assert_eq!(results(Reduction::Max), [5, 7]);
        assert_eq!(results(Reduction::Min), [2, 5]);
    }

    #[test]
    fn sums_of_narrow_floats_are_rounded_once() {
        // 2048 + 1 is not an f16; the sum of two such steps is.
        let half = |values: &[f32]| Tensor::from_f32(DType::F16, &[values.len()], values).expect("as many");
        let op = ScatterElements { axis: 0, reduction: Reduction::Add };
        let operands = [half(&[2048.0]), list(&[0, 0]), half(&[1.0, 1.0])];
        assert_eq!(run_one(op, &operands).1, [2050]);
    }

    #[test]
    fn tuples_replace_rows() {
        let x = ints(&[3, 2], &[0; 6]);
        let (rows, updates) = (ints(&[2, 1], &[2, 0]), ints(&[2, 2], &[1, 2, 3, 4]));
        assert_eq!(run_one(ScatterNd::default(), &[x, rows, updates]), (vec![3, 2], vec![3, 4, 0, 0, 1, 2]));
    }

    #[test]
    fn updates_that_do_not_fit_are_refused() {
        let (x, indices) = (floats(&[3, 2]), ints(&[2, 1], &[0, 1]));
        for sizes in [&[2][..], &[2, 1], &[3, 2]] {
            assert!(run(ScatterNd::default(), &[x.clone(), indices.clone(), floats(sizes)]).is_err());
        }
        let updates = ints(&[2, 2], &[0; 4]);
        assert!(run(ScatterNd::default(), &[x.clone(), indices.clone(), updates]).is_err(), "another type");
        assert!(run(ScatterElements::default(), &[x, indices, floats(&[2, 2])]).is_err());
    }
}
