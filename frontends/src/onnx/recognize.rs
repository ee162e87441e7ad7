//! Recognizing what a file is that is not an ONNX model, so that the error can say it.
//!
//! The first bytes of a protobuf message are not a signature: a sound model may begin with letters. So
//! this is asked only about files that could not be read as a model.

/// How much of a file is looked at.
const WINDOW: usize = 1024;

/// Bytes at the beginning of files of some format.
struct Signature {
    offset: usize,
    magic: &'static [u8],
    what: &'static str,
}

const fn at_start(magic: &'static [u8], what: &'static str) -> Signature {
    Signature { offset: 0, magic, what }
}

const SIGNATURES: &[Signature] = &[
    at_start(
        b"version https://git-lfs",
        "a Git LFS pointer, not yet the file itself; fetch it with `git lfs pull`",
    ),
    at_start(
        b"PK\x03\x04",
        "a zip archive, such as a PyTorch checkpoint; unpack it, or export the checkpoint to ONNX",
    ),
    at_start(b"\x80\x02", "a Python pickle, such as an old PyTorch checkpoint; export it to ONNX"),
    at_start(b"\x80\x04", "a Python pickle; export the model in it to ONNX"),
    at_start(b"\x1f\x8b", "compressed with gzip; unpack it"),
    at_start(b"\x28\xb5\x2f\xfd", "compressed with zstd; unpack it"),
    at_start(b"GGUF", "a GGUF file, which holds weights without a graph; export the model to ONNX"),
    at_start(b"\x93NUMPY", "a NumPy array"),
    at_start(b"\x89HDF\r\n", "an HDF5 file, such as a Keras checkpoint; export the model to ONNX"),
    Signature { offset: 4, magic: b"TFL3", what: "a LiteRT (TensorFlow Lite) model" },
    Signature {
        offset: 4,
        magic: b"ORTM",
        what: "an ONNX Runtime model in ORT format; give the ONNX model it came from",
    },
    at_start(b"<!DOCTYPE html", "a web page, perhaps of a failed download"),
    at_start(b"<!doctype html", "a web page, perhaps of a failed download"),
    at_start(b"<html", "a web page, perhaps of a failed download"),
    at_start(b"<?xml", "an XML file"),
    at_start(b"{", "a JSON file"),
];

/// What `bytes`, the content of a file, look like, in words that follow "this looks like", or `None`.
pub(crate) fn recognize(bytes: &[u8]) -> Option<&'static str> {
    let signature = |signature: &&Signature| {
        bytes.get(signature.offset..).is_some_and(|rest| rest.starts_with(signature.magic))
    };
    if is_safetensors(bytes) {
        return Some("a safetensors file, which holds weights without a graph; give the ONNX model here");
    }
    if let Some(found) = SIGNATURES.iter().find(signature) {
        return Some(found.what);
    }
    is_text(bytes).then_some("a text file")
}

/// A safetensors file begins with the length of its header in eight bytes, and the header is JSON.
fn is_safetensors(bytes: &[u8]) -> bool {
    let Some((length, header)) = bytes.split_first_chunk::<8>() else { return false };
    let length = u64::from_le_bytes(*length);
    header.starts_with(b"{") && length >= 2 && length <= header.len() as u64
}

fn is_text(bytes: &[u8]) -> bool {
    let window = &bytes[..bytes.len().min(WINDOW)];
    let text = match std::str::from_utf8(window) {
        Ok(text) => text,
        // The window may cut the last character in two, which is no fault of the text.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&window[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    !text.is_empty() && text.chars().all(|c| !c.is_control() || c.is_ascii_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_apart() {
        let cases: [(&[u8], &str); 9] = [
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS"),
            (b"PK\x03\x04\x14\0\0\0", "zip archive"),
            (b"\x80\x02\x8a\nl", "pickle"),
            (b"\x10\0\0\0TFL3rest", "LiteRT"),
            (b"<!DOCTYPE html><html>", "web page"),
            (b"{\"a\": 1}", "JSON"),
            (b"ir_version: 8\ngraph {\n}\n", "text"),
            ("größe: 1\n".as_bytes(), "text"),
            (b"\x02\0\0\0\0\0\0\0{}", "safetensors"),
        ];
        for (bytes, expected) in cases {
            let found = recognize(bytes).unwrap_or_default();
            assert!(found.contains(expected), "{found} for {expected}");
        }
    }

    #[test]
    fn other_bytes_are_not_named() {
        for bytes in [&b""[..], b"\x08\x08\x12\x07pytorch", &[0; 2000], b"\xff\xfe"] {
            assert_eq!(recognize(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn a_character_cut_by_the_window_is_still_text() {
        let mut text = "a".repeat(WINDOW - 1);
        text.push('ß');
        assert_eq!(recognize(text.as_bytes()), Some("a text file"));
    }
}
