//! Converting for a runtime: adapters become inputs, the target's passes run, and the model is written.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use quad_backends::target;
use quad_ir::module::Module;
use quad_ir::text;
use quad_litert::flatbuffer;
use quad_litert::lower::{Settings as LiteRtSettings, lower};
use quad_passes::lora::expose;
use quad_passes::registry::Registry;
use serde::Serialize;

use super::super::pipeline::size;
use crate::adapters::{self, Prepared, Rank, Settings};
use crate::exit::{Failure, Outcome};
use crate::table::{bytes, counted};
use crate::targets::{TARGETS, make_legal};
use crate::{open, output, packed};

/// How a model is converted for a runtime.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The runtime that the model is for: litert.
    #[arg(long, value_name = "TARGET")]
    pub(super) target: Option<String>,
    /// How float constants are stored; a model that is quantized already says so itself.
    #[arg(long, value_enum, default_value_t = Precision::F32, requires = "target")]
    precision: Precision,
    /// An adapter that the model is to take at run time, and its name; may be given more than once. Its slots are written
    /// beside OUT, as OUT.NAME.safetensors.
    #[arg(long = "adapter", value_name = "NAME=PATH", value_parser = named, requires = "target")]
    adapters: Vec<(String, PathBuf)>,
    /// The value of a symbolic size, 1 by default; may be given more than once.
    #[arg(long = "size", value_name = "NAME=N", value_parser = size, requires = "target")]
    sizes: Vec<(String, u64)>,
    /// Also write the graph that was converted, for `quad adapter pack` to make slots of adapters that come later.
    #[arg(long, value_name = "OUT.quad", requires = "target")]
    keep: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long, requires = "target")]
    json: bool,
}

/// How float constants are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Precision {
    /// In 32 bits.
    F32,
    /// In 16 bits, widened when the model is loaded.
    F16,
}

/// Everything that the command has to say.
#[derive(Debug, Serialize)]
struct Report {
    output: PathBuf,
    target: String,
    bytes: u64,
    operators: usize,
    /// Slots of each adapter, in files.
    adapters: BTreeMap<String, PathBuf>,
    notes: Vec<String>,
}

/// Reads `NAME=PATH`.
fn named(text: &str) -> Result<(String, PathBuf), String> {
    let pair = text.split_once('=').filter(|(name, path)| !name.is_empty() && !path.is_empty());
    let (name, path) = pair.ok_or("expected a name and a path, such as style=style.safetensors")?;
    Ok((name.to_owned(), path.into()))
}

/// Converts the model at `model`.
pub(super) fn run(
    model: &Path,
    out: &Path,
    target: &str,
    options: &Options,
    registry: &Registry,
) -> Result<Outcome, Failure> {
    let target = target::find(TARGETS, target, None).map_err(Failure::input)?;
    let mut notes = Vec::new();
    let mut prepared = prepared(model, options, &mut notes)?;
    let sizes = options.sizes.iter().cloned().collect();
    make_legal(&mut prepared.module, &*target, &sizes, registry, &mut notes)?;
    let (bytes, operators) = write(&prepared.module, model, out, options)?;
    if let Some(path) = &options.keep {
        text::write_files(path, &prepared.module).map_err(Failure::input)?;
    }
    let mut adapters = BTreeMap::new();
    for (index, (name, _)) in options.adapters.iter().enumerate() {
        let filled = adapters::fill(&prepared, [(index, 1.0)]).map_err(Failure::input)?;
        if let Some(clipped) = adapters::clipped(&filled.clipping) {
            output::warning(&clipped);
        }
        let path = beside(out, name);
        packed::write(&path, &prepared.module, &filled, &format!("{name}=1")).map_err(Failure::input)?;
        adapters.insert(name.clone(), path);
    }
    let target = target.name().to_owned();
    Report { output: out.to_owned(), target, bytes, operators, adapters, notes }.print(options.json)?;
    Ok(Outcome::Done)
}

/// The model, which takes the adapters that are given.
fn prepared(model: &Path, options: &Options, notes: &mut Vec<String>) -> Result<Prepared, Failure> {
    let module = open::open(model).map_err(Failure::input)?;
    open::main_graph(&module, model).map_err(Failure::input)?;
    if options.adapters.is_empty() {
        return Ok(Prepared { module, adapters: Vec::new(), lifted: None, notes: Vec::new() });
    }
    let read =
        adapters::read(options.adapters.iter().map(|(_, path)| path), notes).map_err(Failure::input)?;
    let settings =
        Settings { rank: Rank::Largest, options: expose::Options::default(), allow_unused: &[], base: None };
    let mut prepared = adapters::prepare(module, &read, &settings).map_err(Failure::input)?;
    notes.append(&mut prepared.notes);
    Ok(prepared)
}

/// Writes the graph of `module` that runs; how many bytes and operators that are.
fn write(module: &Module, model: &Path, out: &Path, options: &Options) -> Result<(u64, usize), Failure> {
    let graph = open::main_graph(module, model).map_err(Failure::input)?;
    let digest = packed::digest(module).map_err(Failure::input)?;
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let metadata = BTreeMap::from([("quad.model".to_owned(), digest), ("quad.version".to_owned(), version)]);
    let settings = LiteRtSettings { half_weights: options.precision == Precision::F16, metadata };
    let lowered = lower(graph, &settings).map_err(Failure::input)?;
    let operators = lowered.subgraphs.iter().map(|subgraph| subgraph.operators.len()).sum();
    let bytes = flatbuffer::write_file(&lowered, out).map_err(Failure::input)?;
    Ok((bytes, operators))
}

/// The file of the slots of adapter `name`.
fn beside(out: &Path, name: &str) -> PathBuf {
    let mut file = out.file_name().map(ToOwned::to_owned).unwrap_or_default();
    file.push(format!(".{name}.safetensors"));
    out.with_file_name(file)
}

impl Report {
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
        Ok(())
    }
}
