//! The sequences of calls that build, run and serialize a graph.
//!
//! Handles are not freed: the process ends with its one job.

use std::ffi::{CString, c_char};
use std::path::Path;
use std::ptr::{null, null_mut};

use super::api::{Api, ApiError, NOT_SUPPORTED, text};
use super::arena::{Arena, BadName, buffer};
use super::layout::{
    CConfig, COp, CParam, CParamValue, CSerialize, CSerializeTo, CSocConfig, CTensor, Handle,
};
use super::log;
use crate::model::{Node, QnnGraph, TensorId};
use crate::native::{Refusal, Run};
use crate::soc::Soc;

/// A library said no, or could not be spoken to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The library cannot be used.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// A name cannot be passed on.
    #[error(transparent)]
    Name(#[from] BadName),
    /// A call gave an error.
    #[error("{call} failed with {code}: {message}{}", log_lines(.log))]
    Call {
        /// The call, as the API reference has it, and what it was about.
        call: String,
        /// The error code.
        code: u64,
        /// What the library says of the code.
        message: String,
        /// What it logged before.
        log: Vec<String>,
    },
    /// A tensor that the graph takes was not given, or not with as many bytes as it has.
    #[error("{0}")]
    Tensor(String),
}

fn log_lines(log: &[String]) -> String {
    log.iter().fold(String::new(), |text, line| text + "\n  " + line)
}

/// A backend of a library, and a device where it has one.
pub(crate) struct Session {
    pub(super) api: Api,
    log: Handle,
    pub(super) backend: Handle,
    device: Handle,
    pub(super) context: Handle,
}

/// A graph inside the library, with the tensors by which it is run.
pub(crate) struct Loaded {
    pub(super) handle: Handle,
    pub(super) inputs: Vec<CTensor>,
    pub(super) outputs: Vec<CTensor>,
    /// What the tensors point into, where that is not the library's own memory.
    pub(super) _arena: Option<Arena>,
}

/// A graph whose operations the library has looked at, and none is in it yet.
pub(crate) struct Draft<'a> {
    graph: &'a QnnGraph,
    handle: Handle,
    tensors: Vec<CTensor>,
    ops: Vec<COp>,
    /// What `ops` and `tensors` point into.
    arena: Arena,
}

impl Session {
    /// Opens the library at `path`, for a chip where it compiles for one.
    pub(crate) fn open(path: &Path, soc: Option<Soc>) -> Result<Self, Failure> {
        let api = Api::load(path)?;
        let (mut session, callback) = (
            Self { api, log: null_mut(), backend: null_mut(), device: null_mut(), context: null_mut() },
            log::callback as *const std::ffi::c_void,
        );
        // SAFETY: the callback has the type that the reference gives it, and lives as long as the program.
        let code = unsafe { session.api.log_create(callback, log::LEVEL, &raw mut session.log) };
        session.check(code, || "logCreate".to_owned())?;
        // SAFETY: the log is the library's own handle; no configuration is given.
        let code = unsafe { session.api.backend_create(session.log, null(), &raw mut session.backend) };
        session.check(code, || "backendCreate".to_owned())?;
        session.open_device(soc)?;
        Ok(session)
    }

    fn open_device(&mut self, soc: Option<Soc>) -> Result<(), Failure> {
        let Some(soc) = soc else { return Ok(()) };
        let custom = CSocConfig::new(soc.model());
        let config = CConfig { option: 0, custom: (&raw const custom).cast() };
        let configs = [&raw const config, null()];
        // SAFETY: the configuration and the list, which ends in null, live until the call returns.
        let code = unsafe { self.api.device_create(self.log, configs.as_ptr(), &raw mut self.device) };
        if code == NOT_SUPPORTED {
            return Ok(());
        }
        self.check(code, || format!("deviceCreate for {soc}"))
    }

    /// Begins an empty context, which graphs are added to.
    pub(crate) fn new_context(&mut self) -> Result<(), Failure> {
        // SAFETY: backend and device are the library's own handles; no configuration is given.
        let code =
            unsafe { self.api.context_create(self.backend, self.device, null(), &raw mut self.context) };
        self.check(code, || "contextCreate".to_owned())
    }

    /// Takes the context that `binary` is.
    pub(crate) fn context_from(&mut self, binary: &[u8]) -> Result<(), Failure> {
        // SAFETY: the binary is as long as is said, and is read before the call returns.
        let code = unsafe {
            self.api.context_from_binary(
                self.backend,
                self.device,
                null(),
                binary.as_ptr().cast(),
                binary.len() as u64,
                &raw mut self.context,
                null_mut(),
            )
        };
        self.check(code, || "contextCreateFromBinary".to_owned())
    }

