//! What the tests share: running the program, and the files that it writes.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use libtest_mimic::Failed;
use quad_frontends::data::npz;
use quad_ir::dtype::DType;
use quad_ir::interpret::NamedTensors;
use quad_ir::tensor::Tensor;
use quad_qnn::emit::package::{FILE, Package};
use quad_qnn::native::{Launcher, Native, Places};

pub(crate) fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

/// Runs the program; `hidden` takes the places away that have the libraries.
pub(crate) fn start(arguments: &[OsString], hidden: bool) -> Result<Output, Failed> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quad"));
    command.args(arguments);
    if hidden {
        command.env_remove("QNN_LIB_DIR").env_remove("QNN_SDK_ROOT").env("QUAD_PYTHON", "/no/such/python");
    }
    Ok(command.output()?)
}

/// Runs the program, which must do its work, and gives what it says.
pub(crate) fn quad(arguments: &[OsString]) -> Result<String, Failed> {
    let output = start(arguments, false)?;
    if !output.status.success() {
        return Err(format!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What `model`, a graph or a converted folder, makes of `inputs` with an adapter.
pub(crate) fn run(
    model: &Path,
    adapter: Option<&Path>,
    inputs: &NamedTensors,
) -> Result<NamedTensors, Failed> {
    let folder = tempfile::tempdir()?;
    let (given, made) = (folder.path().join("in.npz"), folder.path().join("out.npz"));
    npz::write(&given, inputs)?;
    let mut arguments: Vec<OsString> = vec!["run".into(), model.into(), "--inputs".into(), given.into()];
    arguments.extend(adapter.into_iter().flat_map(|adapter| ["--adapter".into(), adapter.into()]));
    arguments.extend(["--outputs".into(), made.clone().into()]);
    quad(&arguments)?;
    Ok(npz::read(&made)?)
}

/// The libraries, called through the program.
pub(crate) fn native() -> Result<Native, Failed> {
    let launcher = Launcher { program: env!("CARGO_BIN_EXE_quad").into(), arguments: words(&["qnn-native"]) };
    Ok(Native { libraries: Places::from_environment(None).find()?, launcher })
}

/// The page of a converted model.
pub(crate) fn page(package: &Path) -> Result<Package, Failed> {
    Ok(serde_json::from_str(&std::fs::read_to_string(package.join(FILE))?)?)
}

/// Tensors of the IR in the types and sizes of QNN, which the ONNX models beside the page have, too.
pub(crate) fn as_qnn(page: &Package, tensors: &NamedTensors) -> Result<NamedTensors, Failed> {
    let mut made = NamedTensors::new();
    for ((name, bytes), port) in page.stored(tensors)?.into_iter().zip(&page.inputs) {
        let dtype = match port.element.parse()? {
            DType::I64 => DType::I32,
            dtype => dtype,
        };
        let sizes: Vec<usize> = port.dims.iter().map(|size| *size as usize).collect();
        made.insert(name, Tensor::new(dtype, &sizes, bytes.into())?);
    }
    Ok(made)
}

/// Who runs an ONNX model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runtime {
    /// ONNX Runtime's provider for QNN, and nothing beside it.
    Provider,
    /// ONNX Runtime on the CPU.
    Cpu,
}

/// What ONNX Runtime makes of each of `all`.
pub(crate) fn onnxruntime(
    runtime: Runtime,
    model: &Path,
    all: &[NamedTensors],
) -> Result<Vec<NamedTensors>, Failed> {
    let folder = tempfile::tempdir()?;
    let script = match runtime {
        Runtime::Provider => "run_qnn_provider.py",
        Runtime::Cpu => "run_onnxruntime.py",
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/python").join(script);
    let mut command = Command::new(crate::provider().ok_or("a Python with the provider")?);
    command.arg(script).arg(model).args((runtime == Runtime::Provider).then_some(crate::SOC));
    let mut written: Vec<PathBuf> = Vec::new();
    for (index, inputs) in all.iter().enumerate() {
        let [given, made] = ["in", "out"].map(|what| folder.path().join(format!("{what}.{index}.npz")));
        npz::write(&given, inputs)?;
        command.args([&given, &made]);
        written.push(made);
    }
    let output = command.output()?;
    if !output.status.success() {
        return Err(format!("{runtime:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    written.iter().map(|made| Ok(npz::read(made)?)).collect()
}

/// The largest difference.
pub(crate) fn apart(a: &Tensor, b: &Tensor) -> Result<f64, Failed> {
    let (a, b) = (a.to_f64()?, b.to_f64()?);
    if a.len() != b.len() {
        return Err(format!("{} elements and {}", a.len(), b.len()).into());
    }
    Ok(a.iter().zip(b.iter()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max))
}
