//! `shape_of`: the sizes of a tensor from axis `start` to `end` as a vector of `i64`.

use super::{EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, one, only, single};
use crate::attr::{AttrError, AttrVisitor};
use crate::dtype::DType;
use crate::tensor::Tensor;
use crate::types::{Dim, Shape, SymTensor, TensorType};

/// See the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShapeOf {
    /// First axis; negative ones count from the end, ones beyond the rank are clamped.
    pub start: i64,
    /// One past the last axis, counted as `start`; absent means all axes.
    pub end: Option<i64>,
}

impl OpDef for ShapeOf {
    const NAME: &'static str = "shape_of";
    const OPERANDS: &'static [Operand] = &[one("x")];

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("start", &mut self.start)?;
        visitor.attr("end", &mut self.end)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let range = self.range(operands.ty(0)?.rank());
        Ok(single(DType::I64, Shape::known(&[range.len() as u64])))
    }

    fn eval(&self, operands: &Inputs<'_>, _types: &[TensorType]) -> Result<Results, EvalError> {
        let x = operands.tensor(0)?;
        let sizes: Vec<i64> = x.sizes()[self.range(x.rank())].iter().map(|size| *size as i64).collect();
        Ok(only(Tensor::from_vec(&[sizes.len()], sizes)?))
    }

    fn symbolic(&self, operands: &Operands<'_>) -> Option<SymTensor> {
        let x = operands.ty(0).ok()?;
        Some(SymTensor::vector(x.shape[self.range(x.rank())].iter().map(Dim::expr).collect()))
    }
}

impl ShapeOf {
    fn range(&self, rank: usize) -> std::ops::Range<usize> {
        let clamp = |axis: i64| {
            let from_start = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
            usize::try_from(from_start).unwrap_or(0).min(rank)
        };
        let start = clamp(self.start);
        start..self.end.map_or(rank, clamp).max(start)
    }
}
