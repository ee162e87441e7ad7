//! `gather_nd`: for each tuple of indices, the part of `x` that it names.
//!
//! The last axis of `indices` holds the tuples. Without batch axes `y[i..] = x[indices[i.., :]]`: a tuple as long as
//! `x` has axes names an element, a shorter one all that lies under it. The first `batch_dims` axes are common to both
//! operands and not indexed. Negative indices count from the end.

use super::{
    EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, movement, one, only, single,
    sizes_of,
};
use crate::attr::{AttrError, AttrVisitor};
use crate::kernels::indexed;
use crate::tensor::{Tensor, with_lane};
use crate::types::TensorType;

/// See the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GatherNd {
    /// How many leading axes the operands have in common.
    pub batch_dims: u64,
}

impl OpDef for GatherNd {
    const NAME: &'static str = "gather_nd";
    const OPERANDS: &'static [Operand] = &[one("x"), one("indices")];

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("batch_dims", &mut self.batch_dims)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let (x, indices) = (operands.ty(0)?, operands.one_of(1, movement::INDEX)?);
        let limit = x.rank().min(indices.rank());
        let batch = usize::try_from(self.batch_dims).ok().filter(|batch| *batch < limit);
        let batch = batch.ok_or_else(|| InferError::Attribute {
            attr: "batch_dims",
            found: self.batch_dims.to_string(),
            expected: format!("fewer axes than either operand has, {limit}"),
        })?;
        let tuple = movement::tuple_len(operands, x.rank() - batch)?;
        let mut shape = indices.shape.clone();
        shape.0.pop();
        for axis in 0..batch {
            shape.0[axis] = operands.same_dim(1, &indices.shape[axis], &x.shape[axis])?;
        }
        shape.0.extend(x.shape[batch + tuple..].iter().cloned());
        Ok(single(x.dtype, shape))
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        let (x, indices) = (operands.tensor(0)?, operands.tensor(1)?);
        let (places, block) = movement::tuple_places(x.sizes(), indices, self.batch_dims as usize)?;
        let sizes = sizes_of(&types[0])?;
        Ok(only(with_lane!(x.dtype(), L => {
            let lanes = indexed::gather(&x.lanes::<L>(), block, places.len(), places.into_iter());
            Tensor::from_lanes(x.dtype(), &sizes, lanes)
        })?))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{floats, ints, run, run_one};
    use super::*;

    #[test]
    fn tuples_name_elements_or_what_lies_under_them() {
        let x = ints(&[2, 2], &[0, 1, 2, 3]);
        let whole = ints(&[2, 2], &[0, 0, 1, -1]);
        assert_eq!(run_one(GatherNd::default(), &[x.clone(), whole]), (vec![2], vec![0, 3]));
        let rows = ints(&[2, 1], &[1, 0]);
        assert_eq!(run_one(GatherNd::default(), &[x.clone(), rows.clone()]), (vec![2, 2], vec![2, 3, 0, 1]));
        assert_eq!(run_one(GatherNd { batch_dims: 1 }, &[x, rows]), (vec![2], vec![1, 2]));
    }

    #[test]
    fn indices_that_do_not_fit_are_refused() {
        let refused = |batch_dims, sizes: &[usize], index| {
            let indices = ints(sizes, &vec![index; sizes.iter().product()]);
            run(GatherNd { batch_dims }, &[floats(&[2, 3]), indices]).is_err()
        };
        assert!(!refused(0, &[4, 2], 1));
        assert!(refused(0, &[1, 3], 0), "tuples longer than the rank");
        assert!(refused(0, &[1, 0], 0), "tuples without an index");
        assert!(refused(0, &[1, 2], 2), "beyond the first axis");
        assert!(refused(1, &[3, 1], 0), "another batch");
        assert!(refused(2, &[2, 3], 0));
        assert!(refused(u64::MAX, &[2, 1], 0));
    }
}
