//! Types of values.

use super::StringStringEntryProto;

/// A value's name and type.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ValueInfoProto {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) r#type: Option<TypeProto>,
    #[prost(string, tag = "3")]
    pub(crate) doc_string: String,
    #[prost(message, repeated, tag = "4")]
    pub(crate) metadata_props: Vec<StringStringEntryProto>,
}

/// The type of a value: a tensor, or something built of tensors.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct TypeProto {
    #[prost(oneof = "TypeValue", tags = "1, 4, 5, 7, 8, 9")]
    pub(crate) value: Option<TypeValue>,
    /// What the value stands for, such as `IMAGE`.
    #[prost(string, tag = "6")]
    pub(crate) denotation: String,
}

/// The kinds of types.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum TypeValue {
    #[prost(message, tag = "1")]
    Tensor(TensorType),
    #[prost(message, tag = "4")]
    Sequence(SequenceType),
    #[prost(message, tag = "5")]
    Map(MapType),
    #[prost(message, tag = "7")]
    Opaque(OpaqueType),
    #[prost(message, tag = "8")]
    SparseTensor(SparseTensorType),
    #[prost(message, tag = "9")]
    Optional(OptionalType),
}

/// A dense tensor.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct TensorType {
    /// A [`DataType`](super::DataType).
    #[prost(int32, tag = "1")]
    pub(crate) elem_type: i32,
    /// Absent when not even the rank is known.
    #[prost(message, optional, tag = "2")]
    pub(crate) shape: Option<TensorShapeProto>,
}

/// A list of values of one type.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SequenceType {
    #[prost(message, optional, boxed, tag = "1")]
    pub(crate) elem_type: Option<Box<TypeProto>>,
}

/// A map from integers or strings.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct MapType {
    /// A [`DataType`](super::DataType).
    #[prost(int32, tag = "1")]
    pub(crate) key_type: i32,
    #[prost(message, optional, boxed, tag = "2")]
    pub(crate) value_type: Option<Box<TypeProto>>,
}

/// A value that may be absent.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct OptionalType {
    #[prost(message, optional, boxed, tag = "1")]
    pub(crate) elem_type: Option<Box<TypeProto>>,
}

/// A tensor most of whose elements are zero.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SparseTensorType {
    /// A [`DataType`](super::DataType).
    #[prost(int32, tag = "1")]
    pub(crate) elem_type: i32,
    #[prost(message, optional, tag = "2")]
    pub(crate) shape: Option<TensorShapeProto>,
}

/// A type that only the operators of its domain understand.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct OpaqueType {
    #[prost(string, tag = "1")]
    pub(crate) domain: String,
    #[prost(string, tag = "2")]
    pub(crate) name: String,
}

/// The sizes of a tensor.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct TensorShapeProto {
    #[prost(message, repeated, tag = "1")]
    pub(crate) dim: Vec<Dimension>,
}

/// One size: a number, a name, or unknown.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Dimension {
    #[prost(oneof = "DimensionValue", tags = "1, 2")]
    pub(crate) value: Option<DimensionValue>,
    /// What the dimension stands for, such as `DATA_BATCH`.
    #[prost(string, tag = "3")]
    pub(crate) denotation: String,
}

/// A size that is known, or named: equal names are equal sizes.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum DimensionValue {
    #[prost(int64, tag = "1")]
    Known(i64),
    #[prost(string, tag = "2")]
    Named(String),
}