    /// Makes `graph` known, without its operations. With `serialize`, the library for files will write it there.
    pub(crate) fn draft<'a>(
        &self,
        graph: &'a QnnGraph,
        serialize: Option<&Path>,
    ) -> Result<Draft<'a>, Failure> {
        let (mut arena, mut tensors, mut ops) = (Arena::default(), Vec::new(), Vec::new());
        let handle = self.create_graph(&graph.name, serialize, &mut arena)?;
        for tensor in &graph.tensors {
            let mut made = arena.tensor(tensor)?;
            self.create_tensor(handle, &mut made, &tensor.name)?;
            tensors.push(made);
        }
        for node in &graph.nodes {
            ops.push(self.op(handle, node, &tensors, &mut arena)?);
        }
        Ok(Draft { graph, handle, tensors, ops, arena })
    }

    fn create_graph(
        &self,
        name: &str,
        serialize: Option<&Path>,
        arena: &mut Arena,
    ) -> Result<Handle, Failure> {
        let c_name = arena.name(name)?;
        // The library reads this when it writes the file, long after this call.
        let path = arena.name(&serialize.map(|path| path.display().to_string()).unwrap_or_default())?;
        let custom = arena.serialize(CSerialize { option: 1, to: CSerializeTo { kind: 1, path } });
        let config = CConfig { option: 0, custom: custom.cast() };
        let configs = [&raw const config, null()];
        let configs = if serialize.is_some() { configs.as_ptr() } else { null() };
        let mut handle = null_mut();
        // SAFETY: the name is in the arena, the configuration lives until the call returns.
        let code = unsafe { self.api.graph_create(self.context, c_name, configs, &raw mut handle) };
        self.check(code, || format!("graphCreate `{name}`"))?;
        Ok(handle)
    }

    fn create_tensor(&self, graph: Handle, tensor: &mut CTensor, name: &str) -> Result<(), Failure> {
        // SAFETY: the tensor points into the arena and the model, which live as long as the graph.
        let code = unsafe { self.api.create_tensor(graph, tensor) };
        self.check(code, || format!("tensorCreateGraphTensor `{name}`"))
    }

    fn op(&self, graph: Handle, node: &Node, tensors: &[CTensor], arena: &mut Arena) -> Result<COp, Failure> {
        let mut params: Vec<CParam> = Vec::new();
        for (name, param) in &node.params {
            let mut made = arena.param(&node.name, name, param)?;
            if made.kind == 1 {
                // SAFETY: kind 1 says that the union holds a tensor.
                let mut tensor = unsafe { made.value.tensor };
                self.create_tensor(graph, &mut tensor, &format!("{}_{name}", node.name))?;
                made.value = CParamValue { tensor };
            }
            params.push(made);
        }
        let pick = |ids: &[TensorId]| ids.iter().map(|id| tensors[id.0 as usize]).collect();
        let names = (node.name.as_str(), node.package.as_str(), node.kind.as_str());
        Ok(arena.op(names, params, pick(&node.inputs), pick(&node.outputs))?)
    }

    /// Asks the library of each operation, and gives those that it refuses.
    pub(crate) fn refusals(&self, draft: &Draft<'_>) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        for (node, op) in draft.graph.nodes.iter().zip(&draft.ops) {
            log::take();
            // SAFETY: the operation points into the draft's arena.
            let code = unsafe { self.api.validate(self.backend, *op) };
            if code != 0 {
                let mut why = reasons(log::take());
                why.push(format!("code {code}: {}", self.message(code)));
                refusals.push(Refusal { node: node.name.clone(), kind: node.kind.clone(), why });
            }
        }
        refusals
    }

    /// Adds the operations and has the library make the graph ready.
    pub(crate) fn finalize(&self, draft: Draft<'_>) -> Result<Loaded, Failure> {
        for (node, op) in draft.graph.nodes.iter().zip(&draft.ops) {
            // SAFETY: the operation points into the draft's arena.
            let code = unsafe { self.api.add_node(draft.handle, *op) };
            self.check(code, || format!("graphAddNode `{}` ({})", node.name, node.kind))?;
        }
        self.finalize_handle(draft.handle, &draft.graph.name)?;
        let pick = |role| draft.tensors.iter().filter(|tensor| tensor.body.role == role).copied().collect();
        let (inputs, outputs) = (pick(0), pick(1));
        Ok(Loaded { handle: draft.handle, inputs, outputs, _arena: Some(draft.arena) })
    }

    pub(super) fn finalize_handle(&self, graph: Handle, name: &str) -> Result<(), Failure> {
        // SAFETY: the graph is the library's own handle.
        let code = unsafe { self.api.finalize(graph, null_mut(), null_mut()) };
        self.check(code, || format!("graphFinalize `{name}`"))
    }

    /// The graph `name` of the context.
    pub(super) fn retrieve(&self, name: &str) -> Result<Handle, Failure> {
        let c_name = c_string(name)?;
        let mut handle = null_mut();
        // SAFETY: the name lives until the call returns; the context is the library's own.
        let code = unsafe { self.api.graph_retrieve(self.context, c_name.as_ptr(), &raw mut handle) };
        self.check(code, || format!("graphRetrieve `{name}`"))?;
        Ok(handle)
    }

    /// Runs a graph once: tensors by name in, tensors by name out.
    pub(crate) fn execute(&self, graph: &Loaded, inputs: &Run) -> Result<Run, Failure> {
        let mut given = Vec::new();
        let mut read: Vec<Vec<u64>> = Vec::new();
        for tensor in &graph.inputs {
            let name = text(tensor.body.name);
            let missing = || Failure::Tensor(format!("input `{name}` is not given"));
            let (_, bytes) = inputs.iter().find(|(other, _)| *other == name).ok_or_else(missing)?;
            let expected = byte_len(tensor);
            if bytes.len() != expected {
                let found = bytes.len();
                let why = format!("input `{name}` has {found} bytes, and {expected} are needed");
                return Err(Failure::Tensor(why));
            }
            // Copied into words, so that every element is where its type must be.
            let mut words = vec![0u64; expected.div_ceil(8)];
            bytes_of(&mut words)[..expected].copy_from_slice(bytes);
            given.push(with_memory(*tensor, &mut words, expected));
            read.push(words);
        }
        let mut written: Vec<Vec<u64>> =
            graph.outputs.iter().map(|tensor| vec![0u64; byte_len(tensor).div_ceil(8)]).collect();
        let mut made: Vec<CTensor> = graph
            .outputs
            .iter()
            .zip(&mut written)
            .map(|(tensor, words)| with_memory(*tensor, words, byte_len(tensor)))
            .collect();
        // SAFETY: every tensor has its id, and memory of its size that lives until after the call.
        let code = unsafe {
            self.api.execute(
                graph.handle,
                given.as_ptr(),
                given.len() as u32,
                made.as_mut_ptr(),
                made.len() as u32,
                null_mut(),
                null_mut(),
            )
        };
        self.check(code, || "graphExecute".to_owned())?;
        drop(read);
        let results = graph.outputs.iter().zip(&mut written);
        Ok(results
            .map(|(tensor, words)| (text(tensor.body.name), bytes_of(words)[..byte_len(tensor)].to_vec()))
            .collect())
    }

    /// The context as a file has it.
    pub(crate) fn binary(&self) -> Result<Vec<u8>, Failure> {
        let mut size = 0;
        // SAFETY: the context is the library's own handle.
        let code = unsafe { self.api.binary_size(self.context, &raw mut size) };
        self.check(code, || "contextGetBinarySize".to_owned())?;
        let (mut bytes, mut written) = (vec![0u8; size as usize], 0);
        // SAFETY: the buffer has the size that is said.
        let code =
            unsafe { self.api.binary(self.context, bytes.as_mut_ptr().cast(), size, &raw mut written) };
        self.check(code, || "contextGetBinary".to_owned())?;
        bytes.truncate(written as usize);
        Ok(bytes)
    }

    /// The library's name for its build.
    pub(crate) fn build(&self) -> String {
        let mut id: *const c_char = null();
        // SAFETY: `id` is a place for a string of the library's own.
        let code = unsafe { self.api.build_id(&raw mut id) };
        if code == 0 { text(id) } else { String::new() }
    }

    /// The library.
    pub(crate) fn api(&self) -> &Api {
        &self.api
    }

    /// An error where `code` is one.
    pub(super) fn check(&self, code: u64, call: impl FnOnce() -> String) -> Result<(), Failure> {
        let log = log::take();
        if code == 0 {
            return Ok(());
        }
        Err(Failure::Call { call: call(), code, message: self.message(code), log })
    }

    fn message(&self, code: u64) -> String {
        let mut message: *const c_char = null();
        // SAFETY: `message` is a place for a string of the library's own.
        let answer = unsafe { self.api.error_message(code, &raw mut message) };
        if answer == 0 { text(message) } else { "no message".to_owned() }
    }
}

