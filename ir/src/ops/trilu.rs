//! `trilu`: the upper or lower triangle of the matrices in the last two axes; everything else becomes 0.
//!
//! The triangle includes the diagonal `k`, 0 by default: the elements `[i, i + k]`.

use super::{
    EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, movement, one, only, optional,
    single,
};
use crate::attr::{AttrError, AttrVisitor};
use crate::tensor::{Tensor, with_lane};
use crate::types::TensorType;

/// See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Trilu {
    /// Whether the triangle above the diagonal is kept, or the one below.
    pub upper: bool,
}

impl Default for Trilu {
    fn default() -> Self {
        Self { upper: true }
    }
}

impl OpDef for Trilu {
    const NAME: &'static str = "trilu";
    const OPERANDS: &'static [Operand] = &[one("x"), optional("k")];

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("upper", &mut self.upper)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let x = operands.ty(0)?;
        if x.rank() < 2 {
            return Err(operands.mismatch(0, "at least two axes"));
        }
        if operands.has(1) {
            operands.one_of(1, movement::INDEX)?;
            movement::check_scalar(operands, 1)?;
        }
        Ok(single(x.dtype, x.shape.clone()))
    }

    fn eval(&self, operands: &Inputs<'_>, _types: &[TensorType]) -> Result<Results, EvalError> {
        let x = operands.tensor(0)?;
        let [.., rows, columns] = *x.sizes() else { return Ok(only(x.clone())) };
        let diagonal = operands.optional(1).map_or(Ok(0), |k| k.to_i64().map(|k| k[0]))?;
        if x.is_empty() {
            return Ok(only(x.clone()));
        }
        Ok(only(with_lane!(x.dtype(), L => {
            let mut lanes = x.lanes::<L>().into_owned();
            for (number, row) in lanes.chunks_exact_mut(columns).enumerate() {
                let border = ((number % rows) as i64).saturating_add(diagonal);
                if self.upper {
                    row[..border.clamp(0, columns as i64) as usize].fill(L::default());
                } else {
                    row[border.saturating_add(1).clamp(0, columns as i64) as usize..].fill(L::default());
                }
            }
            Tensor::from_lanes(x.dtype(), x.sizes(), lanes)
        })?))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{floats, ints, run, run_one};
    use super::*;

    #[test]
    fn triangles_with_shifted_diagonals() {
        let x = ints(&[2, 3], &[1, 2, 3, 4, 5, 6]);
        let kept = |upper, k| run_one(Trilu { upper }, &[x.clone(), ints(&[], &[k])]).1;
        assert_eq!(kept(true, 0), [1, 2, 3, 0, 5, 6]);
        assert_eq!(kept(true, 1), [0, 2, 3, 0, 0, 6]);
        assert_eq!(kept(true, -1), [1, 2, 3, 4, 5, 6]);
        assert_eq!(kept(false, 0), [1, 0, 0, 4, 5, 0]);
        assert_eq!(kept(false, -1), [0, 0, 0, 4, 0, 0]);
        assert_eq!(kept(true, i64::MAX), [0; 6]);
        assert_eq!(kept(false, i64::MAX), [1, 2, 3, 4, 5, 6]);
        assert_eq!(kept(false, i64::MIN), [0; 6]);
    }

    #[test]
    fn every_matrix_of_a_batch() {
        let x = ints(&[2, 2, 2], &[1; 8]);
        assert_eq!(run_one(Trilu::default(), &[x]).1, [1, 1, 0, 1, 1, 1, 0, 1]);
        assert!(run(Trilu::default(), &[floats(&[3])]).is_err());
    }
}
