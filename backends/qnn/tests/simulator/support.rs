//! What the tests share: numbers, and graphs made by hand.

use libtest_mimic::Failed;
use quad_qnn::model::{DataType, Encoding, QnnGraph, Role, ScaleOffset, Tensor, TensorId};
use quad_qnn::native::Native;
use quad_qnn::soc::Soc;

/// A test: what it is called and what it does.
pub(crate) type Test = (&'static str, fn(&Native) -> Result<(), Failed>);

/// Chips of four generations, by part number.
pub(crate) const SOCS: [&str; 4] = ["SM8550", "SM8650", "SM8750", "SM8850"];

/// The chip called `name`.
pub(crate) fn soc(name: &str) -> Soc {
    name.parse().expect("a chip of the table")
}

/// Numbers from 0 to 1 that look drawn, the same each time.
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number from `low` to `high`.
    pub(crate) fn real(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * (self.next() >> 40) as f32 / (1u32 << 24) as f32
    }

    /// An integer from `low` to `high`.
    pub(crate) fn integer(&mut self, low: i64, high: i64) -> i64 {
        low + (self.next() % (high - low + 1).unsigned_abs()).cast_signed()
    }
}

/// One scale and zero point for a tensor.
pub(crate) fn per_tensor(scale: f32, zero_point: i32) -> Encoding {
    Encoding::Tensor(ScaleOffset::new(scale, zero_point))
}

/// Adds a tensor.
pub(crate) fn add(
    graph: &mut QnnGraph,
    name: &str,
    role: Role,
    data_type: DataType,
    dims: &[u32],
    encoding: Option<Encoding>,
) -> TensorId {
    graph.add_tensor(Tensor { name: name.to_owned(), role, data_type, dims: dims.to_vec(), encoding })
}

/// Stored integers as packed little-endian elements.
pub(crate) fn pack(data_type: DataType, stored: &[i64]) -> Vec<u8> {
    stored.iter().flat_map(|number| number.to_le_bytes()[..data_type.bytes()].to_vec()).collect()
}

/// The stored integers of packed elements.
pub(crate) fn unpack(data_type: DataType, bytes: &[u8]) -> Vec<i64> {
    let (low, _) = data_type.fixed_range().expect("a fixed-point type");
    let width = data_type.bytes();
    let elements = bytes.chunks_exact(width).map(|chunk| {
        let mut number = [0; 8];
        number[..width].copy_from_slice(chunk);
        let number = i64::from_le_bytes(number);
        let sign = 1 << (width * 8 - 1);
        if low < 0 && number >= sign { number - 2 * sign } else { number }
    });
    elements.collect()
}
