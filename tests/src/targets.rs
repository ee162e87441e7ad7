//! What fuzzing runs: each takes any bytes and must return, soon and in little memory. A refusal is fine; a panic, or a
//! promise that does not hold for what was accepted, is a fault.

use std::fs;
use std::path::Path;

use quad_frontends::adapter::{self, ReadOptions};
use quad_frontends::data::npz;
use quad_frontends::onnx;
use quad_ir::graph::Graph;
use quad_ir::interpret::{Interpreter, NamedTensors};
use quad_ir::module::Module;
use quad_ir::tensor::Tensor;
use quad_ir::text::{self, MemoryWeights, NoWeights};
use quad_ir::verify::{VerifyError, VerifyErrorKind, verify};
use tempfile::TempDir;

/// Bytes that values of a run may take: enough for every sound model that is given, and soon used up by others.
const MEMORY_LIMIT: u64 = 1 << 20;

/// The size that symbolic sizes of inputs get.
const SIZE: u64 = 2;

/// A target by name, for programs that run them all.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The name, which is also that of its folder in `fuzz/corpus`.
    pub name: &'static str,
    /// What is run.
    pub run: fn(&[u8]),
    /// Another folder of the workspace with inputs to start from.
    pub seeds: Option<&'static str>,
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "adapter_reader", run: adapter_reader, seeds: None },
    Target { name: "npz_reader", run: npz_reader, seeds: None },
    Target { name: "onnx_reader", run: onnx_reader, seeds: Some("tests/fixtures/small") },
    Target { name: "text_parser", run: text_parser, seeds: Some("tests/filetests/text") },
];

/// Reads a model; what is accepted is verified, printed and parsed back, and run on zeros.
///
/// # Panics
/// When a promise does not hold, or the system has no place for a temporary file.
pub fn onnx_reader(bytes: &[u8]) {
    in_file(bytes, |path| {
        if let Ok(module) = onnx::import(path) {
            check(&module);
        }
    });
}

/// Reads a text as [`onnx_reader`] reads a model.
///
/// # Panics
/// When a promise does not hold.
pub fn text_parser(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match text::parse(text, &NoWeights) {
        // Whether a quantization fits its type is not a matter of the parser.
        Ok(module) if module.graphs.iter().any(is_misquantized) => {}
        Ok(module) => check(&module),
        Err(error) => assert!(!error.show().to_string().is_empty()),
    }
}

/// Reads a LoRA adapter; what is accepted has factors that fit together and a scale that is a number.
///
/// # Panics
/// When a promise does not hold, or the system has no place for a temporary file.
pub fn adapter_reader(bytes: &[u8]) {
    in_file(bytes, |path| {
        let Ok(adapter) = adapter::read(path, &ReadOptions::default()) else { return };
        for site in &adapter.sites {
            let (channels_in, channels_out) = site.channels();
            assert!(channels_in > 0 && site.scale.is_finite(), "{}", site.full_name());
            assert_eq!(site.lora_b.sizes(), [channels_out, site.rank()], "{}", site.full_name());
            let (a, b) = site.absmax();
            assert!(a.is_finite() && b.is_finite(), "{}", site.full_name());
        }
    });
}

/// Reads an archive of arrays; what is accepted is written and read back.
///
/// # Panics
/// When a promise does not hold, or the system has no place for a temporary file.
pub fn npz_reader(bytes: &[u8]) {
    in_file(bytes, |path| {
        let Ok(tensors) = npz::read(path) else { return };
        npz::write(path, &tensors).expect("what was read can be written");
        assert_eq!(npz::read(path).expect("what was written can be read"), tensors);
    });
}

/// Gives `run` the path of a file with `bytes` in a folder of this thread: making a folder each time would take longer
/// than what is tested.
fn in_file(bytes: &[u8], run: impl FnOnce(&Path)) {
    thread_local! {
        static FOLDER: TempDir = tempfile::tempdir().expect("a temporary folder");
    }
    FOLDER.with(|folder| {
        let path = folder.path().join("input");
        // A file that is still mapped must not change, and so another takes its place.
        let _ = fs::remove_file(&path);
        fs::write(&path, bytes).expect("writing the input");
        run(&path);
    });
}

fn is_misquantized(graph: &Graph) -> bool {
    let is_about_quantization = |error: &VerifyError| matches!(error.kind, VerifyErrorKind::Quant { .. });
    verify(graph).is_err_and(|errors| errors.errors().iter().all(is_about_quantization))
}

/// Whether what is promised of every module holds for this one.
fn check(module: &Module) {
    let mut weights = MemoryWeights::default();
    for graph in &module.graphs {
        if let Err(errors) = verify(graph) {
            panic!("what was accepted is not sound:\n{errors}");
        }
        // A file that shrinks meanwhile is the only reason, and nobody touches it.
        weights.extend(graph.weights()).expect("the weights can be read");
    }
    let printed = text::print(module).expect("the weights can be read");
    let again = match text::parse(&printed, &weights) {
        Ok(again) => again,
        Err(error) => panic!("what was printed cannot be parsed:\n{}\n{printed}", error.show()),
    };
    let reprinted = text::print(&again).expect("the weights can be read");
    assert_eq!(printed, reprinted, "what is printed and parsed prints the same");
    for (before, after) in module.graphs.iter().zip(&again.graphs) {
        let Some(inputs) = zeros(before) else { continue };
        assert_eq!(run(before, &inputs), run(after, &inputs), "what is printed and parsed computes the same");
    }
}

/// The results within the limit, or `None` for any error.
fn run(graph: &Graph, inputs: &NamedTensors) -> Option<NamedTensors> {
    Interpreter::new(graph).with_memory_limit(MEMORY_LIMIT).run(inputs).ok()
}

/// Zeros for all inputs, when they fit in the limit.
fn zeros(graph: &Graph) -> Option<NamedTensors> {
    let mut inputs = NamedTensors::new();
    let mut left = MEMORY_LIMIT;
    for input in graph.inputs() {
        let mut elements = 1u64;
        let mut sizes = Vec::new();
        for dim in input.ty().shape.iter() {
            let size = u64::try_from(dim.expr().evaluate(&|_| Some(SIZE))?).ok()?;
            elements = elements.checked_mul(size.max(1))?;
            sizes.push(usize::try_from(size).ok()?);
        }
        left = left.checked_sub(input.ty().dtype.byte_len(elements)?)?;
        let name = input.name().map_or_else(String::new, ToString::to_string);
        inputs.insert(name, Tensor::zeros(input.ty().dtype, &sizes).ok()?);
    }
    Some(inputs)
}
