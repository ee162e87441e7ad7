//! Operations in ONNX Runtime's provider for QNN, as the ONNX models have them that are written of lowered graphs: beside what
//! ONNX Runtime computes on the CPU.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::Failed;
use quad_frontends::data::npz;
use quad_frontends::onnx;
use quad_ir::interpret::NamedTensors;
use quad_qnn::raise::{Form, raise};
use quad_qnn::table::{Setting, lower};

use super::cases::{self, Case};
use super::{Sheet, WIDTHS};
use crate::support::{SOCS, soc};

/// Steps between the two where it is more than one.
const FARTHER: &[(&str, f64)] = &[
    // The tensor processor itself is 1.6 steps off, and the CPU half a step.
    ("conv, by channel", 2.0),
    // Three operations, each a step, of which the first is multiplied.
    ("group_norm", 4.0),
    ("group_norm, few places", 4.0),
];

/// What the provider computes otherwise with activations of 16 bits, and why. One that comes out the same is an error, so
/// that nothing is excused for longer than it needs to be.
const EXCUSED: &[(&str, &str)] = &[(
    "resize, linear",
    "the provider makes another operation of it than lowering does, which is less exact",
)];

/// The Python that has the provider, if there is one.
pub(crate) fn python() -> Option<PathBuf> {
    let python = PathBuf::from(std::env::var_os("QUAD_PYTHON")?);
    let find = "import importlib.util as u, sys; sys.exit(u.find_spec('onnxruntime_qnn') is None)";
    let found = Command::new(&python).args(["-c", find]).status().is_ok_and(|status| status.success());
    found.then_some(python)
}

/// Linear operations come out of the provider as of the CPU, give or take a step.
pub(crate) fn linear_operations_are_those_of_the_cpu(python: &Path) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let mut wrong = String::new();
    for width in WIDTHS {
        let is_linear = |case: &Case| case.is_for(width) && case.is_linear(width);
        let cases: Vec<Case> = cases::all().into_iter().filter(is_linear).collect();
        let sheet = Sheet::new(width, &cases)?;
        let lowered = lower(&sheet.stored, Setting { soc: soc(SOCS[2]) })?;
        let raised = raise(&lowered.graph, Form::Qdq, &BTreeSet::new())?;
        let (model, inputs) = (folder.path().join("model.onnx"), folder.path().join("in.npz"));
        onnx::write(&raised.graph, &model)?;
        npz::write(&inputs, &sheet.inputs)?;
        let run = |script: &str, more: &[&str]| -> Result<NamedTensors, Failed> {
            let outputs = folder.path().join("out.npz");
            let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/python");
            let mut command = Command::new(python);
            command.arg(scripts.join(script)).arg(&model).args(more).args([&inputs, &outputs]);
            let output = command.output()?;
            if !output.status.success() {
                return Err(format!("{script}: {}", String::from_utf8_lossy(&output.stderr)).into());
            }
            Ok(npz::read(&outputs)?)
        };
        let cpu = run("run_onnxruntime.py", &[])?;
        let provider = run("run_qnn_provider.py", &["69"])?;
        for (name, cpu) in cpu {
            let (cpu, provider) = (cpu.to_f64()?, provider[&name].to_f64()?);
            let off = cpu.iter().zip(&provider).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            let most = FARTHER.iter().find(|(case, _)| *case == name).map_or(1.0, |(_, most)| *most);
            let excuse = EXCUSED.iter().find(|(case, _)| *case == name && width == 16);
            if let (Some((_, why)), true) = (excuse, off <= most) {
                writeln!(wrong, "{name}, {width} bits: the same, though `{why}`")?;
            } else if excuse.is_none() && off > most {
                writeln!(wrong, "{name}, {width} bits: {off} steps apart, at most {most}")?;
            }
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.into()) }
}
