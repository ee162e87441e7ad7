//! Elements drawn from a seed, the same on every machine.

use libtest_mimic::Failed;
use quad_ir::dtype::DType;
use quad_ir::tensor::{Tensor, element_count};

/// A generator with 64 bits of state: each number is the state, advanced by a constant and mixed.
pub(super) struct Draw(u64);

impl Draw {
    /// A generator that `seed` determines.
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A tensor of small numbers. Floats are multiples of an eighth between -2 and 2: every type that has them has them
    /// exactly, and so are sums of their products, in whatever order a fast kernel adds them.
    pub(super) fn tensor(&mut self, dtype: DType, sizes: &[usize]) -> Result<Tensor, Failed> {
        let count =
            element_count(sizes).filter(|count| *count <= 1 << 20).ok_or("too many elements to draw")?;
        if dtype == DType::Bool {
            return Ok(Tensor::from_bools(sizes, (0..count).map(|_| self.below(2) == 1).collect())?);
        }
        if let Some((low, high)) = dtype.integer_range() {
            let (low, high) = (low.max(-4) as i64, high.min(4) as i64);
            let mut draw = || low + self.below(high.abs_diff(low) + 1) as i64;
            return Ok(Tensor::from_i64(dtype, sizes, (0..count).map(|_| draw()).collect())?);
        }
        let mut draw = || (self.below(33) as f32 - 16.0) / 8.0;
        let elements: Vec<f32> = (0..count).map(|_| draw()).collect();
        if dtype == DType::F64 {
            return Ok(Tensor::from_vec(sizes, elements.into_iter().map(f64::from).collect())?);
        }
        Ok(Tensor::from_f32(dtype, sizes, &elements)?)
    }

    /// A number below `limit`, which is small enough for the remainder to be fair.
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}
