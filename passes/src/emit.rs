//! What rules add to a patch most often, in one call each.

use quad_ir::dtype::DType;
use quad_ir::graph::{AddError, Patch, ValueId};
use quad_ir::ops::{Op, Reshape, Transpose};
use quad_ir::tensor::Tensor;
use quad_ir::types::TensorType;

/// Short forms of [`Patch::add_value`].
pub trait Emit {
    /// A constant list of integers, `i64`.
    fn integers(&mut self, values: &[i64]) -> Result<ValueId, AddError>;

    /// A constant without axes.
    fn scalar(&mut self, dtype: DType, value: f64) -> Result<ValueId, AddError>;

    /// `x` with sizes `sizes`, of which one may be -1: what is left.
    fn reshape(&mut self, x: ValueId, sizes: &[i64]) -> Result<ValueId, AddError>;

    /// `x` with the sizes of `ty`, which are numbers.
    fn reshape_as(&mut self, x: ValueId, ty: &TensorType) -> Result<ValueId, AddError>;

    /// `x` with its axes reordered: axis `i` of the result is axis `perm[i]` of `x`. `x` itself when they stay.
    fn transpose(&mut self, x: ValueId, perm: &[i64]) -> Result<ValueId, AddError>;

    /// The result of `op`, which has one, on `operands`, of which optional ones may be left out.
    fn op(&mut self, op: impl Into<Op>, operands: &[Option<ValueId>]) -> Result<ValueId, AddError>;
}

impl Emit for Patch<'_> {
    fn integers(&mut self, values: &[i64]) -> Result<ValueId, AddError> {
        let tensor = Tensor::from_vec(&[values.len()], values.to_vec())
            .map_err(quad_ir::weights::WeightError::from)?;
        self.add_constant(&tensor)
    }

    fn scalar(&mut self, dtype: DType, value: f64) -> Result<ValueId, AddError> {
        let tensor = if dtype == DType::F64 {
            Ok(Tensor::scalar(value))
        } else if dtype.integer_range().is_some() {
            Tensor::from_i64(dtype, &[], vec![value as i64])
        } else {
            Tensor::from_f32(dtype, &[], &[value as f32])
        };
        self.add_constant(&tensor.map_err(quad_ir::weights::WeightError::from)?)
    }

    fn reshape(&mut self, x: ValueId, sizes: &[i64]) -> Result<ValueId, AddError> {
        let shape = self.integers(sizes)?;
        self.add_value(Reshape { allowzero: true }, &[x, shape])
    }

    fn reshape_as(&mut self, x: ValueId, ty: &TensorType) -> Result<ValueId, AddError> {
        let sizes: Vec<i64> = ty.shape.iter().map(|dim| dim.known().map_or(-1, |size| size as i64)).collect();
        self.reshape(x, &sizes)
    }

    fn transpose(&mut self, x: ValueId, perm: &[i64]) -> Result<ValueId, AddError> {
        if perm.iter().zip(0..).all(|(axis, index)| *axis == index) {
            return Ok(x);
        }
        self.add_value(Transpose { perm: Some(perm.to_vec()) }, &[x])
    }

    fn op(&mut self, op: impl Into<Op>, operands: &[Option<ValueId>]) -> Result<ValueId, AddError> {
        let node = self.add(op, operands)?;
        Ok(self.results(node)[0])
    }
}
