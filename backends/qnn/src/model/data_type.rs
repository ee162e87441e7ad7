//! Element types of QNN tensors, with the codes that the API and `model_net.json` know them by.
//!
//! A code spells class and width in hexadecimal digits, `0x0416` for an unsigned fixed-point number of 16 bits (API
//! reference, `Qnn_DataType_t`).

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! data_types {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $name:literal;)*) => {
        /// The type of an element. "Fixed" integers stand for real numbers by an encoding.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum DataType { $($(#[$doc])* $variant,)* }

        impl DataType {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The API's code.
            pub const fn code(self) -> u32 {
                match self { $(Self::$variant => $code,)* }
            }

            /// A short name: `u16` and `s8` are fixed-point, `int32` and `uint32` plain integers.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

data_types! {
    /// A signed integer.
    Int8 = 0x0008, "int8";
    /// A signed integer.
    Int16 = 0x0016, "int16";
    /// A signed integer.
    Int32 = 0x0032, "int32";
    /// A signed integer.
    Int64 = 0x0064, "int64";
    /// An unsigned integer.
    Uint8 = 0x0108, "uint8";
    /// An unsigned integer.
    Uint16 = 0x0116, "uint16";
    /// An unsigned integer.
    Uint32 = 0x0132, "uint32";
    /// IEEE 754 binary16.
    Float16 = 0x0216, "f16";
    /// IEEE 754 binary32.
    Float32 = 0x0232, "f32";
    /// Signed fixed-point.
    Sfixed8 = 0x0308, "s8";
    /// Signed fixed-point.
    Sfixed16 = 0x0316, "s16";
    /// Signed fixed-point.
    Sfixed32 = 0x0332, "s32";
    /// Unsigned fixed-point.
    Ufixed8 = 0x0408, "u8";
    /// Unsigned fixed-point.
    Ufixed16 = 0x0416, "u16";
    /// Unsigned fixed-point.
    Ufixed32 = 0x0432, "u32";
    /// A truth value in one byte.
    Bool8 = 0x0508, "bool";
}

impl DataType {
    /// The type with `code`.
    pub fn from_code(code: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|data_type| data_type.code() == code)
    }

    /// The type with this short name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|data_type| data_type.name() == name)
    }

    /// Bytes of one element.
    pub const fn bytes(self) -> usize {
        match self.code() & 0xff {
            0x08 => 1,
            0x16 => 2,
            0x64 => 8,
            _ => 4,
        }
    }

    /// Whether elements are integers that stand for real numbers.
    pub const fn is_fixed(self) -> bool {
        matches!(self.code() >> 8, 3 | 4)
    }

    /// The smallest and the largest stored number of a fixed-point type; `None` for any other.
    pub const fn fixed_range(self) -> Option<(i64, i64)> {
        let bits = self.bytes() * 8;
        match self.code() >> 8 {
            3 => Some((-(1 << (bits - 1)), (1 << (bits - 1)) - 1)),
            4 => Some((0, (1 << bits) - 1)),
            _ => None,
        }
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_lead_back() {
        for &data_type in DataType::ALL {
            assert_eq!(DataType::from_code(data_type.code()), Some(data_type));
            assert_eq!(DataType::from_name(data_type.name()), Some(data_type));
        }
        assert_eq!(DataType::Ufixed16.code(), 1046);
        assert_eq!(DataType::Sfixed8.fixed_range(), Some((-128, 127)));
        assert_eq!(DataType::Ufixed16.bytes(), 2);
        assert_eq!(DataType::Float32.bytes(), 4);
        assert_eq!(DataType::Bool8.bytes(), 1);
    }
}
