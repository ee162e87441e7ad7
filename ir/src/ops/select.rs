//! `where`: `y[i]` is `x[i]` where `condition[i]` holds and `y[i]` elsewhere; the three are broadcast together.

use super::{EvalError, InferError, Inputs, OpDef, OpTraits, Operand, Operands, Results, Types, one, only, rules};
use super::{single, sizes_of};
use crate::kernels::broadcast;
use crate::tensor::{Sizes, Tensor, with_lane};
use crate::types::{SymTensor, TensorType};

/// See the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Where;

impl OpDef for Where {
    const NAME: &'static str = "where";
    const OPERANDS: &'static [Operand] = &[one("condition"), one("x"), one("y")];
    const RESULTS: &'static [&'static str] = &["z"];
    const TRAITS: OpTraits = OpTraits::PURE.union(OpTraits::ELEMENTWISE);

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        rules::truth(operands, 0)?;
        let dtype = operands.same_dtype(2, 1)?.dtype;
        Ok(single(dtype, rules::broadcast(operands, &[0, 1, 2])?))
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        let (condition, x, y) = (operands.tensor(0)?, operands.tensor(1)?, operands.tensor(2)?);
        let sizes = sizes_of(&types[0])?;
        let holds = condition.to_bools()?;
        let result = with_lane!(x.dtype(), L => {
            let (xs, ys) = (x.lanes::<L>(), y.lanes::<L>());
            let condition = (&*holds, condition.sizes());
            let picked = broadcast::select(condition, (&*xs, x.sizes()), (&*ys, y.sizes()), &sizes);
            Tensor::from_lanes(x.dtype(), &sizes, picked)
        });
        Ok(only(result?))
    }

    fn symbolic(&self, operands: &Operands<'_>) -> Option<SymTensor> {
        let (condition, x, y) = (operands.constant(0)?, operands.symbolic(1)?, operands.symbolic(2)?);
        let shape = rules::broadcast(operands, &[0, 1, 2]).ok()?.as_known()?;
        let sizes: Sizes = shape.iter().map(|size| *size as usize).collect();
        let holds = condition.to_bools().ok()?;
        // An index of each element stands in for it: polynomials are no plain data.
        let indices: Vec<usize> = (0..x.elements.len() + y.elements.len()).collect();
        let (xs, ys) = indices.split_at(x.elements.len());
        let picked = broadcast::select((&holds, condition.sizes()), (xs, &x.sizes), (ys, &y.sizes), &sizes);
        let elements = picked.into_iter().map(|index| x.elements.iter().chain(&y.elements).nth(index).cloned());
        let elements = elements.collect::<Option<_>>()?;
        Some(SymTensor { dtype: x.dtype, sizes, elements })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entity::Entity;
    use crate::ops::testing::{evaluate, tensor};
    use crate::ops::{Fact, OpObj};
    use crate::dtype::DType;
    use crate::types::{DimExpr, Known, SymId};

    #[test]
    fn all_three_are_stretched() {
        let condition = Tensor::from_bools(&[2, 1], vec![true, false]).expect("two");
        let z = evaluate(&Where.into(), &[&condition, &tensor(&[3], &[1.0, 2.0, 3.0]), &tensor(&[], &[f32::NAN])]);
        let z = z[0].elements::<f32>().expect("f32").into_owned();
        assert_eq!(z[..3], [1.0, 2.0, 3.0]);
        assert!(z[3..].iter().all(|z| z.is_nan()));
    }

    #[test]
    fn sizes_are_followed_where_the_condition_is_known() {
        let batch = DimExpr::symbol(SymId::from_index(0));
        let shape = SymTensor::vector(vec![batch.clone(), DimExpr::constant(4)]);
        let ones = Tensor::from_vec(&[2], vec![1i64, 1]).expect("two");
        let condition = Tensor::from_bools(&[2], vec![false, true]).expect("two");
        let vector = TensorType::known(DType::I64, &[2]);
        let fact = |ty: TensorType, known: Known| Some(Fact { ty, known: Some(known) });
        let facts = [
            fact(condition.ty(), Known::Constant(condition)),
            fact(vector.clone(), Known::Constant(ones)),
            fact(vector, Known::Symbolic(shape)),
        ];
        let operands = Operands::new(OpObj::operands(&Where), &facts, 1);
        let found = OpDef::symbolic(&Where, &operands).expect("followed");
        assert_eq!(found.elements, [batch, DimExpr::constant(1)]);
    }
}
