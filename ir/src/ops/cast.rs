//! `cast` converts elements to another type, `bit_cast` takes their bits for elements of another type of that width.
//!
//! How `cast` rounds, truncates and wraps is described at [`Tensor::cast`](crate::tensor::Tensor::cast).

use super::apply::ELEMENTWISE;
use super::{EvalError, InferError, Inputs, OpDef, OpTraits, Operand, Operands, Results, Types, one, only, single};
use crate::attr::{AttrError, AttrVisitor, attr_enum};
use crate::dtype::DType;
use crate::dtype::minifloat::e8m0;
use crate::tensor::{Narrowing, Tensor};
use crate::types::{SymTensor, TensorType};

attr_enum! {
    /// How a number between two powers of two becomes one, where the target type is `f8e8m0`.
    pub enum RoundMode {
        /// Away from zero.
        #[default]
        Up = "up",
        /// Toward zero.
        Down = "down",
        /// To the nearer one; from the middle, up.
        Nearest = "nearest",
    }
}

/// Elements converted to another type.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cast {
    /// The type of the result.
    pub to: DType,
    /// Whether numbers out of the range of an 8-bit float become the largest one; otherwise infinity or NaN.
    pub saturate: bool,
    /// How numbers become powers of two.
    pub round_mode: RoundMode,
}

impl Default for Cast {
    fn default() -> Self {
        Self { to: DType::F32, saturate: true, round_mode: RoundMode::Up }
    }
}

impl OpDef for Cast {
    const NAME: &'static str = "cast";
    const OPERANDS: &'static [Operand] = &[one("x")];
    const TRAITS: OpTraits = ELEMENTWISE;

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("to", &mut self.to)?;
        visitor.attr("saturate", &mut self.saturate)?;
        visitor.attr("round_mode", &mut self.round_mode)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        Ok(single(self.to, operands.ty(0)?.shape.clone()))
    }

    fn eval(&self, operands: &Inputs<'_>, _types: &[TensorType]) -> Result<Results, EvalError> {
        let scale_rounding = match self.round_mode {
            RoundMode::Up => e8m0::RoundMode::Up,
            RoundMode::Down => e8m0::RoundMode::Down,
            RoundMode::Nearest => e8m0::RoundMode::Nearest,
        };
        Ok(only(operands.tensor(0)?.cast(self.to, Narrowing { saturate: self.saturate, scale_rounding })?))
    }

    fn symbolic(&self, operands: &Operands<'_>) -> Option<SymTensor> {
        // Sizes fit these types; in narrower ones they might wrap.
        let keeps = matches!(self.to, DType::I64 | DType::I32);
        keeps.then(|| operands.symbolic(0).map(|x| SymTensor { dtype: self.to, ..x })).flatten()
    }
}

/// The bits of the elements taken for elements of another type of the same width.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BitCast {
    /// The type of the result.
    pub to: DType,
}

impl OpDef for BitCast {
    const NAME: &'static str = "bit_cast";
    const OPERANDS: &'static [Operand] = &[one("x")];
    const TRAITS: OpTraits = ELEMENTWISE;

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("to", &mut self.to)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let x = operands.ty(0)?;
        if x.dtype.bits() != self.to.bits() {
            return Err(operands.mismatch(0, format!("elements of {} bits, as {} has", self.to.bits(), self.to)));
        }
        Ok(single(self.to, x.shape.clone()))
    }

    fn eval(&self, operands: &Inputs<'_>, _types: &[TensorType]) -> Result<Results, EvalError> {
        let x = operands.tensor(0)?;
        if self.to == DType::Bool
            && let Some(code) = x.bytes().iter().find(|code| **code > 1)
        {
            let (found, expected) = (code.to_string(), "0 or 1, the bits of truth values".to_owned());
            return Err(EvalError::Value { operand: "x", found, expected });
        }
        Ok(only(Tensor::new(self.to, x.sizes(), x.bytes().clone())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{evaluate, refused, tensor};

    #[test]
    fn the_round_mode_reaches_the_codec() {
        let x = tensor(&[2], &[3.0, 2.5]);
        let scales = |round_mode| {
            let cast = Cast { to: DType::F8E8M0, round_mode, ..Cast::default() };
            evaluate(&cast.into(), &[&x])[0].to_f64().expect("numbers")
        };
        assert_eq!(scales(RoundMode::Up), [4.0, 4.0]);
        assert_eq!(scales(RoundMode::Down), [2.0, 2.0]);
        assert_eq!(scales(RoundMode::Nearest), [4.0, 2.0]);
    }

    #[test]
    fn bits_are_taken_as_they_are() {
        let bits = evaluate(&BitCast { to: DType::U32 }.into(), &[&tensor(&[2], &[1.0, -0.0])]);
        assert_eq!(bits[0].to_i64().expect("integers"), [0x3F80_0000, 0x8000_0000]);
        assert_eq!(
            refused(&BitCast { to: DType::I64 }.into(), &[&tensor(&[1], &[1.0])]),
            "operand `x`: f32[1] does not fit, expected elements of 64 bits, as i64 has"
        );
    }
}
