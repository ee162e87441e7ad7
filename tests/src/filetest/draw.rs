//! Elements drawn from a seed, the same on every machine.

use libtest_mimic::Failed;
use quad_ir::dtype::DType;
use quad_ir::tensor::{Tensor, element_count};
use quad_passes::check;

/// Draws elements of which all types have all, unlike those that checks of passes are drawn from.
pub(super) struct Draw(check::Draw);

impl Draw {
    /// A generator that `seed` determines.
    pub(super) fn new(seed: u64) -> Self {
        Self(check::Draw::new(seed))
    }

    /// A tensor of small numbers. Floats are multiples of an eighth between -2 and 2: every type that has them has them
    /// exactly, and so are sums of their products, in whatever order a fast kernel adds them.
    pub(super) fn tensor(&mut self, dtype: DType, sizes: &[usize]) -> Result<Tensor, Failed> {
        let count =
            element_count(sizes).filter(|count| *count <= 1 << 20).ok_or("too many elements to draw")?;
        if dtype == DType::Bool {
            return Ok(Tensor::from_bools(sizes, (0..count).map(|_| self.0.below(2) == 1).collect())?);
        }
        if let Some((low, high)) = dtype.integer_range() {
            let (low, high) = (low.max(-4) as i64, high.min(4) as i64);
            let mut draw = || low + self.0.below(high.abs_diff(low) + 1) as i64;
            return Ok(Tensor::from_i64(dtype, sizes, (0..count).map(|_| draw()).collect())?);
        }
        let mut draw = || (self.0.below(33) as f32 - 16.0) / 8.0;
        let elements: Vec<f32> = (0..count).map(|_| draw()).collect();
        if dtype == DType::F64 {
            return Ok(Tensor::from_vec(sizes, elements.into_iter().map(f64::from).collect())?);
        }
        Ok(Tensor::from_f32(dtype, sizes, &elements)?)
    }
}
