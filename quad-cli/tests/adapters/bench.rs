//! What the tests have in common: models, adapters, samples, and the program.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};

use quad_frontends::data::npz::{self, Archive};
use quad_frontends::data::safetensors::SafeTensorsFile;
use quad_ir::compare::{Difference, Tolerance};
use quad_ir::interpret::NamedTensors;
use quad_ir::text;
use quad_passes::context::Context;
use quad_passes::lora::hoist::HoistAdapter;
use quad_passes::lora::interface::adapter_inputs;
use quad_passes::pass::Pass;
use tempfile::TempDir;

/// Largest difference of an output from PyTorch's, relative to its largest magnitude.
pub(crate) const SINGLE_PRECISION: f64 = 1e-4;

/// A folder to work in, and the samples of one family of models.
pub(crate) struct Bench {
    folder: TempDir,
    io: PathBuf,
    files: AtomicUsize,
}

fn tiny() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/tiny")
}

pub(crate) fn models() -> PathBuf {
    tiny().join("models")
}

pub(crate) fn model(name: &str) -> PathBuf {
    models().join(name)
}

pub(crate) fn lora(name: &str) -> PathBuf {
    tiny().join("lora").join(name)
}

impl Bench {
    pub(crate) fn new(io: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self { folder, io: tiny().join("io").join(io), files: AtomicUsize::new(0) }
    }

    /// A path for a new file that ends with `name`.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        let number = self.files.fetch_add(1, Ordering::Relaxed);
        self.folder.path().join(format!("{number}.{name}"))
    }

    /// What PyTorch computed of `sample`.
    pub(crate) fn expected(&self, variant: &str, sample: &str) -> NamedTensors {
        self.with_prefix(&format!("out.{variant}.{sample}."))
    }

    pub(crate) fn inputs(&self, sample: &str) -> NamedTensors {
        self.with_prefix(&format!("in.{sample}."))
    }

    fn with_prefix(&self, prefix: &str) -> NamedTensors {
        let mut io = Archive::open(&self.io).expect("an archive");
        let names: Vec<String> =
            io.names().filter_map(|name| name.strip_prefix(prefix).map(str::to_owned)).collect();
        assert!(!names.is_empty(), "{prefix} is not in {}", self.io.display());
        let mut read = |name: String| {
            let tensor = io.read(&format!("{prefix}{name}"), None).expect("an array");
            (name, tensor)
        };
        names.into_iter().map(&mut read).collect()
    }

    /// What `quad run` computes of `sample` with `adapters`.
    #[track_caller]
    pub(crate) fn run(&self, model: &Path, adapters: &[&OsStr], sample: &str) -> NamedTensors {
        let (outputs, output) = self.start_run(model, adapters, sample, &[]);
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}, {adapters:?}: {message}", model.display());
        npz::read(&outputs).expect("an archive")
    }

    /// The message of a `quad run` that must be refused.
    #[track_caller]
    pub(crate) fn refused_run(&self, model: &Path, adapters: &[&OsStr]) -> String {
        let (_, output) = self.start_run(model, adapters, "0", &[]);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{message}");
        message
    }

    /// Runs `quad run` with `options`; where the outputs would be, and how it ended.
    pub(crate) fn start_run(
        &self,
        model: &Path,
        adapters: &[&OsStr],
        sample: &str,
        options: &[&str],
    ) -> (PathBuf, Output) {
        let (inputs, outputs) = (self.path("in.npz"), self.path("out.npz"));
        npz::write(&inputs, &self.inputs(sample)).expect("written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_quad"));
        command
            .arg("run")
            .arg(model)
            .arg("--inputs")
            .arg(inputs)
            .arg("--outputs")
            .arg(&outputs)
            .args(options);
        for adapter in adapters {
            command.arg("--adapter").arg(adapter);
        }
        let output = command.output().expect("quad starts");
        (outputs, output)
    }

    /// The model `name`, exposed for `adapters`.
    #[track_caller]
    pub(crate) fn expose(&self, name: &str, adapters: &[&str], options: &[&str]) -> PathBuf {
        let exposed = self.path("exposed.quad");
        let (model, adapters) =
            (model(name), adapters.iter().map(|adapter| lora(adapter)).collect::<Vec<_>>());
        let mut arguments: Vec<&OsStr> = vec!["lora".as_ref(), "expose".as_ref(), model.as_ref()];
        for adapter in &adapters {
            arguments.extend::<[&OsStr; 2]>(["--adapter".as_ref(), adapter.as_ref()]);
        }
        arguments.extend::<[&OsStr; 2]>(["-o".as_ref(), exposed.as_ref()]);
        arguments.extend(options.iter().map(OsStr::new));
        quad(0, &arguments);
        exposed
    }

    /// The exposed model at `path`, lowered for an NPU.
    #[track_caller]
    pub(crate) fn lower(&self, path: &Path) -> PathBuf {
        let lowered = self.path("lowered.quad");
        let arguments = ["opt".as_ref(), path.as_os_str(), "-p".as_ref(), "npu".as_ref(), "-o".as_ref()];
        quad(0, &[&arguments[..], &[lowered.as_os_str()]].concat());
        lowered
    }

    /// `adapter` packed for the model at `path`, and the digest of the graph that takes it.
    #[track_caller]
    pub(crate) fn pack(&self, path: &Path, adapter: &OsStr) -> (PathBuf, String) {
        let packed = self.path("packed.safetensors");
        let arguments = ["adapter".as_ref(), "pack".as_ref(), path.as_os_str(), adapter, "-o".as_ref()];
        let said = quad(0, &[&arguments[..], &[packed.as_os_str(), "--json".as_ref()]].concat());
        let report: serde_json::Value = serde_json::from_str(&said).expect("JSON");
        (packed, report["model"].as_str().expect("a digest").to_owned())
    }

    /// A file with `bytes`.
    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).expect("written");
        path
    }
}

