//! Reading an ONNX file into its messages, without copying the tensors in it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Buf;
use prost::Message;
use quad_ir::weights::MappedFile;

use super::proto::{GraphProto, ModelProto};
use super::recognize::recognize;

/// A decoded model file. Contents of tensors in its messages are views of `mapped`.
#[derive(Debug)]
pub(crate) struct ModelFile {
    /// The file. [`MappedFile::range_of`] finds the place in it of contents in the messages.
    pub(crate) mapped: Arc<MappedFile>,
    /// The model's graph.
    pub(crate) graph: Box<GraphProto>,
    /// Everything else: the `graph` field is taken.
    pub(crate) model: ModelProto,
}

/// A file could not be read as an ONNX model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelFileError {
    /// There is no such file.
    #[error("`{}` does not exist; check the path of the model", path.display())]
    NotFound {
        /// The path given.
        path: PathBuf,
    },
    /// The system did not let the file be read.
    #[error("`{}` cannot be read: {error}", path.display())]
    Unreadable {
        /// The path given.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The file has no bytes.
    #[error("`{}` is empty, expected an ONNX model; export or download it again", path.display())]
    Empty {
        /// The path given.
        path: PathBuf,
    },
    /// The file is of another format.
    #[error("`{}` is not an ONNX model: this looks like {found}", path.display())]
    OtherFormat {
        /// The path given.
        path: PathBuf,
        /// The format, and what to do about it.
        found: &'static str,
    },
    /// The end of the file is missing.
    #[error(
        "`{}` is cut short: it has {length} bytes and its content reaches at least to byte {needed}; \
         download or copy it again", path.display()
    )]
    Truncated {
        /// The path given.
        path: PathBuf,
        /// Bytes in the file.
        length: u64,
        /// Bytes that it states to have, as far as can be told.
        needed: u64,
    },
    /// Messages are nested more deeply than the decoder follows.
    #[error(
        "`{}` nests messages more than 100 deep, which takes subgraphs in subgraphs more than 30 deep; \
         flatten its control flow and export it again", path.display()
    )]
    TooDeep {
        /// The path given.
        path: PathBuf,
    },
    /// The file is not a sound protobuf message.
    #[error("`{}` is damaged or not an ONNX model: {error}", path.display())]
    Malformed {
        /// The path given.
        path: PathBuf,
        /// What the decoder found, and in which field.
        error: prost::DecodeError,
    },
    /// The message is sound and no graph is in it.
    #[error(
        "`{}` holds no graph; expected an ONNX model, found perhaps a single tensor or another kind of \
         protobuf file", path.display()
    )]
    NoGraph {
        /// The path given.
        path: PathBuf,
    },
}

impl ModelFile {
    /// Maps and decodes the model at `path`.
    pub(crate) fn read(path: &Path) -> Result<Self, ModelFileError> {
        let mapped = MappedFile::open(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ModelFileError::NotFound { path: path.to_owned() },
            _ => ModelFileError::Unreadable { path: path.to_owned(), error },
        })?;
        if mapped.is_empty() {
            return Err(ModelFileError::Empty { path: path.to_owned() });
        }
        let content = mapped.all();
        let mut model =
            ModelProto::decode(content.clone()).map_err(|error| explain(path, &content, error))?;
        let Some(graph) = model.graph.take() else {
            let path = path.to_owned();
            return Err(match recognize(&content) {
                Some(found) => ModelFileError::OtherFormat { path, found },
                None => ModelFileError::NoGraph { path },
            });
        };
        Ok(Self { mapped, graph, model })
    }
}

/// The most telling error for `content`, which could not be decoded.
fn explain(path: &Path, content: &[u8], error: prost::DecodeError) -> ModelFileError {
    let path = path.to_owned();
    // The decoder keeps the kind of its error to itself and shows it only in the text.
    if error.to_string().ends_with("recursion limit reached") {
        return ModelFileError::TooDeep { path };
    }
    if let Some(found) = recognize(content) {
        return ModelFileError::OtherFormat { path, found };
    }
    match missing_end(content) {
        Some(needed) => ModelFileError::Truncated { path, length: content.len() as u64, needed },
        None => ModelFileError::Malformed { path, error },
    }
}

/// The length that the outermost fields of a model state, when that is more than `content` has.
///
/// Only fields that a model has are followed: in a file of another kind the first bytes would be taken
/// for some huge length.
fn missing_end(content: &[u8]) -> Option<u64> {
    /// A protobuf message is smaller than this.
    const LIMIT: u64 = 1 << 31;
    let mut rest = content;
    while rest.has_remaining() {
        let key = match read_varint(&mut rest)? {
            Varint::Value(key) => key,
            Varint::Cut => return Some(content.len() as u64 + 1),
        };
        match (key >> 3, key & 7) {
            (1 | 5, 0) => {
                if let Varint::Cut = read_varint(&mut rest)? {
                    return Some(content.len() as u64 + 1);
                }
            }
            (2..=4 | 6..=8 | 14 | 20 | 25 | 26, 2) => {
                let Varint::Value(length) = read_varint(&mut rest)? else {
                    return Some(content.len() as u64 + 1);
                };
                if length > rest.len() as u64 {
                    let needed = (content.len() - rest.len()) as u64 + length.min(LIMIT);
                    return (needed < LIMIT).then_some(needed);
                }
                rest.advance(usize::try_from(length).ok()?);
            }
            _ => return None,
        }
    }
    None
}

enum Varint {
    Value(u64),
    /// The bytes ended before the number did.
    Cut,
}

