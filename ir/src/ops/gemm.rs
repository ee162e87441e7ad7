//! `gemm`: `y = alpha * a' . b' + beta * c`, where `a'` and `b'` are `a` and `b` or their transposes.
//!
//! `a'` is `[m, k]`, `b'` is `[k, n]`, and `c`, where given, is stretched to `[m, n]`. Integers wrap; with factors
//! other than 1 they are scaled in `f64` and truncated.

use super::products::{Term, with_term};
use super::{
    EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, one, only, optional, rules,
};
use super::{single, sizes_of};
use crate::attr::{AttrError, AttrVisitor, F32Bits};
use crate::kernels::broadcast::broadcast_strides;
use crate::kernels::matmul::matmul;
use crate::kernels::matrix::Matrix;
use crate::tensor::{Number, Tensor};
use crate::types::{Dim, Shape, TensorType};

/// See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(non_snake_case, reason = "attributes are spelled as model files spell them")]
pub struct Gemm {
    /// What the product is multiplied by.
    pub alpha: F32Bits,
    /// What `c` is multiplied by; with 0, `c` is not read.
    pub beta: F32Bits,
    /// Whether `a` is `[k, m]`.
    pub transA: bool,
    /// Whether `b` is `[n, k]`.
    pub transB: bool,
}

impl Default for Gemm {
    fn default() -> Self {
        Self { alpha: 1.0.into(), beta: 1.0.into(), transA: false, transB: false }
    }
}

impl OpDef for Gemm {
    const NAME: &'static str = "gemm";
    const OPERANDS: &'static [Operand] = &[one("a"), one("b"), optional("c")];

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("alpha", &mut self.alpha)?;
        visitor.attr("beta", &mut self.beta)?;
        visitor.attr("transA", &mut self.transA)?;
        visitor.attr("transB", &mut self.transB)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let dtype = rules::number(operands, 0)?.dtype;
        operands.same_dtype(1, 0)?;
        let pick = |shape: &Shape, swapped: bool| -> (Dim, Dim) {
            let (first, second) = (shape[0].clone(), shape[1].clone());
            if swapped { (second, first) } else { (first, second) }
        };
        let (rows, depth) = pick(&operands.ranked(0, 2)?.shape, self.transA);
        let (inner, columns) = pick(&operands.ranked(1, 2)?.shape, self.transB);
        operands.same_dim(1, &inner, &depth)?;
        let shape = Shape::from_iter([rows, columns]);
        if operands.has(2) {
            operands.same_dtype(2, 0)?;
            rules::stretches_to(operands, 2, &shape)?;
        }
        Ok(single(dtype, shape))
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        with_term!(types[0].dtype, T => self.evaluate::<T>(operands, &types[0]))
    }
}

impl Gemm {
    fn evaluate<T: Term>(&self, operands: &Inputs<'_>, ty: &TensorType) -> Result<Results, EvalError> {
        let (a, b) = (operands.tensor(0)?, operands.tensor(1)?);
        let sizes = sizes_of(ty)?;
        let (left, right) = (T::load(a)?, T::load(b)?);
        let mut terms = vec![T::default(); sizes.iter().product()];
        matmul(view(&left, a, self.transA)?, view(&right, b, self.transB)?, &mut terms)?;
        let c = operands.optional(2).filter(|_| self.beta.get() != 0.0);
        let scaled = self.alpha.get() != 1.0 || self.beta.get() != 1.0;
        match (c, scaled) {
            (None, false) => {}
            (None, true) => terms.iter_mut().for_each(|term| *term = self.combine(*term, T::default())),
            (Some(c), false) => add_stretched(&mut terms, &sizes, c, |term, c| Number::add(term, c))?,
            (Some(c), true) => add_stretched(&mut terms, &sizes, c, |term, c| self.combine(term, c))?,
        }
        Ok(only(T::store(ty.dtype, &sizes, terms)?))
    }

    /// `alpha * product + beta * c`. In `f64`, so that integers up to 2^53 are scaled exactly.
    fn combine<T: Number>(&self, product: T, c: T) -> T {
        let beta = if self.beta.get() == 0.0 { 0.0 } else { f64::from(self.beta.get()) * c.to_f64() };
        T::from_f64(f64::from(self.alpha.get()) * product.to_f64() + beta)
    }
}

/// The elements of a matrix, seen transposed where asked.
fn view<'a, T>(values: &'a [T], tensor: &Tensor, swapped: bool) -> Result<Matrix<'a, T>, EvalError> {
    let [rows, columns] = tensor.sizes() else {
        return Err(EvalError::Unsupported(format!("a matrix of {} axes", tensor.rank())));
    };
    let matrix = Matrix::row_major(values, *rows, *columns)?;
    Ok(if swapped { matrix.transposed() } else { matrix })
}

/// `combine` of each term and the element of `c` stretched to its place.
fn add_stretched<T: Term>(
    terms: &mut [T],
    sizes: &[usize],
    c: &Tensor,
    combine: impl Fn(T, T) -> T,
) -> Result<(), EvalError> {
    let values = T::load(c)?;
    let strides = broadcast_strides(c.sizes(), sizes);
    let columns = sizes[1];
    for (row, terms) in terms.chunks_mut(columns.max(1)).enumerate() {
        let start = row * strides[0];
        if strides[1] == 0 {
            for term in terms {
                *term = combine(*term, values[start]);
            }
        } else {
            let addends = &values[start..start + columns];
            terms.iter_mut().zip(addends).for_each(|(term, addend)| *term = combine(*term, *addend));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{evaluate, refused, tensor};

    #[test]
    fn transposes_scales_and_adds() {
        // a' = [[1, 2]], b' = [[10], [1]]: 2 * 12 + 0.5 * 4 = 26.
        let op = Gemm { alpha: 2.0.into(), beta: 0.5.into(), transA: true, transB: true };
        let (a, b) = (tensor(&[2, 1], &[1.0, 2.0]), tensor(&[1, 2], &[10.0, 1.0]));
        assert_eq!(evaluate(&op.into(), &[&a, &b, &tensor(&[], &[4.0])])[0], tensor(&[1, 1], &[26.0]));
    }

    #[test]
    fn the_addend_is_stretched() {
        let identity = tensor(&[2, 2], &[1.0, 0.0, 0.0, 1.0]);
        let sum = |c: &Tensor| evaluate(&Gemm::default().into(), &[&identity, &identity, c]).remove(0);
        assert_eq!(sum(&tensor(&[2], &[1.0, 2.0])), tensor(&[2, 2], &[2.0, 2.0, 1.0, 3.0]));
        assert_eq!(sum(&tensor(&[2, 1], &[1.0, 2.0])), tensor(&[2, 2], &[2.0, 1.0, 2.0, 3.0]));
        let wide = tensor(&[3], &[0.0; 3]);
        assert!(refused(&Gemm::default().into(), &[&identity, &identity, &wide]).contains("`c`"));
    }

    #[test]
    fn without_beta_the_addend_is_not_read() {
        let op = Gemm { beta: 0.0.into(), ..Gemm::default() };
        let (one, nan) = (tensor(&[1, 1], &[1.0]), tensor(&[], &[f32::NAN]));
        assert_eq!(evaluate(&op.into(), &[&one, &one, &nan])[0], one);
    }

    #[test]
    fn integers_stay_exact() {
        let large = Tensor::from_vec(&[1, 1], vec![(1i64 << 53) + 1]).expect("one element");
        let one = Tensor::from_vec(&[1, 1], vec![1i64]).expect("one element");
        assert_eq!(evaluate(&Gemm::default().into(), &[&large, &one])[0], large);
    }
}
