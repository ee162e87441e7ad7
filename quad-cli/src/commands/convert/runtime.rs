//! Converting for a runtime: adapters become inputs, the target's passes run, and the model is written.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::ValueEnum;
use quad_backends::target::{self, Target, TargetInfo};
use quad_build::emit::{self, litert};
use quad_ir::graph::Graph;
use quad_ir::text;
use quad_litert::target::{LITERT, TARGETS};
use quad_passes::lora::expose;
use quad_passes::registry::Registry;
use quad_qnn::target::QNN;
use serde::Serialize;

use super::super::pipeline::size;
use super::quantizing::{self, Quantizing, Stored};
use crate::adapters::{self, Prepared, Rank, Settings};
use crate::destination::Files;
use crate::exit::{Failure, Outcome};
use crate::frozen::{Named, named};
use crate::table::{bytes, counted};
use crate::targets::{make_legal, tabulate_timesteps};
use crate::{model, output, packed};

/// How a model is converted for a runtime.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The runtime that the model is for: litert, one of those whose compilers take its models, neuropilot, exynos and
    /// litert-qualcomm, or qnn.
    #[arg(long, value_name = "TARGET")]
    pub(super) target: Option<String>,
    /// The generation of hardware, where the target knows several; the newest unless given. For qnn it is the chip, by part
    /// or number, such as SM8750 or 69, and must be given.
    #[arg(long, visible_alias = "soc", value_name = "ARCH", requires = "target")]
    pub(super) arch: Option<String>,
    /// The folder of Qualcomm's QNN libraries; by default they are looked for in `QNN_LIB_DIR`, in `QNN_SDK_ROOT` and in the
    /// Python package onnxruntime-qnn.
    #[arg(long, value_name = "FOLDER", requires = "target")]
    pub(super) qnn_libs: Option<PathBuf>,
    /// Write the model even where the target's compiler leaves nodes to another processor.
    #[arg(long, requires = "target")]
    partial: bool,
    /// Types of inputs and outputs: as they are, or 64-bit integers in 32 bits, which is what compilers for NPUs take and
    /// what is done for them, or those inside of the model.
    #[arg(long, value_enum, requires = "target")]
    io_types: Option<IoTypes>,
    /// Where channels of images that are passed in and given back lie.
    #[arg(long, value_enum, default_value_t = IoLayout::Keep, requires = "target")]
    io_layout: IoLayout,
    /// How the model is stored: f32 or f16 for constants of floats, or bits of weights, activations and slots, such as w8a16,
    /// which takes --stats or --profile. What is quantized already stays as it is.
    #[arg(long, value_name = "PRECISION", default_value = "f32", value_parser = Stored::from_str, requires = "target")]
    precision: Stored,
    #[command(flatten)]
    quantizing: Quantizing,
    /// Timesteps are whole numbers below N: sines and cosines of them are looked up in a table, exact in 16-bit floats, too.
    #[arg(long, value_name = "N", requires = "target")]
    timesteps: Option<u64>,
    /// An adapter that the model is to take at run time, and its name; may be given more than once. Its slots are written
    /// beside OUT, as OUT.NAME.safetensors.
    #[arg(long = "adapter", value_name = "NAME=PATH", value_parser = named, requires = "target")]
    pub(super) adapters: Vec<Named>,
    /// The value of a symbolic size, 1 by default; may be given more than once.
    #[arg(long = "size", value_name = "NAME=N", value_parser = size, requires = "target")]
    pub(super) sizes: Vec<(String, u64)>,
    /// Also write the graph that was converted, for `quad adapter pack` to make slots of adapters that come later.
    #[arg(long, value_name = "OUT.quad", requires = "target")]
    pub(super) keep: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long, requires = "target")]
    pub(super) json: bool,
}

/// Types of inputs and outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum IoTypes {
    /// As they are.
    Keep,
    /// 64-bit integers in 32 bits, where all that reads them takes either.
    I32,
    /// As `i32`, and what is stored integers inside is so at the border, too.
    Quantized,
}

/// Where channels lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum IoLayout {
    /// Where they are in the model.
    Keep,
    /// After all other axes.
    Nhwc,
}

/// Everything that the command has to say.
#[derive(Debug, Serialize)]
struct Written {
    output: PathBuf,
    target: String,
    bytes: u64,
    operators: usize,
    /// Slots of each adapter, in files.
    adapters: BTreeMap<String, PathBuf>,
    /// The command that compiles the model for the target, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    notes: Vec<String>,
}