/// Takes a number in protobuf's variable length off the front of `rest`, or `None` when it is too long to be one.
fn read_varint(rest: &mut &[u8]) -> Option<Varint> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let Some((byte, after)) = rest.split_first() else { return Some(Varint::Cut) };
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(Varint::Value(value));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::onnx::fixtures;
    use crate::onnx::proto::NodeProto;

    /// Reads a file with `content` as a model.
    fn read(content: &[u8]) -> Result<ModelFile, ModelFileError> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("model.onnx");
        fs::write(&path, content).expect("writing the model");
        ModelFile::read(&path)
    }

    fn error(content: &[u8]) -> ModelFileError {
        let error = read(content).expect_err("no model");
        assert!(error.to_string().contains("model.onnx"), "the file is named: {error}");
        error
    }

    fn model_with(graph: GraphProto) -> Vec<u8> {
        ModelProto { ir_version: 8, graph: Some(Box::new(graph)), ..ModelProto::default() }.encode_to_vec()
    }

    /// The message that holds `inner` in its field `field`. Deep nesting is put together this way because
    /// the encoder itself recurses.
    fn wrap(field: u8, inner: &[u8]) -> Vec<u8> {
        let mut message = vec![field << 3 | 2];
        prost::encode_length_delimiter(inner.len(), &mut message).expect("a vector grows");
        message.extend_from_slice(inner);
        message
    }

    /// A model with graphs in attributes of nodes of graphs, `depth` deep.
    fn nested_graphs(depth: usize) -> Vec<u8> {
        let graph = (0..depth).fold(Vec::new(), |graph, _| wrap(1, &wrap(5, &wrap(6, &graph))));
        wrap(7, &graph)
    }

    /// A model with an input that is a sequence of sequences, `depth` deep.
    fn nested_types(depth: usize) -> Vec<u8> {
        let ty = (0..depth).fold(Vec::new(), |ty, _| wrap(4, &wrap(1, &ty)));
        wrap(7, &wrap(11, &wrap(2, &ty)))
    }

    #[test]
    fn tensors_of_a_read_model_are_views_of_the_file() {
        let mut seen = 0;
        for path in fixtures::models() {
            let file = ModelFile::read(&path).expect("a sound model");
            assert!(file.model.ir_version > 0 && file.model.graph.is_none());
            for raw in file.graph.initializer.iter().filter_map(|tensor| tensor.raw_data.as_ref()) {
                if !raw.is_empty() {
                    let range = file.mapped.range_of(raw).expect("a view of the map, not a copy");
                    assert_eq!(file.mapped.bytes(range).as_ref(), Some(raw));
                    seen += 1;
                }
            }
        }
        assert!(seen > 0, "some model has contents of its own");
    }

    #[test]
    fn missing_and_unreadable_files_are_named() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let error = ModelFile::read(&folder.path().join("absent.onnx")).expect_err("missing");
        assert!(matches!(error, ModelFileError::NotFound { .. }), "{error}");
        assert!(error.to_string().contains("absent.onnx"), "{error}");
        let error = ModelFile::read(folder.path()).expect_err("a directory");
        assert!(matches!(error, ModelFileError::Unreadable { .. }), "{error}");
        assert!(error.to_string().contains("a directory"), "{error}");
    }

    #[test]
    fn other_formats_are_named() {
        assert!(matches!(error(b""), ModelFileError::Empty { .. }));
        for (content, name) in [
            (&b"PK\x03\x04\x14\0\0\0\0\0"[..], "zip"),
            (b"{\"version\": 1}", "JSON"),
            (b"\x02\0\0\0\0\0\0\0{}", "safetensors"),
            (b"ir_version: 8\n", "text"),
            (b"\x80\x02}q\0.", "pickle"),
        ] {
            let error = error(content);
            assert!(matches!(error, ModelFileError::OtherFormat { .. }), "{error}");
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn damage_is_not_mistaken_for_a_short_file() {
        for content in
            [&[0xff; 64][..], &[0; 64], b"\x08\x08\x3a\xff\xff\xff\xff\xff\xff\x01", b"\x3a\x02\x0a\x05"]
        {
            let error = error(content);
            assert!(matches!(error, ModelFileError::Malformed { .. }), "{error} for {content:?}");
        }
    }

    #[test]
    fn every_cut_of_a_model_is_an_error_that_says_so() {
        let node = NodeProto { op_type: "Relu".to_owned(), ..NodeProto::default() };
        let graph = GraphProto { name: "g".repeat(200), node: vec![node; 3], ..GraphProto::default() };
        let whole = model_with(graph);
        read(&whole).expect("the whole model");
        for length in 1..whole.len() {
            match error(&whole[..length]) {
                // Between the version and the graph the message is sound.
                ModelFileError::NoGraph { .. } => assert_eq!(length, 2),
                ModelFileError::Truncated { length: found, needed, .. } => {
                    assert_eq!(found, length as u64);
                    assert!(needed > found && needed <= whole.len() as u64, "{needed} of {}", whole.len());
                }
                other => panic!("{other} at {length}"),
            }
        }
    }

    #[test]
    fn nesting_is_followed_as_deep_as_the_decoder_goes_and_refused_beyond() {
        read(&nested_graphs(32)).expect("deep, but within the limit");
        read(&nested_types(45)).expect("deep, but within the limit");
        for content in [nested_graphs(34), nested_types(60), nested_graphs(5000)] {
            let error = error(&content);
            assert!(matches!(error, ModelFileError::TooDeep { .. }), "{error}");
        }
    }

    #[test]
    fn a_message_without_a_graph_is_no_model() {
        let content = ModelProto { ir_version: 8, ..ModelProto::default() }.encode_to_vec();
        assert!(matches!(error(&content), ModelFileError::NoGraph { .. }));
    }
}
