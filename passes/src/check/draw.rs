//! Elements drawn from a seed, the same on every machine.

use quad_ir::dtype::DType;
use quad_ir::tensor::{Tensor, TensorError, element_count};

/// A generator with 64 bits of state: each number is the state, advanced by a constant and mixed (`SplitMix64`).
#[derive(Clone, Debug)]
pub struct Draw(u64);

/// Inputs could not be drawn.
#[derive(Debug, thiserror::Error)]
pub enum DrawError {
    /// A size is not known.
    #[error("input `{input}` has type {ty}, whose sizes cannot be computed: give the input")]
    Sizes {
        /// The input.
        input: String,
        /// Its type.
        ty: String,
    },
    /// There are too many elements.
    #[error("an input of sizes {0:?} is too large to draw: give the input")]
    TooMany(Vec<usize>),
    /// The tensor could not be made.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// Elements of one input beyond which none is drawn, and beyond which no zeros are made.
pub(super) const MAX_ELEMENTS: usize = 1 << 28;

impl Draw {
    /// A generator that `seed` determines.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A tensor. Floats are about normally distributed around zero with a variance of one; integers are from 0 to 3,
    /// which are places in most tables that a model looks something up in.
    pub fn tensor(&mut self, dtype: DType, sizes: &[usize]) -> Result<Tensor, DrawError> {
        let count = element_count(sizes)
            .filter(|count| *count <= MAX_ELEMENTS)
            .ok_or_else(|| DrawError::TooMany(sizes.to_vec()))?;
        if dtype == DType::Bool {
            return Ok(Tensor::from_bools(sizes, (0..count).map(|_| self.below(2) == 1).collect())?);
        }
        if let Some((_, high)) = dtype.integer_range() {
            let limit = high.min(3) as u64 + 1;
            return Ok(Tensor::from_i64(
                dtype,
                sizes,
                (0..count).map(|_| self.below(limit) as i64).collect(),
            )?);
        }
        let elements: Vec<f32> = (0..count).map(|_| self.normal()).collect();
        if dtype == DType::F64 {
            return Ok(Tensor::from_vec(sizes, elements.into_iter().map(f64::from).collect())?);
        }
        Ok(Tensor::from_f32(dtype, sizes, &elements)?)
    }

    /// A number below `limit`, which is small enough for the remainder to be fair.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    /// The sum of four uniform numbers, with mean 0 and variance 1: normal enough, and exact arithmetic on any machine.
    fn normal(&mut self) -> f32 {
        let bits = self.next();
        let sum: u64 = (0..4).map(|part| (bits >> (16 * part)) & 0xffff).sum();
        // Four uniform numbers of 16 bits: mean 131070, variance 4 * (2^32 - 1) / 12.
        ((sum as f64 - 131_070.0) / 37_837.22) as f32
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