/// Converts the model at `model`.
pub(super) fn run(
    model: &Path,
    out: &Path,
    target: &str,
    options: &Options,
    registry: &Registry,
) -> Result<Outcome, Failure> {
    if target == QNN.name {
        // Those that a folder has already; nothing else of its files is an input.
        let slots = options.adapters.iter().map(|adapter| out.join(format!("{}.safetensors", adapter.name)));
        let slots: Vec<PathBuf> = slots.filter(|path| path.exists()).collect();
        options.files(model).writes(&options.keep).writes(&slots).check()?;
        return super::qnn::run(model, out, options, registry);
    }
    let target = target::find(&TARGETS, target, options.arch.as_deref()).map_err(Failure::input)?;
    let slots: Vec<PathBuf> = options.adapters.iter().map(|adapter| beside(out, &adapter.name)).collect();
    options.files(model).writes([&out.to_owned()]).writes(&options.keep).writes(&slots).check()?;
    let mut notes = Vec::new();
    let info = target::info(&TARGETS, target.name()).map_err(Failure::input)?;
    let mut prepared = prepared(model, options, info, registry, &mut notes)?;
    let sizes = options.sizes.iter().cloned().collect();
    make_legal(&mut prepared.module, &*target, &sizes, registry, &mut notes)?;
    let graph = model::main_graph(&prepared.module, model).map_err(Failure::input)?;
    check(graph, &*target, options, &mut notes)?;
    let litert::Written { bytes, operators } =
        litert::write(out, &prepared.module, &*target, &options.emission()).map_err(Failure::input)?;
    if let Some(path) = &options.keep {
        text::write_files(path, &prepared.module).map_err(Failure::input)?;
    }
    let mut adapters = BTreeMap::new();
    for (index, Named { name, .. }) in options.adapters.iter().enumerate() {
        let path = beside(out, name);
        write_slots(&path, &prepared, index, name)?;
        adapters.insert(name.clone(), path);
    }
    let next = litert::compile_command(&*target, options.arch.as_deref(), out);
    let target = target.name().to_owned();
    Written { output: out.to_owned(), target, bytes, operators, adapters, next, notes }
        .print(options.json)?;
    Ok(Outcome::Done)
}

/// Writes what the model takes for adapter `index`, called `name`, and warns of what is cut off.
pub(super) fn write_slots(path: &Path, prepared: &Prepared, index: usize, name: &str) -> Result<(), Failure> {
    let filled = adapters::fill(prepared, [(index, 1.0)]).map_err(Failure::input)?;
    if let Some(clipped) = adapters::clipped(&filled.clipping) {
        output::warning(&clipped);
    }
    packed::write(path, &prepared.module, &filled, &format!("{name}=1")).map_err(Failure::input)
}

/// The model, quantized for `target` where that is asked for, which takes the adapters that are given.
pub(super) fn prepared(
    model: &Path,
    options: &Options,
    target: &TargetInfo,
    registry: &Registry,
    notes: &mut Vec<String>,
) -> Result<Prepared, Failure> {
    let Options { adapters: given, quantizing, precision, .. } = options;
    let mut module = match quantizing::quantized(model, given, quantizing, *precision, target)? {
        Some(module) => module,
        None => model::open(model).map_err(Failure::input)?,
    };
    model::main_graph(&module, model).map_err(Failure::input)?;
    if let Some(steps) = options.timesteps {
        let found = tabulate_timesteps(&mut module, steps, registry).map_err(Failure::input)?;
        notes.push(format!(
            "{} looked up, for whole timesteps from 0 to {}",
            counted(found, "sine"),
            steps - 1
        ));
    }
    if options.adapters.is_empty() {
        return Ok(Prepared { module, adapters: Vec::new(), lifted: None, notes: Vec::new() });
    }
    let read = adapters::read(options.adapters.iter().map(|adapter| &adapter.path), notes)
        .map_err(Failure::input)?;
    let settings =
        Settings { rank: Rank::Largest, options: expose::Options::default(), allow_unused: &[], base: None };
    let mut prepared = adapters::prepare(module, &read, &settings).map_err(Failure::input)?;
    notes.append(&mut prepared.notes);
    Ok(prepared)
}

/// Refuses what the target's compiler does not take, unless it was asked for.
fn check(
    graph: &Graph,
    target: &dyn Target,
    options: &Options,
    notes: &mut Vec<String>,
) -> Result<(), Failure> {
    // Of the runtime itself, writing says what it does not take.
    let said = if target.name() == LITERT.name { None } else { emit::left_out(graph, target) };
    match said {
        None => {}
        Some(said) if options.partial => notes.push(said),
        Some(said) => {
            return Err(Failure::message(format!(
                "{said}\n--partial writes the model nevertheless, and leaves these nodes to another processor"
            )));
        }
    }
    Ok(())
}

impl Options {
    /// What is read.
    fn files(&self, model: &Path) -> Files {
        let adapters = self.adapters.iter().map(|adapter| &adapter.path);
        self.quantizing.files(Files::default().reads_model(model).reads_adapters(adapters))
    }

    /// How the model is written.
    fn emission(&self) -> litert::Options {
        litert::Options {
            half_weights: self.precision == Stored::Half,
            io_types: self.io_types.map(IoTypes::wanted),
            channels_last: self.io_layout == IoLayout::Nhwc,
        }
    }
}

impl IoTypes {
    fn wanted(self) -> litert::IoTypes {
        match self {
            Self::Keep => litert::IoTypes::Keep,
            Self::I32 => litert::IoTypes::I32,
            Self::Quantized => litert::IoTypes::Quantized,
        }
    }
}

/// The file of the slots of adapter `name`.
fn beside(out: &Path, name: &str) -> PathBuf {
    let mut file = out.file_name().map(ToOwned::to_owned).unwrap_or_default();
    file.push(format!(".{name}.safetensors"));
    out.with_file_name(file)
}

impl Written {
    fn print(&self, json: bool) -> Result<(), Failure> {
        let out = &mut output::stdout();
        if json {
            output::json(out, self)?;
            return Ok(());
        }
        self.notes.iter().for_each(|note| output::note(note));
        writeln!(out, "{} in {}", counted(self.operators, "operator"), bytes(self.bytes))?;
        writeln!(out, "written to {}", self.output.display())?;
        for (name, path) in &self.adapters {
            writeln!(out, "slots of {name} written to {}", path.display())?;
        }
        if let Some(next) = &self.next {
            writeln!(out, "next: {next}")?;
        }
        Ok(())
    }
}
