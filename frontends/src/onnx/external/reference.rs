//! What a tensor says of where its contents are.

use std::ops::Range;

use quad_ir::weights::MappedFile;

use super::ExternalError;
use crate::onnx::proto::TensorProto;

/// A tensor's note of the file and the bytes that hold its contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reference<'t> {
    /// A path that is relative, goes down only, and has `/` between its parts.
    pub(super) location: &'t str,
    offset: u64,
    length: Option<u64>,
}

impl<'t> Reference<'t> {
    /// Reads the keys and values of `tensor`.
    ///
    /// `checksum` is accepted and not compared: it covers the whole file, and to compute it is to read
    /// all of it. `basepath` is accepted and not followed: it is the folder at the time of writing.
    pub(super) fn parse(tensor: &'t TensorProto) -> Result<Self, ExternalError> {
        if has_inline_contents(tensor) {
            return Err(ExternalError::TwoContents { tensor: tensor.name.clone() });
        }
        let (mut location, mut offset, mut length) = (None, None, None);
        let (mut checksum, mut basepath) = (None, None);
        for entry in &tensor.external_data {
            let slot = match entry.key.as_str() {
                "location" => &mut location,
                "offset" => &mut offset,
                "length" => &mut length,
                "checksum" => &mut checksum,
                "basepath" => &mut basepath,
                _ => {
                    let (tensor, key) = (tensor.name.clone(), entry.key.clone());
                    return Err(ExternalError::UnknownKey { tensor, key });
                }
            };
            if slot.replace(entry.value.as_str()).is_some() {
                let (tensor, key) = (tensor.name.clone(), entry.key.clone());
                return Err(ExternalError::RepeatedKey { tensor, key });
            }
        }
        let name = &tensor.name;
        let location = location
            .filter(|location| !location.is_empty())
            .ok_or_else(|| ExternalError::NoLocation { tensor: name.clone() })?;
        if let Some(fault) = fault(location) {
            let (tensor, location) = (name.clone(), location.to_owned());
            return Err(ExternalError::Location { tensor, location, fault });
        }
        Ok(Self {
            location,
            offset: offset.map_or(Ok(0), |value| number(name, "offset", value))?,
            length: length.map(|value| number(name, "length", value)).transpose()?,
        })
    }

    /// The bytes in `file` of the tensor named `tensor`, which by its type and sizes are `expected` in number.
    ///
    /// Without a stated length the data reaches to the end of the file. Other tensors' data may follow in
    /// files written that way, so more than enough is accepted and only what is expected is taken.
    pub(super) fn range(
        &self,
        tensor: &str,
        file: &MappedFile,
        expected: u64,
    ) -> Result<Range<u64>, ExternalError> {
        if let Some(stated) = self.length.filter(|stated| *stated != expected) {
            return Err(ExternalError::Length { tensor: tensor.to_owned(), stated, expected });
        }
        match self.offset.checked_add(expected).filter(|end| *end <= file.len()) {
            Some(end) => Ok(self.offset..end),
            None => Err(ExternalError::OutOfBounds {
                tensor: tensor.to_owned(),
                path: file.path().to_owned(),
                offset: self.offset,
                length: expected,
                file_length: file.len(),
            }),
        }
    }
}

/// Whether the message of `tensor` itself has contents of any kind.
fn has_inline_contents(tensor: &TensorProto) -> bool {
    tensor.raw_data.as_ref().is_some_and(|raw| !raw.is_empty())
        || !tensor.float_data.is_empty()
        || !tensor.double_data.is_empty()
        || !tensor.int32_data.is_empty()
        || !tensor.int64_data.is_empty()
        || !tensor.uint64_data.is_empty()
        || !tensor.string_data.is_empty()
}

fn number(tensor: &str, key: &'static str, value: &str) -> Result<u64, ExternalError> {
    // The parser of the standard library would also take a leading plus sign.
    let digits = value.bytes().all(|byte| byte.is_ascii_digit());
    value.parse().ok().filter(|_| digits).ok_or_else(|| ExternalError::Number {
        tensor: tensor.to_owned(),
        key,
        value: value.to_owned(),
    })
}

/// What makes `location` something else than a relative path that goes down only, on any system.
fn fault(location: &str) -> Option<&'static str> {
    let bytes = location.as_bytes();
    if location.starts_with('/') {
        Some("is an absolute path")
    } else if location.contains('\\') {
        Some("has a backslash in it")
    } else if bytes.get(1) == Some(&b':') && bytes[0].is_ascii_alphabetic() {
        Some("begins with a drive letter")
    } else if location.contains(char::is_control) {
        Some("has a control character in it")
    } else if location.split('/').any(|part| part == "..") {
        Some("goes up with `..`")
    } else {
        None
    }
}