/// What of a library's log says why an operation is refused: not its lists of all that is supported, and nothing twice.
fn reasons(log: Vec<String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for line in log {
        let line = line.trim_start_matches("<E> ").replace("\n\n", "\n");
        if !line.starts_with("Supported I/O datatype sets") && !kept.contains(&line) {
            kept.push(line);
        }
    }
    kept
}

fn c_string(text: &str) -> Result<CString, BadName> {
    CString::new(text).map_err(|_| BadName(text.to_owned()))
}

/// `tensor` with its elements in `words`.
fn with_memory(mut tensor: CTensor, words: &mut [u64], size: usize) -> CTensor {
    tensor.body.memory = 0;
    tensor.body.buffer = buffer(words.as_mut_ptr().cast(), size);
    tensor
}

/// The bytes behind `words`.
fn bytes_of(words: &mut [u64]) -> &mut [u8] {
    let length = words.len() * 8;
    // SAFETY: any bytes are words and the other way round; the length is that of the words.
    unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), length) }
}

/// Bytes of a tensor's elements; the last two digits of the code of its type are the width of one in bits.
fn byte_len(tensor: &CTensor) -> usize {
    let rank = tensor.body.rank as usize;
    // SAFETY: a tensor has as many sizes as its rank says.
    let dims: &[u32] =
        if rank == 0 { &[] } else { unsafe { std::slice::from_raw_parts(tensor.body.dims, rank) } };
    let width = match tensor.body.data_type & 0xff {
        0x08 => 1,
        0x16 => 2,
        0x64 => 8,
        _ => 4,
    };
    dims.iter().map(|size| *size as usize).product::<usize>() * width
}
