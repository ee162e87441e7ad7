//! `quad run`: computes a model's outputs with the reference interpreter.

mod adapters;
mod kernels;
mod qnn;

use std::path::{Path, PathBuf};
use std::time::Instant;

use quad_build::limits::default_limit;
use quad_frontends::data::{npz, pb};
use quad_ir::dtype::DType;
use quad_ir::graph::{Graph, ValueRef};
use quad_ir::interpret::{Interpreter, NamedTensors, NamedTypes, RunError};
use quad_passes::registry::Registry;

use crate::adapters::{Given, given};
use crate::destination::Files;
use crate::exit::{Failure, Outcome};
use crate::progress::Progress;
use crate::{model, output, samples, table};
use adapters::Bound;
use kernels::Runtime;

/// Compute a model's outputs with the reference interpreter.
///
/// Inputs are a NumPy archive whose arrays are named after the model's inputs, or a folder with one ONNX tensor to a
/// file, `input_0.pb`, `input_1.pb`, .., taken by the names in them or else in order. Every input must be there with
/// the right element type and sizes, and nothing else. Types that NumPy lacks, such as bfloat16, are archived as
/// records of one field named after the type; `array.view(ml_dtypes.bfloat16)` reads them.
///
/// Adapters are LoRA files or folders of any common dialect. The layers that they are for get a branch beside them whose
/// weights are inputs, unless the model is one that `quad lora expose` made, or an adapter was exported with it, which the
/// ones given take the place of. Several adapters are added up. A model that takes adapters runs without one as its base.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quad run unet.onnx --inputs inputs.npz --outputs outputs.npz
  quad run model.onnx --inputs test_data_set_0 --outputs outputs.npz --max-memory 8G --time
  quad run unet.onnx --adapter style.safetensors --inputs inputs.npz --outputs outputs.npz
  quad run unet.quad --adapter a.safetensors=0.7 --adapter b/=0.3 --inputs inputs.npz --outputs outputs.npz
  quad run quantized.quad --kernels litert --inputs inputs.npz --outputs outputs.npz
  quad run quantized.onnx --kernels onnxruntime --inputs inputs.npz --outputs outputs.npz")]
pub(crate) struct Arguments {
    /// The model, .onnx or .quad, or a folder that `quad convert --target qnn` wrote.
    model: PathBuf,
    /// Archive (.npz) or folder (input_<n>.pb) with the inputs.
    #[arg(long, value_name = "IN.npz|DIR")]
    inputs: PathBuf,
    /// Archive to write the outputs to; it appears whole or not at all.
    #[arg(long, value_name = "OUT.npz")]
    outputs: PathBuf,
    /// An adapter, and what its change is multiplied with; 1 where nothing is said. May be given several times.
    #[arg(long, value_name = "PATH[=STRENGTH]", value_parser = given)]
    adapter: Vec<Given>,
    /// Sites of adapters that the model may lack, with * for any text. May be given several times.
    #[arg(long, value_name = "PATTERN")]
    allow_unused: Vec<String>,
    /// The checkpoint that the model was exported from, to tell layers by the content of their weights too.
    #[arg(long, value_name = "BASE.safetensors", requires = "adapter")]
    base: Option<PathBuf>,
    /// Memory that computed values may take at a time, such as 500M or 8G; inputs and weights do not count. By
    /// default 256M and 32 times the bytes of weights and inputs.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_memory: Option<u64>,
    /// Compute as the kernels of this runtime do, to the bit.
    #[arg(long, value_enum, value_name = "RUNTIME")]
    kernels: Option<Runtime>,
    /// The folder of Qualcomm's QNN libraries, for a folder that `quad convert --target qnn` wrote.
    #[arg(long, value_name = "FOLDER")]
    qnn_libs: Option<PathBuf>,
    /// Print how long reading and running took.
    #[arg(long)]
    time: bool,
}

/// A run did not finish.
#[derive(Debug, thiserror::Error)]
enum RunFailure {
    #[error("`{}` could not be run", path.display())]
    Run { path: PathBuf, source: RunError },
    #[error(
        "`{}` could not be run; if the model is right, allow it more than {} with --max-memory",
        path.display(),
        table::bytes(*limit)
    )]
    Memory { path: PathBuf, limit: u64, source: RunError },
    #[error("`{}` does not hold what `{}` takes{advice}", inputs.display(), path.display())]
    Inputs { path: PathBuf, inputs: PathBuf, advice: String, source: RunError },
    #[error("`{}` holds {found} tensors, `{}` takes {expected} inputs", inputs.display(), path.display())]
    Count { path: PathBuf, inputs: PathBuf, found: usize, expected: usize },
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments, registry: &Registry) -> Result<Outcome, Failure> {
    let files = Files::default().reads_model(&arguments.model).reads("the inputs", &arguments.inputs);
    let files = files.reads_adapters(arguments.adapter.iter().map(|given| &given.path));
    files
        .reads_given("the checkpoint", arguments.base.as_ref())
        .writes_as([&arguments.outputs], &["npz"])
        .check()?;
    if qnn::is_package(&arguments.model) {
        if arguments.kernels.is_some() {
            let why =
                "--kernels is for graphs, and the folder has a model for the simulator of another runtime";
            return Err(Failure::message(format!("`{}`: {why}", arguments.model.display())));
        }
        return qnn::run(arguments);
    }
    let started = Instant::now();
    let module = model::open(&arguments.model).map_err(Failure::input)?;
    let base = arguments.base.as_deref();
    let Bound { mut module, slots, mut notes } =
        adapters::bind(module, &arguments.adapter, &arguments.allow_unused, base)?;
    if let Some(runtime) = arguments.kernels {
        runtime.prepare(&mut module, registry, &mut notes)?;
    }
    for note in notes {
        output::note(&note);
    }
    let graph = model::main_graph(&module, &arguments.model).map_err(Failure::input)?;
    let inputs = read_inputs(graph, slots, arguments)?;
    let read = started.elapsed();
    let limit = arguments.max_memory.unwrap_or_else(|| default_limit(graph, &inputs));
    let outputs = {
        let progress = Progress::new("running");
        let set = |done, total| progress.set(done, total);
        let interpreter = Interpreter::new(graph).with_memory_limit(limit).with_progress(&set);
        match arguments.kernels {
            Some(runtime) => interpreter.with_kernels(runtime.kernels()).run(&inputs),
            None => interpreter.run(&inputs),
        }
    };
    let path = arguments.model.clone();
    let outputs = outputs.map_err(|source| {
        Failure::input(match source {
            RunError::Memory { .. } => RunFailure::Memory { path, limit, source },
            source => RunFailure::Run { path, source },
        })
    })?;
    let ran = started.elapsed().saturating_sub(read);
    npz::write(&arguments.outputs, &outputs).map_err(Failure::input)?;
    report(arguments, &outputs, read.as_secs_f64(), ran.as_secs_f64())
}

