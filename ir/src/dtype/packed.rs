//! Elements of two and four bits packed into bytes, as tensor files hold them.
//!
//! The first element takes the low bits of the first byte. A last byte that is not full is padded
//! with zero bits when written; padding is not looked at when read. The element types are int2,
//! uint2, int4, uint4 and float4e2m1; the last unpacks to unsigned codes, which
//! [`Codec`](super::minifloat::Codec) decodes.

use thiserror::Error;

/// Width of a packed element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PackedWidth {
    /// Two bits, four elements to a byte.
    Two,
    /// Four bits, two elements to a byte.
    Four,
}

/// Packed data that does not fit its element count.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum PackedError {
    /// The number of bytes is not the one the elements take.
    #[error(
        "packed data holds {found} bytes, but {count} elements of {bits} bits take {expected}; \
         check the shape against the data"
    )]
    Length {
        /// Bytes given.
        found: usize,
        /// Bytes that `count` elements take.
        expected: usize,
        /// Elements asked for.
        count: usize,
        /// Width of an element in bits.
        bits: u32,
    },
}

impl PackedWidth {
    /// Width of an element in bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        match self {
            Self::Two => 2,
            Self::Four => 4,
        }
    }

    /// Elements in a full byte.
    #[must_use]
    pub const fn elements_per_byte(self) -> usize {
        match self {
            Self::Two => 4,
            Self::Four => 2,
        }
    }

    /// Bytes that `count` elements take.
    #[must_use]
    pub const fn byte_count(self, count: usize) -> usize {
        count.div_ceil(self.elements_per_byte())
    }

    /// Unsigned code of the element at `index`, or `None` if `packed` ends before it.
    ///
    /// A kernel that reads a block of a packed weight uses this instead of unpacking all of it.
    #[must_use]
    pub fn get(self, packed: &[u8], index: usize) -> Option<u8> {
        let byte = *packed.get(index / self.elements_per_byte())?;
        let position = (index % self.elements_per_byte()) as u32;
        Some((byte >> (position * self.bits())) & self.mask())
    }

    /// The unsigned codes in `packed`, those of the padding included.
    pub fn codes(self, packed: &[u8]) -> impl Iterator<Item = u8> {
        let shifts = (0..u8::BITS).step_by(self.bits() as usize);
        packed.iter().flat_map(move |&byte| shifts.clone().map(move |shift| (byte >> shift) & self.mask()))
    }

    /// The `count` elements of `packed` as unsigned codes (uint2, uint4, float4e2m1).
    ///
    /// An error unless `packed` has exactly the bytes that `count` elements take.
    pub fn unpack_unsigned(self, packed: &[u8], count: usize) -> Result<Vec<u8>, PackedError> {
        self.unpack(packed, count, |code| code)
    }

    /// The `count` elements of `packed` as two's complement numbers (int2, int4).
    ///
    /// An error unless `packed` has exactly the bytes that `count` elements take.
    pub fn unpack_signed(self, packed: &[u8], count: usize) -> Result<Vec<i8>, PackedError> {
        let unused = u8::BITS - self.bits();
        // Shifting up and arithmetically back down repeats the sign bit.
        self.unpack(packed, count, |code| (code << unused) as i8 >> unused)
    }

    /// Packs unsigned codes. Only the low bits of each count: `Cast` drops the others, too, when an
    /// integer is out of range.
    #[must_use]
    pub fn pack_unsigned(self, codes: &[u8]) -> Vec<u8> {
        self.pack(codes, |&code| code)
    }

    /// Packs two's complement numbers. Only the low bits of each count, as in
    /// [`Self::pack_unsigned`].
    #[must_use]
    pub fn pack_signed(self, numbers: &[i8]) -> Vec<u8> {
        self.pack(numbers, |&number| number.cast_unsigned())
    }

    const fn mask(self) -> u8 {
        (1 << self.bits()) - 1
    }

    fn unpack<T>(
        self,
        packed: &[u8],
        count: usize,
        convert: impl Fn(u8) -> T,
    ) -> Result<Vec<T>, PackedError> {
        let expected = self.byte_count(count);
        if packed.len() != expected {
            return Err(PackedError::Length { found: packed.len(), expected, count, bits: self.bits() });
        }
        let mut elements = Vec::with_capacity(count);
        elements.extend(self.codes(packed).take(count).map(convert));
        Ok(elements)
    }

    fn pack<T>(self, elements: &[T], code: impl Fn(&T) -> u8) -> Vec<u8> {
        elements
            .chunks(self.elements_per_byte())
            .map(|chunk| {
                chunk.iter().enumerate().fold(0, |byte, (position, element)| {
                    byte | ((code(element) & self.mask()) << (position as u32 * self.bits()))
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_element_takes_the_low_bits() {
        let nibbles = PackedWidth::Four.unpack_unsigned(&[0x21, 0x0F], 3);
        assert_eq!(nibbles, Ok(vec![1, 2, 15]));
        let pairs = PackedWidth::Two.unpack_unsigned(&[0b11_10_01_00, 0b10], 5);
        assert_eq!(pairs, Ok(vec![0, 1, 2, 3, 2]));
    }

    #[test]
    fn signed_elements_are_sign_extended() {
        let all: Vec<u8> = (0..8).map(|low| ((2 * low + 1) << 4) | (2 * low)).collect();
        let expected: Vec<i8> = (0..8).chain(-8..0).collect();
        assert_eq!(PackedWidth::Four.unpack_signed(&all, 16), Ok(expected));
        let pairs = PackedWidth::Two.unpack_signed(&[0b11_10_01_00], 4);
        assert_eq!(pairs, Ok(vec![0, 1, -2, -1]));
    }

    #[test]
    fn packing_pads_with_zero_and_drops_high_bits() {
        // The numbers -9 to 15, of which ONNX expects the low four bits in a cast to int4.
        let numbers: Vec<i8> = (-9..16).collect();
        let expected = [0x87, 0xA9, 0xCB, 0xED, 0x0F, 0x21, 0x43, 0x65, 0x87, 0xA9, 0xCB, 0xED, 0x0F];
        assert_eq!(PackedWidth::Four.pack_signed(&numbers), expected);
        let numbers = [-3, -2, -1, 0, 1, 2, 3];
        assert_eq!(PackedWidth::Two.pack_signed(&numbers), [0x39, 0x39]);
        assert_eq!(PackedWidth::Four.pack_unsigned(&[0xFF]), [0x0F]);
        assert_eq!(PackedWidth::Two.pack_unsigned(&[]), [0u8; 0]);
    }

    #[test]
    fn every_byte_survives_a_round_trip() {
        let bytes: Vec<u8> = (0..=u8::MAX).collect();
        for width in [PackedWidth::Two, PackedWidth::Four] {
            let count = bytes.len() * width.elements_per_byte();
            let unsigned = width.unpack_unsigned(&bytes, count).expect("length fits");
            assert_eq!(width.pack_unsigned(&unsigned), bytes);
            let signed = width.unpack_signed(&bytes, count).expect("length fits");
            assert_eq!(width.pack_signed(&signed), bytes);
            for (index, &code) in unsigned.iter().enumerate() {
                assert_eq!(width.get(&bytes, index), Some(code));
            }
            assert_eq!(width.get(&bytes, count), None);
        }
    }

    #[test]
    fn a_wrong_length_is_an_error() {
        let error = PackedWidth::Four.unpack_unsigned(&[0; 2], 5).expect_err("too short");
        assert_eq!(
            error.to_string(),
            "packed data holds 2 bytes, but 5 elements of 4 bits take 3; check the shape against \
             the data"
        );
        // One byte too many, and a count that no allocation could hold.
        assert!(PackedWidth::Two.unpack_signed(&[0; 2], 4).is_err());
        assert!(PackedWidth::Two.unpack_signed(&[0; 2], usize::MAX).is_err());
    }
}
