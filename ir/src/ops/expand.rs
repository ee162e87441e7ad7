//! `expand`: `x` broadcast with a tensor of sizes `shape`, in both directions: a size of 1 in `shape` keeps that of `x`.

use super::{
    EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, movement, one, rules, single,
    sizes_of,
};
use crate::kernels::copy::Layout;
use crate::types::{Shape, SymTensor, TensorType};

/// See the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Expand;

impl OpDef for Expand {
    const NAME: &'static str = "expand";
    const OPERANDS: &'static [Operand] = &[one("x"), one("shape")];

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let x = operands.ty(0)?;
        let rank = movement::list_len(operands, 1)?;
        let target: Shape = match operands.symbolic(1) {
            Some(sizes) => {
                let sizes = sizes.elements.into_iter().map(|size| operands.dim(1, Some(size)));
                sizes.collect::<Result<_, _>>()?
            }
            None => (0..rank).map(|_| operands.fresh()).collect(),
        };
        Ok(single(x.dtype, rules::broadcast_pair(operands, 1, &x.shape, &target)?))
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        let x = operands.tensor(0)?;
        movement::read(x, &types[0], &Layout::stretched(x.sizes(), &sizes_of(&types[0])?))
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
    fn both_sides_stretch() {
        let x = ints(&[2, 1], &[7, 8]);
        assert_eq!(run_one(Expand, &[x.clone(), list(&[3])]), (vec![2, 3], vec![7, 7, 7, 8, 8, 8]));
        assert_eq!(run_one(Expand, &[x.clone(), list(&[2, 1, 1])]), (vec![2, 2, 1], vec![7, 8, 7, 8]));
        assert_eq!(run_one(Expand, &[x, list(&[])]), (vec![2, 1], vec![7, 8]));
        assert_eq!(run_one(Expand, &[ints(&[], &[5]), list(&[0, 2])]), (vec![0, 2], vec![]));
    }

    #[test]
    fn other_sizes_are_refused() {
        assert!(run(Expand, &[floats(&[2]), list(&[3])]).is_err());
        assert!(run(Expand, &[floats(&[1]), list(&[-1])]).is_err());
        assert!(run(Expand, &[floats(&[1]), list(&[i64::MAX, i64::MAX])]).is_err());
    }
}