fn report(arguments: &Arguments, outputs: &NamedTensors, read: f64, ran: f64) -> Result<Outcome, Failure> {
    use std::io::Write;
    let out = &mut output::stdout();
    for (name, tensor) in outputs {
        writeln!(out, "{name}: {}", tensor.ty())?;
    }
    writeln!(out, "written to {}", arguments.outputs.display())?;
    if arguments.time {
        writeln!(out, "read in {read:.2} s, run in {ran:.2} s")?;
    }
    Ok(Outcome::Done)
}

/// The inputs that the caller gives, and `slots` for those that an adapter gives.
fn read_inputs(graph: &Graph, slots: NamedTensors, arguments: &Arguments) -> Result<NamedTensors, Failure> {
    if arguments.inputs.is_dir() {
        return read_folder(graph, slots, arguments);
    }
    let mut archive = npz::Archive::open(&arguments.inputs).map_err(Failure::input)?;
    let expected: Vec<(String, Option<DType>)> =
        archive.names().map(|name| (name.to_owned(), input_dtype(graph, name))).collect();
    // Types first: an archive that does not fit is refused before its contents are unpacked.
    let mut types: NamedTypes = slots.iter().map(|(name, tensor)| (name.clone(), tensor.ty())).collect();
    for (name, dtype) in &expected {
        types.insert(name.clone(), archive.ty(name, *dtype).map_err(Failure::input)?);
    }
    check(graph, &types, &arguments.inputs, &arguments.model)?;
    let mut inputs = slots;
    for (name, dtype) in expected {
        let tensor = archive.read(&name, dtype).map_err(Failure::input)?;
        inputs.insert(name, tensor);
    }
    Ok(inputs)
}

fn read_folder(graph: &Graph, slots: NamedTensors, arguments: &Arguments) -> Result<NamedTensors, Failure> {
    let tensors = pb::read_series(&arguments.inputs, "input").map_err(Failure::input)?;
    let names: Vec<String> =
        graph.inputs().map(input_name).filter(|name| !slots.contains_key(name)).collect();
    let (found, expected) = (tensors.len(), names.len());
    let mut inputs = pb::by_name(tensors, &names).ok_or_else(|| {
        let (path, inputs) = (arguments.model.clone(), arguments.inputs.clone());
        Failure::input(RunFailure::Count { path, inputs, found, expected })
    })?;
    inputs.extend(slots);
    let types = inputs.iter().map(|(name, tensor)| (name.clone(), tensor.ty())).collect();
    check(graph, &types, &arguments.inputs, &arguments.model)?;
    Ok(inputs)
}

fn check(graph: &Graph, types: &NamedTypes, inputs: &Path, path: &Path) -> Result<(), Failure> {
    Interpreter::new(graph).check_inputs(types).map_err(|source| {
        let advice = match &source {
            RunError::InputType { name, .. } => types
                .get(&**name)
                .zip(input_dtype(graph, name))
                .map_or_else(String::new, |(found, expected)| samples::advice(found.dtype, expected)),
            _ => String::new(),
        };
        let (path, inputs) = (path.to_owned(), inputs.to_owned());
        Failure::input(RunFailure::Inputs { path, inputs, advice, source })
    })
}

fn input_name(input: ValueRef<'_>) -> String {
    input.name().map_or_else(String::new, ToString::to_string)
}

fn input_dtype(graph: &Graph, name: &str) -> Option<DType> {
    graph.inputs().find(|input| input_name(*input) == name).map(|input| input.ty().dtype)
}

/// Reads a number of bytes: digits, and perhaps K, M, G or T for powers of 1024.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let shift = match text[digits.len()..].trim_end_matches(['B', 'b', 'i']).trim() {
        "" => 0,
        "K" | "k" => 10,
        "M" | "m" => 20,
        "G" | "g" => 30,
        "T" | "t" => 40,
        _ => return Err("expected a number of bytes, such as 500M or 8G".to_owned()),
    };
    let number: u64 =
        digits.parse().map_err(|_| "expected a number of bytes, such as 500M or 8G".to_owned())?;
    number.checked_mul(1 << shift).ok_or_else(|| "is more than any machine has".to_owned())
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_have_units() {
        assert_eq!(size("12"), Ok(12));
        assert_eq!(size("500M"), Ok(500 << 20));
        assert_eq!(size("8GiB"), Ok(8 << 30));
        assert_eq!(size("1 k"), Ok(1024));
        for wrong in ["", "M", "-1", "8X", "1.5G", "99999999999999999999", "16777216T"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
