//! The facts of the file format's schema, as data: codes of element types and operations, and the fields of their options.
//!
//! A field of a table is found by its number, which never changes once it is given. Versions of operations are in
//! [`versions`](crate::versions).

use std::fmt;

use quad_ir::dtype::DType;

/// The four bytes by which a file is known.
pub const FILE_IDENTIFIER: &str = "TFL3";

/// The version of the schema, which has been the same since operations have codes.
pub const SCHEMA_VERSION: u32 = 3;

/// The code of an element type; `None` for one that the format lacks, or that no kernel takes.
pub fn element_code(dtype: DType) -> Option<i8> {
    Some(match dtype {
        DType::F32 => 0,
        DType::F16 => 1,
        DType::I32 => 2,
        DType::U8 => 3,
        DType::I64 => 4,
        DType::Bool => 6,
        DType::I16 => 7,
        DType::I8 => 9,
        DType::F64 => 10,
        DType::U64 => 12,
        DType::U32 => 15,
        DType::U16 => 16,
        DType::I4 => 17,
        _ => return None,
    })
}

/// The value of an option.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// A truth value, or not.
    Bool(bool),
    /// A member of an enumeration.
    Byte(i8),
    /// An integer.
    Int(i32),
    /// A number.
    Float(f32),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Byte(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value:?}"),
        }
    }
}

/// A table of options.
#[derive(Debug, PartialEq)]
pub struct OptionTable {
    /// Which member of the union of all tables it is.
    pub union: u8,
    /// Names of the fields with their numbers and what an absent one means.
    pub fields: &'static [(&'static str, u16, Value)],
}

/// Lists the operations: expands to the enum, codes, names and tables of options.
macro_rules! builtins {
    ($($name:ident $spelling:literal = $code:literal $(, $union:literal { $($field:ident $slot:literal = $default:expr),* })?;)*) => {
        /// An operation of the runtime.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(missing_docs, reason = "the names are the runtime's own")]
        pub enum Builtin { $($name,)* }

        impl Builtin {
            /// Every operation that is ever written.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The number by which a file knows it.
            pub fn code(self) -> i32 {
                match self { $(Self::$name => $code,)* }
            }

            /// The runtime's name.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $spelling,)* }
            }

            /// Its options, where it has any.
            pub fn options(self) -> Option<&'static OptionTable> {
                match self {
                    $(Self::$name => {
                        let tables: &[&'static OptionTable] = &[$(&OptionTable {
                            union: $union,
                            fields: &[$((stringify!($field), $slot, $default)),*],
                        })?];
                        tables.first().copied()
                    })*
                }
            }
        }
    };
}

use Value::{Bool, Byte, Float, Int};

