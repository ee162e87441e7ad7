//! Checks the writer of archives against NumPy, with the Python that `QUAD_PYTHON` names; `./test.sh` sets it.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Failed, Trial};
use quad_frontends::data::npz;
use quad_ir::dtype::{ALL_DTYPES, DType};
use quad_ir::interpret::NamedTensors;
use quad_ir::tensor::Tensor;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let python = std::env::var_os("QUAD_PYTHON").map(PathBuf::from);
    let ignored = python.is_none();
    let python = python.unwrap_or_default();
    let other = python.clone();
    let trials = vec![
        Trial::test("numpy opens what is written", move || opens(&python)).with_ignored_flag(ignored),
        Trial::test("the committed archive is what numpy writes", move || writes(&other))
            .with_ignored_flag(ignored),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn script(python: &Path) -> Command {
    let mut command = Command::new(python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/python/numpy_archive.py"));
    command
}

/// NumPy sees the names, shapes and numbers that were written, in the types that `ml_dtypes` adds as well.
fn opens(python: &Path) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("written.npz");
    let tensors = samples()?;
    npz::write(&path, &tensors)?;
    let output = script(python).arg("read").arg(&path).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let seen = String::from_utf8(output.stdout)?;
    let expected: Vec<String> = tensors.iter().map(|(name, tensor)| line(name, tensor)).collect();
    let seen: Vec<&str> = seen.lines().collect();
    if seen == expected { Ok(()) } else { Err(format!("{seen:#?}\nis not\n{expected:#?}").into()) }
}

fn writes(python: &Path) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("numpy.npz");
    let status = script(python).arg("write").arg(&path).status()?;
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/arrays/numpy.npz");
    if status.success() && std::fs::read(&path)? == std::fs::read(&committed)? {
        return Ok(());
    }
    Err(format!("{} is not what the script writes", committed.display()).into())
}

/// One tensor of every type, with small numbers that all of them but one can tell.
fn samples() -> Result<NamedTensors, Failed> {
    let mut tensors = NamedTensors::new();
    for dtype in ALL_DTYPES {
        let values = [1.0, 0.0, 1.0, 1.0, 0.0, 1.0];
        // The power-of-two type has no zero.
        let values = values.map(|value: f32| if *dtype == DType::F8E8M0 { value + 1.0 } else { value });
        let tensor = if dtype.is_float() {
            Tensor::from_f32(*dtype, &[3, 2], &values)?
        } else {
            Tensor::from_i64(*dtype, &[3, 2], values.iter().map(|value| *value as i64).collect())?
        };
        tensors.insert(format!("of {dtype}"), tensor);
    }
    tensors.insert("scalar".to_owned(), Tensor::scalar(-2i32));
    tensors.insert("vector".to_owned(), Tensor::from_i64(DType::I4, &[3], vec![-8, -1, 7])?);
    Ok(tensors)
}

/// The line that the script prints for a tensor.
fn line(name: &str, tensor: &Tensor) -> String {
    let values = tensor.to_f64().unwrap_or_default();
    let elements: Vec<String> = values.iter().map(|value| format!("{value:?}")).collect();
    format!("{name}|{}|{:?}|{}", python_name(tensor.dtype()), tensor.sizes(), elements.join(" "))
}

fn python_name(dtype: DType) -> &'static str {
    match dtype {
        DType::F64 => "float64",
        DType::F32 => "float32",
        DType::F16 => "float16",
        DType::BF16 => "bfloat16",
        DType::F8E4M3FN => "float8_e4m3fn",
        DType::F8E4M3FNUZ => "float8_e4m3fnuz",
        DType::F8E5M2 => "float8_e5m2",
        DType::F8E5M2FNUZ => "float8_e5m2fnuz",
        DType::F8E8M0 => "float8_e8m0fnu",
        DType::F4E2M1 => "float4_e2m1fn",
        DType::I64 => "int64",
        DType::I32 => "int32",
        DType::I16 => "int16",
        DType::I8 => "int8",
        DType::I4 => "int4",
        DType::I2 => "int2",
        DType::U64 => "uint64",
        DType::U32 => "uint32",
        DType::U16 => "uint16",
        DType::U8 => "uint8",
        DType::U4 => "uint4",
        DType::U2 => "uint2",
        DType::Bool => "bool",
    }
}
