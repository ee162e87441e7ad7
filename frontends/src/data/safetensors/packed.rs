//! Elements of less than a byte, which the format has no types for.
//!
//! Such a tensor is a vector of `U8`, the bytes that hold its elements, the first in the lowest bits; the metadata entry
//! [`PACKED_TYPES`] is a JSON object from names of such tensors to types as the text form spells them, `{"a": "i4[8, 48]"}`.

use std::collections::BTreeMap;

use quad_ir::dtype::DType;
use quad_ir::interpret::NamedTensors;
use quad_ir::tensor::Tensor;

/// The key of the metadata that says what packed bytes are.
pub(super) const PACKED_TYPES: &str = "quad.packed_types";

/// The types of those of `tensors` that are written as packed bytes.
pub(super) fn types(tensors: &NamedTensors) -> BTreeMap<String, String> {
    let packed = tensors.iter().filter(|(_, tensor)| tensor.dtype().bits() < 8);
    packed.map(|(name, tensor)| (name.clone(), tensor.ty().to_string())).collect()
}

/// Gives `tensors` the types that `said`, the entry of the metadata, has for them.
///
/// # Errors
/// A tensor, and what is wrong with its type or its bytes.
pub(super) fn unpack(said: &str, tensors: &mut [(String, Tensor)]) -> Result<(), (String, String)> {
    let types: BTreeMap<String, String> = serde_json::from_str(said).map_err(|error| {
        (PACKED_TYPES.to_owned(), format!("its metadata is no JSON object from names to types: {error}"))
    })?;
    for (name, tensor) in tensors {
        let Some(ty) = types.get(name) else { continue };
        let wrong = |why: String| (name.clone(), format!("`{PACKED_TYPES}` says `{ty}` of it: {why}"));
        let (dtype, sizes) =
            parsed(ty).ok_or_else(|| wrong("expected a type such as `i4[8, 48]`".to_owned()))?;
        if tensor.dtype() != DType::U8 || dtype.bits() >= 8 {
            return Err(wrong(format!("bytes of {} do not hold such elements", tensor.dtype())));
        }
        *tensor =
            Tensor::new(dtype, &sizes, tensor.bytes().clone()).map_err(|error| wrong(error.to_string()))?;
    }
    Ok(())
}

/// The element type and the sizes that `ty` spells.
fn parsed(ty: &str) -> Option<(DType, Vec<usize>)> {
    let (dtype, sizes) = ty.strip_suffix(']')?.split_once('[')?;
    let sizes = sizes.split(',').map(str::trim).filter(|size| !size.is_empty());
    Some((dtype.parse().ok()?, sizes.map(|size| size.parse().ok()).collect::<Option<_>>()?))
}
