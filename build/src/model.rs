//! Opens and writes models of every format. The extension decides which one a file is in.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use quad_frontends::onnx;
use quad_ir::graph::{Graph, NodeRef};
use quad_ir::module::Module;
use quad_ir::text;
use quad_passes::check::PACK;
use quad_passes::pipeline::{Pipeline, PipelineError};
use quad_passes::registry::Registry;
use quad_passes::runner::{self, RunError, RunOptions};

/// The formats of models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `.onnx`
    Onnx,
    /// `.quad`, the text form.
    Text,
}

/// A model could not be opened, or a format is not known.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No format has this extension.
    #[error("`{}`: the extension tells the format of a model, expected .onnx or .quad", .0.display())]
    Extension(PathBuf),
    /// An ONNX model could not be imported.
    #[error("`{}` could not be imported", path.display())]
    Onnx {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<onnx::ImportError>,
    },
    /// A text could not be read.
    #[error(transparent)]
    Text(text::ReadError),
    /// There are several graphs and none of them is the main one.
    #[error("`{}` holds {count} graphs and none is called @main", path.display())]
    NoMain {
        /// The file.
        path: PathBuf,
        /// How many graphs it holds.
        count: usize,
    },
}

/// A model could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// ONNX has no place for the graph that packs adapters.
    #[error("`{}`: ONNX cannot hold @pack, the graph of the model that packs adapters; write .quad", .0.display())]
    Pack(PathBuf),
    /// There is no graph that runs.
    #[error(transparent)]
    Model(#[from] OpenError),
    /// The text form could not be written.
    #[error(transparent)]
    Text(#[from] text::WriteError),
    /// The ONNX file could not be written.
    #[error(transparent)]
    Onnx(#[from] onnx::WriteError),
    /// The pipeline that takes quantized types out has no such pass.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// Quantized types could not be taken out.
    #[error(transparent)]
    Unfold(#[from] Box<RunError>),
}

impl Format {
    /// The format that the extension of `path` names.
    pub fn of(path: &Path) -> Result<Self, OpenError> {
        match path.extension().and_then(OsStr::to_str) {
            Some("onnx") => Ok(Self::Onnx),
            Some("quad") => Ok(Self::Text),
            _ => Err(OpenError::Extension(path.to_owned())),
        }
    }
}

/// Opens the model at `path`.
pub fn open(path: &Path) -> Result<Module, OpenError> {
    match Format::of(path)? {
        Format::Onnx => onnx::import(path)
            .map_err(|error| OpenError::Onnx { path: path.to_owned(), source: Box::new(error) }),
        Format::Text => text::read_files(path).map_err(OpenError::Text),
    }
}

/// Writes `module`, opened from `source`, to `path`. ONNX holds one graph, so a module that computes what it takes for an
/// adapter in a graph of its own is refused there. Quantized types become operations there that quantize and dequantize.
pub fn write(path: &Path, format: Format, module: &Module, source: &Path) -> Result<(), WriteError> {
    match format {
        Format::Text => Ok(text::write_files(path, module)?),
        Format::Onnx if module.graph(PACK).is_some() => Err(WriteError::Pack(path.to_owned())),
        Format::Onnx => {
            let plain = unfolded(module)?;
            Ok(onnx::write(main_graph(&plain, source)?, path)?)
        }
    }
}

/// `module` without quantized types, which ONNX has not: scales and zero points are operands there.
///
/// # Errors
/// When the pass `unfold-quant` refuses a value, naming it.
pub fn unfolded(module: &Module) -> Result<Cow<'_, Module>, WriteError> {
    let quantized = |graph: &Graph| graph.nodes().any(NodeRef::touches_quantized);
    if !module.graphs.iter().any(quantized) {
        return Ok(Cow::Borrowed(module));
    }
    let mut module = module.clone();
    let pipeline = Pipeline::parse("unfold-quant", &Registry::standard())?;
    runner::run(&pipeline, &mut module, &RunOptions::default(), &mut []).map_err(Box::new)?;
    Ok(Cow::Owned(module))
}

/// Bytes of all weights that nodes of `graph` are, each once.
pub fn weight_bytes(graph: &Graph) -> u64 {
    let weights: BTreeSet<_> = graph.nodes().filter_map(|node| node.results().next()?.weight()).collect();
    weights.into_iter().filter_map(|weight| graph.weights().ty(weight)?.byte_len()).sum()
}

/// The graph of `module`, opened from `path`, that runs.
pub fn main_graph<'m>(module: &'m Module, path: &Path) -> Result<&'m Graph, OpenError> {
    let count = module.graphs.len();
    module.main().ok_or_else(|| OpenError::NoMain { path: path.to_owned(), count })
}
