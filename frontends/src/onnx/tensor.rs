//! Tensors of a model file: element types, sizes, and the several fields their elements may be in.

use bytes::Bytes;
use quad_ir::dtype::DType;
use quad_ir::tensor::{Sizes, Tensor};
use quad_ir::types::TensorType;

use super::error::ContentsError;
use super::proto::{DataLocation, DataType, TensorProto};

/// The element types and their codes in a file.
const DTYPES: &[(DataType, DType)] = &[
    (DataType::Float, DType::F32),
    (DataType::Uint8, DType::U8),
    (DataType::Int8, DType::I8),
    (DataType::Uint16, DType::U16),
    (DataType::Int16, DType::I16),
    (DataType::Int32, DType::I32),
    (DataType::Int64, DType::I64),
    (DataType::Bool, DType::Bool),
    (DataType::Float16, DType::F16),
    (DataType::Double, DType::F64),
    (DataType::Uint32, DType::U32),
    (DataType::Uint64, DType::U64),
    (DataType::Bfloat16, DType::BF16),
    (DataType::Float8e4m3fn, DType::F8E4M3FN),
    (DataType::Float8e4m3fnuz, DType::F8E4M3FNUZ),
    (DataType::Float8e5m2, DType::F8E5M2),
    (DataType::Float8e5m2fnuz, DType::F8E5M2FNUZ),
    (DataType::Uint4, DType::U4),
    (DataType::Int4, DType::I4),
    (DataType::Float4e2m1, DType::F4E2M1),
    (DataType::Float8e8m0, DType::F8E8M0),
    (DataType::Uint2, DType::U2),
    (DataType::Int2, DType::I2),
];

/// The element type that `code` stands for.
pub(crate) fn dtype_of_code(code: i64) -> Result<DType, ContentsError> {
    let data_type = i32::try_from(code).ok().and_then(|code| DataType::try_from(code).ok());
    let not_numeric = match data_type {
        Some(DataType::String) => "string",
        Some(DataType::Complex64 | DataType::Complex128) => "complex number",
        Some(DataType::Float6e2m3 | DataType::Float6e3m2) => "6-bit float",
        _ => "",
    };
    if !not_numeric.is_empty() {
        return Err(ContentsError::NotNumeric(not_numeric));
    }
    let found = DTYPES.iter().find(|(known, _)| Some(*known) == data_type);
    found.map(|(_, dtype)| *dtype).ok_or(ContentsError::DType(code))
}

/// The code that a file writes for `dtype`.
pub(crate) fn code_of_dtype(dtype: DType) -> i32 {
    DTYPES.iter().find(|(_, known)| *known == dtype).map_or(0, |(code, _)| *code as i32)
}

/// The element type and sizes of `proto`, checked.
pub(crate) fn type_of_proto(proto: &TensorProto) -> Result<TensorType, ContentsError> {
    let dtype = dtype_of_code(i64::from(proto.data_type))?;
    let wrong = || ContentsError::Dims { dims: proto.dims.clone() };
    let sizes: Result<Vec<u64>, _> = proto.dims.iter().map(|size| u64::try_from(*size)).collect();
    let ty = TensorType::known(dtype, &sizes.map_err(|_| wrong())?);
    if ty.is_representable() { Ok(ty) } else { Err(wrong()) }
}

/// Whether the contents of `proto` are in another file.
pub(crate) fn is_external(proto: &TensorProto) -> bool {
    proto.data_location == DataLocation::External as i32
}

/// The tensor whose contents are in `proto` itself.
pub(crate) fn tensor_from_proto(proto: &TensorProto) -> Result<Tensor, ContentsError> {
    let ty = type_of_proto(proto)?;
    let sizes: Sizes = proto.dims.iter().map(|size| *size as usize).collect();
    if is_external(proto) {
        return Err(ContentsError::Sparse(
            "its contents are in another file, where only initializers may be".into(),
        ));
    }
    Ok(Tensor::new(ty.dtype, &sizes, contents(proto, &ty)?)?)
}

/// The bytes of elements of at most 32 bits, given one to an entry; types under a byte are packed, a byte to an entry.
fn narrow(dtype: DType, entries: &[i32]) -> Result<Vec<u8>, ContentsError> {
    let bits = dtype.bits().clamp(8, 32);
    // Bit patterns may be written as signed or as unsigned numbers.
    let range = -(1i64 << (bits - 1))..1i64 << bits;
    if let Some(found) = entries.iter().copied().find(|entry| !range.contains(&i64::from(*entry))) {
        return Err(ContentsError::Range { dtype, field: "int32_data", found });
    }
    let width = (bits / 8) as usize;
    Ok(entries.iter().flat_map(|entry| entry.to_le_bytes().into_iter().take(width)).collect())
}

fn has_typed_elements(proto: &TensorProto) -> bool {
    !(proto.float_data.is_empty()
        && proto.int32_data.is_empty()
        && proto.int64_data.is_empty()
        && proto.double_data.is_empty()
        && proto.uint64_data.is_empty())
}

/// The packed elements of `proto`: a view of `raw_data`, or made of the field for its type.
pub(crate) fn contents(proto: &TensorProto, ty: &TensorType) -> Result<Bytes, ContentsError> {
    if proto.segment.is_some() {
        return Err(ContentsError::Segment);
    }
    if let Some(raw) = &proto.raw_data {
        return if has_typed_elements(proto) { Err(ContentsError::Twice) } else { Ok(raw.clone()) };
    }
    let (field, bytes): (_, Vec<u8>) = match ty.dtype {
        DType::F32 => ("float_data", proto.float_data.iter().flat_map(|value| value.to_le_bytes()).collect()),
        DType::F64 => {
            ("double_data", proto.double_data.iter().flat_map(|value| value.to_le_bytes()).collect())
        }
        DType::I64 => ("int64_data", proto.int64_data.iter().flat_map(|value| value.to_le_bytes()).collect()),
        DType::U64 => {
            ("uint64_data", proto.uint64_data.iter().flat_map(|value| value.to_le_bytes()).collect())
        }
        DType::U32 => (
            "uint64_data",
            proto.uint64_data.iter().flat_map(|value| (*value as u32).to_le_bytes()).collect(),
        ),
        dtype => ("int32_data", narrow(dtype, &proto.int32_data)?),
    };
    let expected = ty.byte_len().unwrap_or(u64::MAX);
    if bytes.len() as u64 != expected {
        return Err(ContentsError::Count { dtype: ty.dtype, field, found: bytes.len(), expected });
    }
    Ok(Bytes::from(bytes))
}
