//! Tensors: constants of a graph, and tensors in files of their own.

use bytes::Bytes;

use super::StringStringEntryProto;

/// A tensor with its contents, or with a note of the file that holds them.
///
/// The contents are in `raw_data`, in the field that suits `data_type`, or elsewhere as `external_data` says.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct TensorProto {
    #[prost(int64, repeated, packed = "false", tag = "1")]
    pub(crate) dims: Vec<i64>,
    /// A [`DataType`]; kept as a number, so that a reader can name one that it does not know.
    #[prost(int32, tag = "2")]
    pub(crate) data_type: i32,
    /// Which part of a larger tensor this is, in elements.
    #[prost(message, optional, tag = "3")]
    pub(crate) segment: Option<Segment>,
    /// Elements of type `Float`; of type `Complex64`, real and imaginary parts in turn.
    #[prost(float, repeated, tag = "4")]
    pub(crate) float_data: Vec<f32>,
    /// Elements of the integer types of up to 32 bits, of `Bool`, and bit patterns of the floats narrower than 32 bits.
    #[prost(int32, repeated, tag = "5")]
    pub(crate) int32_data: Vec<i32>,
    #[prost(bytes = "bytes", repeated, tag = "6")]
    pub(crate) string_data: Vec<Bytes>,
    #[prost(int64, repeated, tag = "7")]
    pub(crate) int64_data: Vec<i64>,
    #[prost(string, tag = "8")]
    pub(crate) name: String,
    /// All elements, little-endian, in row-major order. Present and empty differ from absent: the
    /// former is a tensor without elements.
    #[prost(bytes = "bytes", optional, tag = "9")]
    pub(crate) raw_data: Option<Bytes>,
    /// Elements of type `Double`; of type `Complex128`, real and imaginary parts in turn.
    #[prost(double, repeated, tag = "10")]
    pub(crate) double_data: Vec<f64>,
    /// Elements of type `Uint32` or `Uint64`.
    #[prost(uint64, repeated, tag = "11")]
    pub(crate) uint64_data: Vec<u64>,
    #[prost(string, tag = "12")]
    pub(crate) doc_string: String,
    /// Keys and values that say where the contents are when `data_location` is `External`.
    #[prost(message, repeated, tag = "13")]
    pub(crate) external_data: Vec<StringStringEntryProto>,
    #[prost(enumeration = "DataLocation", tag = "14")]
    pub(crate) data_location: i32,
    #[prost(message, repeated, tag = "16")]
    pub(crate) metadata_props: Vec<StringStringEntryProto>,
}

/// A half-open range of elements.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub(crate) struct Segment {
    #[prost(int64, tag = "1")]
    pub(crate) begin: i64,
    #[prost(int64, tag = "2")]
    pub(crate) end: i64,
}

/// Where the contents of a tensor are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum DataLocation {
    Default = 0,
    External = 1,
}

/// The type of the elements of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum DataType {
    Undefined = 0,
    Float = 1,
    Uint8 = 2,
    Int8 = 3,
    Uint16 = 4,
    Int16 = 5,
    Int32 = 6,
    Int64 = 7,
    String = 8,
    Bool = 9,
    Float16 = 10,
    Double = 11,
    Uint32 = 12,
    Uint64 = 13,
    Complex64 = 14,
    Complex128 = 15,
    Bfloat16 = 16,
    Float8e4m3fn = 17,
    Float8e4m3fnuz = 18,
    Float8e5m2 = 19,
    Float8e5m2fnuz = 20,
    Uint4 = 21,
    Int4 = 22,
    Float4e2m1 = 23,
    Float8e8m0 = 24,
    Uint2 = 25,
    Int2 = 26,
    Float6e2m3 = 27,
    Float6e3m2 = 28,
}

/// A tensor given by its elements that are not zero.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SparseTensorProto {
    /// The elements, of shape `[count]`; its name is the name of the whole.
    #[prost(message, optional, tag = "1")]
    pub(crate) values: Option<TensorProto>,
    /// Their places: linear, of shape `[count]`, or by coordinate, of shape `[count, rank]`.
    #[prost(message, optional, tag = "2")]
    pub(crate) indices: Option<TensorProto>,
    /// The sizes of the whole tensor.
    #[prost(int64, repeated, packed = "false", tag = "3")]
    pub(crate) dims: Vec<i64>,
}