/// What `quad` prints with `arguments`; it must end with `code`.
#[track_caller]
pub(crate) fn quad(code: i32, arguments: &[&OsStr]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_quad")).args(arguments).output().expect("quad starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}\nstdout:\n{out}\nstderr:\n{err}");
    // Messages are what is asked for where it fails.
    if code == 2 { err } else { out }
}

/// The tensors in the file at `path`.
pub(crate) fn tensors(path: &Path) -> NamedTensors {
    SafeTensorsFile::open(path).expect("a file").tensors().iter().cloned().collect()
}

/// The inputs of the model in text form at `path` that depend on an adapter, with their types, in order.
pub(crate) fn interface(path: &Path) -> Vec<(String, String)> {
    let module = text::read_files(path).expect("a module");
    let graph = module.main().expect("a graph that runs");
    adapter_inputs(graph)
        .map(|input| (input.name().map_or_else(String::new, ToString::to_string), input.ty().to_string()))
        .collect()
}

/// Checks that nothing in the graph that runs of the model at `path` depends on an adapter alone.
#[track_caller]
pub(crate) fn takes_slots_only(path: &Path) {
    let mut module = text::read_files(path).expect("a module");
    let mut cx = Context::default();
    HoistAdapter.run_module(&mut module, &mut cx).expect("it can be hoisted");
    assert_eq!(cx.changes(), 0, "something is left to hoist");
    let pack = module.graph("pack").expect("there is a graph that packs");
    let filled: Vec<&str> = pack.outputs().iter().map(|output| &*output.name).collect();
    let taken = interface(path);
    assert!(taken.iter().all(|(name, _)| filled.contains(&name.as_str())), "{taken:?}");
    assert_eq!(taken.len(), filled.len());
}

/// Checks that outputs are as expected, up to `allowed` of their largest magnitude.
#[track_caller]
pub(crate) fn close(found: &NamedTensors, expected: &NamedTensors, allowed: f64, what: &str) {
    assert!(found.keys().eq(expected.keys()), "{what}: {:?} and {:?}", found.keys(), expected.keys());
    for (name, expected) in expected {
        let tolerance = Tolerance { rtol: 0.0, atol: 0.0 };
        let difference = Difference::between_values(&found[name], expected, tolerance).expect("same sizes");
        let elements = expected.to_f64().expect("numbers");
        let largest = elements.into_iter().fold(0.0, |largest: f64, element| largest.max(element.abs()));
        let error = difference.max_abs / largest;
        assert!(error <= allowed, "{what}, `{name}`: off by {error:.2e}, at most {allowed:.0e}");
    }
}
