//! What rules add to a patch most often, in one call each.

use quad_ir::dtype::DType;
use quad_ir::graph::{AddError, Patch, ValueId, ValueRef};
use quad_ir::ops::{Op, Reshape, Slice, Transpose};
use quad_ir::tensor::{Tensor, TensorError};
use quad_ir::types::{Known, TensorType};
use quad_ir::weights::{WeightError, WeightId};

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

    /// The result of `op`, which has one: a constant made by a recipe where all operands are constant, else a node.
    fn derived(&mut self, op: impl Into<Op>, operands: &[ValueId]) -> Result<ValueId, AddError>;

    /// `x`, most often a constant, with sizes `sizes`; `x` itself when it has them.
    fn sized(&mut self, x: ValueId, sizes: &[u64]) -> Result<ValueId, AddError>;

    /// The elements of `x`, most often a constant, from `from` to before `to` along `axis`.
    fn cut(&mut self, x: ValueId, axis: usize, from: u64, to: u64) -> Result<ValueId, AddError>;

    /// A constant of `sizes` whose elements are all `value`, of a float type.
    fn filled(&mut self, dtype: DType, sizes: &[u64], value: f64) -> Result<ValueId, AddError>;
}

impl Emit for Patch<'_> {
    fn integers(&mut self, values: &[i64]) -> Result<ValueId, AddError> {
        let tensor = Tensor::from_vec(&[values.len()], values.to_vec()).map_err(WeightError::from)?;
        self.add_constant(&tensor)
    }

    fn scalar(&mut self, dtype: DType, value: f64) -> Result<ValueId, AddError> {
        self.add_constant(&scalar(dtype, value).map_err(WeightError::from)?)
    }

    fn reshape(&mut self, x: ValueId, sizes: &[i64]) -> Result<ValueId, AddError> {
        let shape = self.integers(sizes)?;
        // Without it a 0 copies a size.
        self.add_value(Reshape { allowzero: sizes.contains(&0) }, &[x, shape])
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

    fn derived(&mut self, op: impl Into<Op>, operands: &[ValueId]) -> Result<ValueId, AddError> {
        let is_constant = |value: &ValueId| {
            self.weight(*value).is_some() || self.known(*value).and_then(Known::constant).is_some()
        };
        if !operands.iter().all(is_constant) {
            return self.add_value(op, operands);
        }
        let operands: Vec<Option<ValueId>> = operands.iter().copied().map(Some).collect();
        self.add_recipe(op, &operands)
    }

    fn sized(&mut self, x: ValueId, sizes: &[u64]) -> Result<ValueId, AddError> {
        if self.ty(x).and_then(|ty| ty.shape.as_known()).is_some_and(|found| found[..] == *sizes) {
            return Ok(x);
        }
        let shape: Vec<i64> = sizes.iter().map(|size| size.cast_signed()).collect();
        let op = Reshape { allowzero: sizes.contains(&0) };
        if self.weight(x).is_some() {
            return derived_with(self, op.into(), x, &[&shape]);
        }
        let shape = self.integers(&shape)?;
        self.derived(op, &[x, shape])
    }

    fn cut(&mut self, x: ValueId, axis: usize, from: u64, to: u64) -> Result<ValueId, AddError> {
        let [from, to] = [from, to].map(u64::cast_signed);
        let lists: [&[i64]; 3] = [&[from], &[to], &[axis as i64]];
        if self.weight(x).is_some() {
            return derived_with(self, Slice.into(), x, &lists);
        }
        let [from, to, axis] = lists.map(|list| self.integers(list));
        self.derived(Slice, &[x, from?, to?, axis?])
    }

    fn filled(&mut self, dtype: DType, sizes: &[u64], value: f64) -> Result<ValueId, AddError> {
        let sizes: Vec<usize> = sizes.iter().map(|size| *size as usize).collect();
        let count = sizes.iter().product();
        let tensor = match dtype {
            DType::F64 => Tensor::from_vec(&sizes, vec![value; count]),
            _ => Tensor::from_f32(dtype, &sizes, &vec![value as f32; count]),
        };
        self.add_constant(&tensor.map_err(WeightError::from)?)
    }
}

/// What `op` makes of the weight `x` and lists of integers, which no node stands for: only the recipe reads them.
fn derived_with(patch: &mut Patch<'_>, op: Op, x: ValueId, lists: &[&[i64]]) -> Result<ValueId, AddError> {
    let mut from = vec![patch.weight(x)];
    for list in lists {
        let tensor = Tensor::from_vec(&[list.len()], list.to_vec()).map_err(WeightError::from)?;
        from.push(Some(patch.weights_mut().add_tensor(&tensor)?));
    }
    let weight = patch.weights_mut().derive(op, &from)?;
    patch.add_weight(weight)
}

/// A tensor without axes.
pub fn scalar(dtype: DType, value: f64) -> Result<Tensor, TensorError> {
    if dtype == DType::F64 {
        Ok(Tensor::scalar(value))
    } else if dtype.integer_range().is_some() {
        Tensor::from_i64(dtype, &[], vec![value as i64])
    } else {
        Tensor::from_f32(dtype, &[], &[value as f32])
    }
}

/// A constant as a weight: the one it is, or what is known of it; `None` for any other value. No node is added.
pub fn weight_of(value: ValueRef<'_>, patch: &mut Patch<'_>) -> Result<Option<WeightId>, WeightError> {
    match (value.weight(), value.constant()) {
        (Some(weight), _) => Ok(Some(weight)),
        (None, Some(elements)) => patch.weights_mut().add_tensor(elements).map(Some),
        (None, None) => Ok(None),
    }
}
