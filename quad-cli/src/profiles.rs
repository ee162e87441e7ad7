//! Reading profiles that users name, and what else it may be that they name.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use quad_frontends::data::safetensors::SafeTensorsFile;
use quad_quantize::profile::Profile;
use quad_quantize::profile::file::FileError;
use quad_quantize::profile::scores::Scores;

use crate::exit::Failure;
use crate::{packed, statistics};

/// The profile at `path`.
pub(crate) fn read(path: &Path) -> Result<Profile, Failure> {
    let error = match Profile::read(path) {
        Ok(profile) => return Ok(profile),
        Err(error) => error,
    };
    let is_missing =
        matches!(&error, FileError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound);
    match (is_missing, kind(path)) {
        (false, Some(kind)) => Err(Failure::message(format!(
            "`{}` is no profile, as `quad profile make` writes: it is {kind}",
            path.display()
        ))),
        _ => Err(Failure::input(error)),
    }
}

/// What the file at `path` is, if that can be told and is no profile.
fn kind(path: &Path) -> Option<&'static str> {
    if path.is_dir() {
        return Some("a folder");
    }
    if matches!(path.extension().and_then(OsStr::to_str), Some("onnx" | "quad" | "tflite")) {
        return Some("a model");
    }
    let mut start = [0; 4];
    let starts = File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok();
    if starts && start == *b"PK\x03\x04" {
        return Some("an archive, such as NumPy's");
    }
    if statistics::read(path).is_ok() {
        return Some("statistics, of which `quad profile make` makes a profile");
    }
    if packed::open(path).is_some() {
        return Some("a packed adapter");
    }
    if SafeTensorsFile::open(path).is_ok() {
        return Some("a safetensors file, such as an adapter or data");
    }
    let text = std::fs::read_to_string(path).ok()?;
    let is_scores = serde_json::from_str::<Scores>(&text).is_ok();
    is_scores.then_some("scores, as `quad qss -o` writes, which `quad profile make --scores` takes")
}