builtins! {
    Abs "ABS" = 101, 78 {};
    Add "ADD" = 0, 11 { fused_activation 0 = Byte(0), pot_scale_int16 1 = Bool(true) };
    ArgMax "ARG_MAX" = 56, 40 { output_type 0 = Byte(0) };
    ArgMin "ARG_MIN" = 79, 57 { output_type 0 = Byte(0) };
    AveragePool2d "AVERAGE_POOL_2D" = 1, 5 { padding 0 = Byte(0), stride_w 1 = Int(0), stride_h 2 = Int(0), filter_width 3 = Int(0), filter_height 4 = Int(0), fused_activation 5 = Byte(0) };
    BatchMatMul "BATCH_MATMUL" = 126, 101 { adj_x 0 = Bool(false), adj_y 1 = Bool(false), asymmetric_quantize_inputs 2 = Bool(false) };
    BroadcastTo "BROADCAST_TO" = 130, 104 {};
    Cast "CAST" = 53, 37 { in_data_type 0 = Byte(0), out_data_type 1 = Byte(0) };
    Ceil "CEIL" = 104;
    Concatenation "CONCATENATION" = 2, 10 { axis 0 = Int(0), fused_activation 1 = Byte(0) };
    Conv2d "CONV_2D" = 3, 1 { padding 0 = Byte(0), stride_w 1 = Int(0), stride_h 2 = Int(0), fused_activation 3 = Byte(0), dilation_w_factor 4 = Int(1), dilation_h_factor 5 = Int(1), quantized_bias_type 6 = Byte(0) };
    Cos "COS" = 108, 84 {};
    Dequantize "DEQUANTIZE" = 6, 38 {};
    Div "DIV" = 42, 29 { fused_activation 0 = Byte(0) };
    Equal "EQUAL" = 71, 53 {};
    Exp "EXP" = 47, 33 {};
    Floor "FLOOR" = 8;
    FullyConnected "FULLY_CONNECTED" = 9, 8 { fused_activation 0 = Byte(0), weights_format 1 = Byte(0), keep_num_dims 2 = Bool(false), asymmetric_quantize_inputs 3 = Bool(false), quantized_bias_type 4 = Byte(0) };
    Gather "GATHER" = 36, 23 { axis 0 = Int(0), batch_dims 1 = Int(0) };
    GatherNd "GATHER_ND" = 107, 83 {};
    Gelu "GELU" = 150, 116 { approximate 0 = Bool(false) };
    Greater "GREATER" = 61, 44 {};
    GreaterEqual "GREATER_EQUAL" = 62, 45 {};
    HardSwish "HARD_SWISH" = 117, 91 {};
    LeakyRelu "LEAKY_RELU" = 98, 75 { alpha 0 = Float(0.0) };
    Less "LESS" = 58, 41 {};
    LessEqual "LESS_EQUAL" = 63, 46 {};
    Log "LOG" = 73;
    LogicalAnd "LOGICAL_AND" = 86, 62 {};
    LogicalNot "LOGICAL_NOT" = 87, 63 {};
    LogicalOr "LOGICAL_OR" = 84, 60 {};
    Logistic "LOGISTIC" = 14;
    Maximum "MAXIMUM" = 55, 39 {};
    MaxPool2d "MAX_POOL_2D" = 17, 5 { padding 0 = Byte(0), stride_w 1 = Int(0), stride_h 2 = Int(0), filter_width 3 = Int(0), filter_height 4 = Int(0), fused_activation 5 = Byte(0) };
    Mean "MEAN" = 40, 27 { keep_dims 0 = Bool(false) };
    Minimum "MINIMUM" = 57, 39 {};
    Mul "MUL" = 18, 21 { fused_activation 0 = Byte(0) };
    Neg "NEG" = 59, 42 {};
    NotEqual "NOT_EQUAL" = 72, 54 {};
    Pad "PAD" = 34, 22 {};
    PadV2 "PADV2" = 60, 43 {};
    Pow "POW" = 78, 56 {};
    Quantize "QUANTIZE" = 114, 89 {};
    ReduceMax "REDUCE_MAX" = 82, 27 { keep_dims 0 = Bool(false) };
    ReduceMin "REDUCE_MIN" = 89, 27 { keep_dims 0 = Bool(false) };
    Relu "RELU" = 19;
    Reshape "RESHAPE" = 22, 17 {};
    ResizeNearest "RESIZE_NEAREST_NEIGHBOR" = 97, 74 { align_corners 0 = Bool(false), half_pixel_centers 1 = Bool(false) };
    Rsqrt "RSQRT" = 76;
    SelectV2 "SELECT_V2" = 123, 98 {};
    Sin "SIN" = 66;
    Slice "SLICE" = 65, 48 {};
    Softmax "SOFTMAX" = 25, 9 { beta 0 = Float(0.0) };
    Sqrt "SQRT" = 75;
    StridedSlice "STRIDED_SLICE" = 45, 32 { begin_mask 0 = Int(0), end_mask 1 = Int(0), ellipsis_mask 2 = Int(0), new_axis_mask 3 = Int(0), shrink_axis_mask 4 = Int(0), offset 5 = Bool(false) };
    Sub "SUB" = 41, 28 { fused_activation 0 = Byte(0), pot_scale_int16 1 = Bool(true) };
    Sum "SUM" = 74, 27 { keep_dims 0 = Bool(false) };
    Tanh "TANH" = 28;
    Transpose "TRANSPOSE" = 39, 26 {};
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_and_names_are_unique() {
        let codes: BTreeSet<i32> = Builtin::ALL.iter().map(|op| op.code()).collect();
        let names: BTreeSet<&str> = Builtin::ALL.iter().map(|op| op.name()).collect();
        assert_eq!((codes.len(), names.len()), (Builtin::ALL.len(), Builtin::ALL.len()));
        for op in Builtin::ALL {
            let slots: BTreeSet<u16> =
                op.options().into_iter().flat_map(|table| table.fields).map(|(_, slot, _)| *slot).collect();
            assert_eq!(slots.len(), op.options().map_or(0, |table| table.fields.len()), "{}", op.name());
        }
    }
}
