//! `transpose`: the axes in another order: axis `i` of the result is axis `perm[i]` of `x`.

use smallvec::SmallVec;

use super::{
    EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, movement, one, rules, single,
};
use crate::attr::{AttrError, AttrVisitor};
use crate::kernels::copy::Layout;
use crate::types::{SymTensor, TensorType};

/// See the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Transpose {
    /// For each axis of the result, the axis of `x`; absent means the reverse order.
    pub perm: Option<Vec<i64>>,
}

impl OpDef for Transpose {
    const NAME: &'static str = "transpose";
    const OPERANDS: &'static [Operand] = &[one("x")];

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("perm", &mut self.perm)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let x = operands.ty(0)?;
        let perm = self.order(x.rank())?;
        Ok(single(x.dtype, perm.iter().map(|axis| x.shape[*axis].clone()).collect()))
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        let x = operands.tensor(0)?;
        movement::read(x, &types[0], &Layout::dense(x.sizes()).permuted(&self.order(x.rank())?))
    }

    fn symbolic(&self, operands: &Operands<'_>) -> Option<SymTensor> {
        movement::symbolic_only(self, operands, 0..1)
    }
}

impl Transpose {
    fn order(&self, rank: usize) -> Result<SmallVec<[usize; 6]>, InferError> {
        let Some(perm) = &self.perm else { return Ok((0..rank).rev().collect()) };
        let order = rules::axes("perm", perm, rank)?;
        if order.len() == rank {
            return Ok(order);
        }
        let expected = format!("each of {rank} axes once");
        Err(InferError::Attribute { attr: "perm", found: format!("{perm:?}"), expected })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{floats, ints, run, run_one};
    use super::*;
    use crate::dtype::DType;
    use crate::tensor::Tensor;

    #[test]
    fn axes_are_reversed_or_taken_in_order() {
        let x = ints(&[1, 2, 3], &[1, 2, 3, 4, 5, 6]);
        assert_eq!(
            run_one(Transpose::default(), std::slice::from_ref(&x)),
            (vec![3, 2, 1], vec![1, 4, 2, 5, 3, 6])
        );
        let perm = Some(vec![1, 0, 2]);
        assert_eq!(run_one(Transpose { perm }, &[x]), (vec![2, 1, 3], vec![1, 2, 3, 4, 5, 6]));
    }

    #[test]
    fn packed_elements_move_one_by_one() {
        let x = Tensor::from_codes(DType::I4, &[2, 3], &[1, 2, 3, 4, 5, 6]).expect("six codes");
        let results = run(Transpose::default(), &[x]).expect("any type is moved");
        assert_eq!(results[0].to_codes(), [1, 4, 2, 5, 3, 6]);
    }

    #[test]
    fn a_perm_that_is_none_is_refused() {
        for perm in [vec![0], vec![0, 0], vec![0, 2], vec![i64::MIN, 0]] {
            assert!(run(Transpose { perm: Some(perm) }, &[floats(&[2, 3])]).is_err());
        }
    }
}
