//! Content digests of weights: BLAKE3 over the type and the packed bytes.

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;

use crate::types::TensorType;

/// The first 128 bits of the BLAKE3 hash of a weight's element type, sizes and bytes. Printed as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 16]);

/// The text is not 32 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a digest of 32 hexadecimal digits")]
pub struct DigestError(String);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Digest {
    type Err = DigestError;
    fn from_str(text: &str) -> Result<Self, DigestError> {
        let wrong = || DigestError(text.to_owned());
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        u128::from_str_radix(text, 16).map(|bits| Self(bits.to_be_bytes())).map_err(|_| wrong())
    }
}

pub(super) struct Hasher(blake3::Hasher);

impl Hasher {
    pub(super) fn new(ty: &TensorType) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(format!("{}{}\n", ty.dtype, ty.shape).as_bytes());
        Self(hasher)
    }

    pub(super) fn finish(self) -> Digest {
        let mut bits = [0; 16];
        bits.copy_from_slice(&self.0.finalize().as_bytes()[..16]);
        Digest(bits)
    }
}

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
