//! Models for Qualcomm's tensor processors: a folder with the graph in the forms that their tools and runtimes take.

mod sdk;

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use quad_frontends::data::safetensors::{SafeTensorsError, WriteError as SafeTensorsWriteError};
use quad_frontends::onnx;
use quad_ir::module::Module;
use quad_ir::whole_file::WholeFile;
use quad_qnn::emit::ep_context;
use quad_qnn::emit::net_json::{self, NetJson};
use quad_qnn::emit::package::{self, Package, PortError};
use quad_qnn::model::QnnGraph;
use quad_qnn::native::{Native, NativeError};
use quad_qnn::raise::{Form, RaiseError, raise};
use quad_qnn::soc::Soc;
use quad_qnn::table::{LowerErrors, Setting, lower};
use serde::Serialize;

use crate::packed::{self, PackedError};

/// The names of files in the folder.
const BINARY: &str = "model.bin";
const DLC: &str = "model.dlc";
const EP_CONTEXT: &str = "model.onnx";
const NET_JSON: &str = "model_net.json";
const WEIGHTS: &str = "weights";
const QDQ: &str = "model.qdq.onnx";

/// A folder that lacks its page still.
#[derive(Debug)]
pub struct Folder {
    /// What names everything in the folder.
    pub page: Package,
    /// How many operations the graph has.
    pub operators: usize,
    /// Bytes of the context binary, where there is one.
    pub binary: Option<u64>,
    /// What the libraries said of themselves.
    pub warning: Option<String>,
}

/// A folder could not be written.
#[derive(Debug, thiserror::Error)]
pub enum EmitError {
    /// The module has no graph that runs, or weights of it could not be read.
    #[error(transparent)]
    Graph(#[from] PackedError),
    /// A node is not legal.
    #[error(transparent)]
    Lower(#[from] LowerErrors),
    /// The libraries refused, or failed.
    #[error(transparent)]
    Native(#[from] NativeError),
    /// The libraries compiled for another chip.
    #[error("QNN compiled for chip {found}, not for {wanted}")]
    OtherChip {
        /// The number of the chip that was compiled for.
        found: u32,
        /// The chip that was asked for.
        wanted: Soc,
    },
    /// The graph has no form in operations of ONNX.
    #[error(transparent)]
    Raise(#[from] RaiseError),
    /// An ONNX model could not be written.
    #[error(transparent)]
    Onnx(#[from] Box<onnx::WriteError>),
    /// Slots in the folder could not be read.
    #[error(transparent)]
    Slots(#[from] SafeTensorsError),
    /// Slots in the folder are not what the page says.
    #[error(transparent)]
    Port(#[from] PortError),
    /// Numbers of an adapter could not be written.
    #[error(transparent)]
    Numbers(#[from] SafeTensorsWriteError),
    /// A description could not be put into words.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// A file could not be written.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
}

/// Writes the graph of `module` that runs, made legal for `soc`, into the folder `out`: text form with constants, ONNX models
/// and encodings always, what the libraries make where there are any. [`Folder::publish`] is to follow.
pub fn write(out: &Path, module: &Module, soc: Soc, native: Option<&Native>) -> Result<Folder, EmitError> {
    let graph = module.main().ok_or(PackedError::NoMain)?;
    let lowered = lower(graph, Setting { soc })?;
    let page = Package::of(graph, &lowered, soc, &packed::digest(module)?);
    let mut folder = Folder { page, operators: lowered.graph.nodes.len(), binary: None, warning: None };
    let weights = out.join(WEIGHTS);
    fs::create_dir_all(&weights).map_err(|error| EmitError::Io { path: weights, error })?;
    folder.write_text(out, &lowered.graph)?;
    folder.write_qdq(out, &lowered.graph)?;
    sdk::write(out, &lowered.graph, &mut folder)?;
    if let Some(native) = native {
        folder.write_native(out, &lowered.graph, soc, native)?;
    }
    Ok(folder)
}

impl Folder {
    /// Notes that `file` of the folder is what `what` says.
    pub fn add(&mut self, what: impl Into<String>, file: impl Into<String>) {
        self.page.files.insert(what.into(), file.into());
    }

    /// Writes adapters that were [added](Self::add) as `adapter NAME` in the words of the SDK, and the page, which comes last:
    /// where it is, everything that it names is. Gives the names of all files.
    pub fn publish(self, out: &Path) -> Result<Vec<String>, EmitError> {
        sdk::write_adapters(out, &self.page)?;
        write_file(&out.join(package::FILE), &json(&self.page)?)?;
        Ok(self.page.files.into_values().chain([package::FILE.to_owned()]).collect())
    }

    /// The text form with its constants, which need no library.
    fn write_text(&mut self, out: &Path, graph: &QnnGraph) -> Result<(), EmitError> {
        write_file(&out.join(NET_JSON), &json(&NetJson::of(graph))?)?;
        for (name, bytes) in net_json::weights(graph) {
            write_file(&out.join(WEIGHTS).join(name), bytes)?;
        }
        self.add("net_json", NET_JSON);
        self.add("weights", WEIGHTS);
        Ok(())
    }

    /// The quantized model in ONNX, for ONNX Runtime on the CPU and with its provider for QNN.
    fn write_qdq(&mut self, out: &Path, graph: &QnnGraph) -> Result<(), EmitError> {
        let raised = raise(graph, Form::Qdq, &BTreeSet::new())?;
        onnx::write(&raised.graph, &out.join(QDQ)).map_err(Box::new)?;
        self.add("qdq_onnx", QDQ);
        Ok(())
    }

    /// What the libraries make: context binary, DLC, and the ONNX model around the binary.
    fn write_native(
        &mut self,
        out: &Path,
        graph: &QnnGraph,
        soc: Soc,
        native: &Native,
    ) -> Result<(), EmitError> {
        let about = native.about()?;
        self.warning = about.warning;
        let compiled = native.compile(graph, soc)?;
        if compiled.soc_model != soc.model() {
            return Err(EmitError::OtherChip { found: compiled.soc_model, wanted: soc });
        }
        write_file(&out.join(BINARY), &compiled.binary)?;
        write_file(&out.join(EP_CONTEXT), &ep_context::model(graph, BINARY))?;
        // The library writes the file itself; it gets its name when it is whole.
        let part = out.join(format!("{DLC}.{}.part", std::process::id()));
        native.write_dlc(graph, &part)?;
        let dlc = out.join(DLC);
        fs::rename(&part, &dlc).map_err(|error| EmitError::Io { path: dlc, error })?;
        for (what, file) in [("context_binary", BINARY), ("ep_context", EP_CONTEXT), ("dlc", DLC)] {
            self.add(what, file);
        }
        self.page.libraries = Some(about.build);
        self.binary = Some(compiled.binary.len() as u64);
        Ok(())
    }
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, EmitError> {
    let mut bytes = serde_json::to_vec_pretty(value)?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), EmitError> {
    let write = || {
        let mut file = WholeFile::create(path)?;
        file.write_all(bytes)?;
        file.publish()
    };
    write().map_err(|error| EmitError::Io { path: path.to_owned(), error })
}
