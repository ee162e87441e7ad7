//! Encodings as other tools write them: the JSON files of AIMET, which converters of QNN read as overrides.
//!
//! There are three forms, told apart by the `version` that they state. All give a scale and an offset, or one for each
//! channel, by the name of a tensor:
//!
//! | version | tensors | codes | axis of channels |
//! |---|---|---|---|
//! | `0.6.1` | an object for activations, one for parameters; a list of encodings for each | as if unsigned, `real = scale * (code + offset)` | not said |
//! | `1.0.0` | a list for each of both, lists of scales and offsets | the same | not said |
//! | `2.0.0` | one list | of the type said, `real = scale * (code - zero_point)` | said |
//!
//! [`Encodings`] is what such a file says; [`export`](convert::export) and [`import`](convert::import) lead from and to a
//! profile, and tell what got lost.

mod aimet_lists;
mod aimet_objects;
mod aimet_onnx;
pub mod convert;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// The forms of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// Version 0.6.1 of AIMET.
    Aimet061,
    /// Version 1.0.0 of AIMET.
    Aimet100,
    /// Version 2.0.0 of AIMET.
    Aimet200,
}

/// All forms.
pub const FORMATS: [Format; 3] = [Format::Aimet061, Format::Aimet100, Format::Aimet200];

/// A text names no form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no format: expected aimet-0.6.1, aimet-1.0.0 or aimet-2.0.0")]
pub struct UnknownFormat(pub String);

impl Format {
    /// What the file states as its version.
    pub fn version(self) -> &'static str {
        match self {
            Self::Aimet061 => "0.6.1",
            Self::Aimet100 => "1.0.0",
            Self::Aimet200 => "2.0.0",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "aimet-{}", self.version())
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        let found = FORMATS.into_iter().find(|format| format.to_string() == text);
        found.ok_or_else(|| UnknownFormat(text.to_owned()))
    }
}

/// What a file says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Encodings {
    /// Encodings by the name of the tensor.
    pub tensors: BTreeMap<String, TensorEncoding>,
    /// What the file says of how it was made, in the words of version 0.6.1 and 1.0.0.
    pub arguments: Arguments,
    /// Tensors with encodings of a kind that is not read, and which.
    pub unread: BTreeMap<String, String>,
}

/// What one tensor is stored like.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorEncoding {
    /// Whether it is a parameter and not an activation; `None` where the file does not tell.
    pub is_parameter: Option<bool>,
    /// How it is stored.
    pub stored: Stored,
}

/// How a tensor is stored.
#[derive(Clone, Debug, PartialEq)]
pub enum Stored {
    /// As floats of so many bits.
    Float(u32),
    /// As integers.
    Integer(Integer),
}

/// Integers with their scales.
#[derive(Clone, Debug, PartialEq)]
pub struct Integer {
    /// Bits of a code.
    pub bits: u32,
    /// Whether codes are signed; `None` where the file does not tell.
    pub is_signed: Option<bool>,
    /// Whether zero is the middle code.
    pub is_symmetric: bool,
    /// One scale, or one for each channel.
    pub scales: Vec<f64>,
    /// As many: what is added to codes as if they were unsigned, `real = scale * (code + offset)`.
    pub offsets: Vec<i64>,
    /// The axis of channels; `None` where there is one scale, or the file does not tell.
    pub axis: Option<u8>,
    /// Whether there is a list of scales, even of one.
    pub is_per_channel: bool,
}

/// How a file says it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    /// Bits of activations.
    pub activation_bits: u32,
    /// Bits of parameters.
    pub parameter_bits: u32,
    /// Whether parameters have scales for each channel.
    pub per_channel: bool,
    /// How ranges were found.
    pub scheme: String,
}

/// A text is no file of encodings.
#[derive(Debug, thiserror::Error)]
pub enum InterchangeError {
    /// It is not JSON, or not of this form.
    #[error("line {line}, column {column}: {reason}")]
    Json {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What is wrong there.
        reason: String,
    },
    /// It states another version.
    #[error("the file states version {found}, and {expected} was asked for: say --format aimet-{found}")]
    Version {
        /// The version stated.
        found: String,
        /// That of the form asked for.
        expected: &'static str,
    },
    /// An encoding makes no sense.
    #[error("encoding of `{name}`: {reason}")]
    Encoding {
        /// The tensor.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl InterchangeError {
    fn json(error: &serde_json::Error) -> Self {
        let (line, column, text) = (error.line(), error.column(), error.to_string());
        let reason = text.split(" at line ").next().unwrap_or(&text).to_owned();
        Self::Json { line, column, reason }
    }

    fn encoding(name: &str, reason: impl Into<String>) -> Self {
        Self::Encoding { name: name.to_owned(), reason: reason.into() }
    }
}

/// What tells the form of a file.
#[derive(serde::Deserialize)]
struct Head {
    version: String,
}

impl Encodings {
    /// What `text`, in `format`, says.
    pub fn from_text(text: &str, format: Format) -> Result<Self, InterchangeError> {
        let head: Head = serde_json::from_str(text).map_err(|error| InterchangeError::json(&error))?;
        if head.version != format.version() {
            return Err(InterchangeError::Version { found: head.version, expected: format.version() });
        }
        let encodings = match format {
            Format::Aimet061 => aimet_objects::read(text),
            Format::Aimet100 => aimet_lists::read(text),
            Format::Aimet200 => aimet_onnx::read(text),
        }?;
        for (name, tensor) in &encodings.tensors {
            if let Stored::Integer(integer) = &tensor.stored {
                integer.check().map_err(|reason| InterchangeError::encoding(name, reason))?;
            }
        }
        Ok(encodings)
    }

    /// The file in `format`.
    pub fn to_text(&self, format: Format) -> String {
        let mut text = match format {
            Format::Aimet061 => aimet_objects::write(self),
            Format::Aimet100 => aimet_lists::write(self),
            Format::Aimet200 => aimet_onnx::write(self),
        };
        text.push('\n');
        text
    }
}

impl Integer {
    /// Why this is no encoding, if it is none.
    fn check(&self) -> Result<(), String> {
        let (scales, offsets) = (self.scales.len(), self.offsets.len());
        if scales == 0 || scales != offsets {
            return Err(format!(
                "{scales} scales and {offsets} offsets: expected at least one, and as many of each"
            ));
        }
        if !(2..=32).contains(&self.bits) {
            return Err(format!("codes of {} bits: expected 2 to 32", self.bits));
        }
        if let Some(offset) = self.offsets.iter().find(|offset| offset.unsigned_abs() > 1 << 33) {
            return Err(format!("offset {offset} is beyond all codes of 32 bits"));
        }
        match self.scales.iter().find(|scale| !(**scale > 0.0 && scale.is_finite())) {
            Some(scale) => Err(format!("scale {scale} is not a positive number")),
            None => Ok(()),
        }
    }

    /// The middle code, if codes are counted from 0.
    fn middle(&self) -> i64 {
        1 << (self.bits - 1)
    }

    /// The real numbers that the codes of a channel reach.
    fn reach(&self, channel: usize) -> (f64, f64) {
        let (scale, offset) = (self.scales[channel], self.offsets[channel]);
        (scale * offset as f64, scale * (offset + (1i64 << self.bits) - 1) as f64)
    }
}

#[cfg(test)]
mod tests;
