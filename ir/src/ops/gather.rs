//! `gather`: the slices of `x` along an axis at given indices.
//!
//! With `x` of sizes `[a.., s, b..]`, where `s` is the size of the axis, and `indices` of sizes `[i..]`, the result has
//! sizes `[a.., i.., b..]`. Negative indices count from the end.

use super::{
    EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, movement, one, only, rules,
    single, sizes_of,
};
use crate::attr::{AttrError, AttrVisitor};
use crate::types::{SymTensor, TensorType};

/// See the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gather {
    /// The axis; negative ones count from the end.
    pub axis: i64,
}

impl OpDef for Gather {
    const NAME: &'static str = "gather";
    const OPERANDS: &'static [Operand] = &[one("x"), one("indices")];

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("axis", &mut self.axis)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let (x, indices) = (operands.ty(0)?, operands.one_of(1, movement::INDEX)?);
        let axis = rules::axis("axis", self.axis, x.rank())?;
        let (outer, inner) = (&x.shape[..axis], &x.shape[axis + 1..]);
        Ok(single(x.dtype, outer.iter().chain(indices.shape.iter()).chain(inner).cloned().collect()))
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        let x = operands.tensor(0)?;
        let axis = rules::axis("axis", self.axis, x.rank())?;
        let picks = movement::indices_of("indices", operands.tensor(1)?, x.sizes()[axis])?;
        Ok(only(movement::take(x, axis, &picks)?.reshaped(&sizes_of(&types[0])?)?))
    }

    fn symbolic(&self, operands: &Operands<'_>) -> Option<SymTensor> {
        movement::symbolic_only(self, operands, 0..1)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{floats, ints, list, run, run_one};
    use super::*;

    #[test]
    fn slices_along_either_axis() {
        let x = ints(&[2, 3], &[0, 1, 2, 3, 4, 5]);
        let indices = ints(&[1, 2], &[1, -1]);
        assert_eq!(
            run_one(Gather { axis: 0 }, &[x.clone(), indices.clone()]),
            (vec![1, 2, 3], vec![3, 4, 5, 3, 4, 5])
        );
        assert_eq!(run_one(Gather { axis: -1 }, &[x.clone(), indices]), (vec![2, 1, 2], vec![1, 2, 4, 5]));
        assert_eq!(run_one(Gather { axis: 1 }, &[x, ints(&[], &[0])]), (vec![2], vec![0, 3]));
    }

    #[test]
    fn indices_beyond_the_axis_are_refused() {
        let refused = |index: i64| run(Gather { axis: 0 }, &[floats(&[3]), list(&[index])]).is_err();
        assert!(!refused(-3));
        assert!([3, -4, i64::MIN, i64::MAX].into_iter().all(refused));
        assert!(run(Gather { axis: 0 }, &[floats(&[0]), list(&[0])]).is_err());
    }
}
