//! `qlinear_matmul`: matrix product of quantized operands, quantized again.
//!
//! `y = round(sums * (a_scale * b_scale / y_scale)) + y_zero_point`, kept within the range of the element type, where
//! `sums` is what `matmul_integer` gives. Parameters of `a` are a single element or one per row, those of `b` a single
//! element or one per column. The multiplier is formed in `f32`; halves round to even.

use super::centered::{Along, BYTES, one_element, outside_sums, requantize, stretched};
use super::matmul::product_shape;
use super::matmul_integer::multiply;
use super::{EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, one, only};
use super::{single, sizes_of};
use crate::dtype::DType;
use crate::types::TensorType;

/// See the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QLinearMatMul;

/// The element types of scales.
const SCALES: &[DType] = &[DType::F32, DType::F16, DType::BF16];

impl OpDef for QLinearMatMul {
    const NAME: &'static str = "qlinear_matmul";
    const OPERANDS: &'static [Operand] = &[
        one("a"),
        one("a_scale"),
        one("a_zero_point"),
        one("b"),
        one("b_scale"),
        one("b_zero_point"),
        one("y_scale"),
        one("y_zero_point"),
    ];

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        for index in [0, 3] {
            if operands.ty(index)?.dtype.is_minifloat() {
                return Err(InferError::Unsupported("qlinear_matmul of 8-bit floats".to_owned()));
            }
        }
        for (index, along) in [(0, Along::Rows), (3, Along::Columns)] {
            let ty = operands.one_of(index, BYTES)?;
            operands.one_of(index + 1, SCALES)?;
            operands.same_dtype(index + 2, index)?;
            for parameter in [index + 1, index + 2] {
                outside_sums(operands, parameter, &ty.shape, along)?;
            }
        }
        // A vector has one row or column, which the result does not have: the axes of both would no longer line up.
        if operands.ty(0)?.rank() == 1 || operands.ty(3)?.rank() == 1 {
            [1, 2, 4, 5].into_iter().try_for_each(|parameter| one_element(operands, parameter))?;
        }
        operands.one_of(6, SCALES)?;
        one_element(operands, 6)?;
        let dtype = operands.one_of(7, BYTES)?.dtype;
        one_element(operands, 7)?;
        Ok(single(dtype, product_shape(operands, 0, 3)?))
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        let sizes = sizes_of(&types[0])?;
        let factors = [0, 3].map(|index| Ok((operands.tensor(index)?, operands.optional(index + 2))));
        let [a, b]: [Result<_, EvalError>; 2] = factors;
        let sums = multiply(a?, b?)?;
        let (a_scale, b_scale) = (operands.tensor(1)?, operands.tensor(4)?);
        let rows = stretched(a_scale, &a_scale.to_f32()?, &sizes, Along::Rows)?;
        let columns = stretched(b_scale, &b_scale.to_f32()?, &sizes, Along::Columns)?;
        let y_scale = operands.tensor(6)?.to_f32()?[0];
        let zero_point = operands.tensor(7)?.to_i64()?[0];
        let multiplier = |index| f64::from(rows.at(index) * columns.at(index) / y_scale);
        Ok(only(requantize(&sums, multiplier, zero_point, (types[0].dtype, &sizes))?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{evaluate, refused, tensor};
    use crate::tensor::Tensor;

    fn bytes(sizes: &[usize], values: &[u8]) -> Tensor {
        Tensor::from_vec(sizes, values.to_vec()).expect("as many as the sizes say")
    }

    #[test]
    fn rows_and_columns_have_their_own_scales() {
        let (a, b) = (bytes(&[2, 1], &[10, 20]), bytes(&[1, 2], &[3, 5]));
        let (zero, one) = (bytes(&[], &[0]), tensor(&[], &[1.0]));
        let operands = [
            &a,
            &tensor(&[2], &[1.0, 0.5]),
            &zero,
            &b,
            &tensor(&[2], &[1.0, 0.1]),
            &zero,
            &one,
            &bytes(&[], &[1]),
        ];
        let y = evaluate(&QLinearMatMul.into(), &operands);
        assert_eq!(y[0], bytes(&[2, 2], &[31, 6, 31, 6]));
        let mut wide = operands;
        let scale = tensor(&[3], &[1.0; 3]);
        wide[4] = &scale;
        assert!(refused(&QLinearMatMul.into(), &wide).contains("`b_scale`"));
        let long = bytes(&[2, 3], &[1; 6]);
        let each = tensor(&[2, 3], &[1.0; 6]);
        let mut summed = operands;
        let tall = bytes(&[3, 2], &[1; 6]);
        (summed[0], summed[1], summed[3]) = (&long, &each, &tall);
        assert!(refused(&QLinearMatMul.into(), &summed).contains("`a_scale`"));
    }
}
