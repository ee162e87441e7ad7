//! `quad quantize`: puts a profile into effect.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::ValueEnum;
use quad_build::quantized;
use quad_frontends::onnx;
use quad_ir::graph::Graph;
use quad_ir::module::Module;
use quad_passes::check::PACK;
use quad_quantize::insert::{PROFILE, Report};
use quad_quantize::profile::Role;
use serde::Serialize;

use crate::destination::Files;
use crate::exit::{Failure, Outcome};
use crate::freezing::freeze;
use crate::frozen::{Named, named};
use crate::model::{self, Format};
use crate::table::{Align, Table, bytes, counted, grouped};
use crate::{output, packed, profiles};

/// Quantize a model as a profile says.
///
/// The model and the adapters are those that the statistics of the profile are of; another model is refused. The adapters
/// only say where the model takes one, and OUT serves every other one of the same layers: `quad adapter pack OUT.quad`
/// makes integers of it.
///
/// OUT.quad has quantized types, and `quad run` computes with its integers. With --form qdq it has the pairs of
/// `quantize_linear` and `dequantize_linear` in place of them, and computes in floats with numbers that the integers can
/// be; OUT.onnx always does. ONNX cannot hold the graph that packs adapters, so OUT.onnx is the graph @main alone: its
/// inputs for adapters take integers, the ones that `quad adapter pack` writes for the OUT.quad of the same profile, under
/// the same names.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quad quantize unet.onnx --adapter style=style.safetensors --profile unet.profile.json -o unet.quad
  quad adapter pack unet.quad style.safetensors -o style.packed.safetensors
  quad run unet.quad --adapter style.packed.safetensors --inputs in.npz --outputs out.npz
  quad quantize unet.onnx --adapter style=style.safetensors --profile unet.profile.json -o unet.onnx")]
pub(crate) struct Arguments {
    /// The model, .onnx or .quad.
    model: PathBuf,
    /// An adapter that the profile was made with. May be given several times.
    #[arg(long, value_name = "NAME=PATH", value_parser = named)]
    adapter: Vec<Named>,
    /// The profile.
    #[arg(long, value_name = "P.json")]
    profile: PathBuf,
    /// The file to write, .quad or .onnx; it appears whole or not at all.
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// How quantization is written in OUT.quad.
    #[arg(long, value_enum)]
    form: Option<QuantForm>,
    /// Sites of adapters that the model may lack, with * for any text. May be given several times.
    #[arg(long, value_name = "PATTERN")]
    allow_unused: Vec<String>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// The forms of a quantized graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum QuantForm {
    /// Values of quantized types: arithmetic with integers.
    Typed,
    /// Pairs of operations that quantize and dequantize: the simulation in floats, and what ONNX holds.
    Qdq,
}

impl QuantForm {
    fn of_graph(self) -> quantized::Form {
        match self {
            Self::Typed => quantized::Form::Typed,
            Self::Qdq => quantized::Form::Qdq,
        }
    }
}

/// Everything that the command has to say.
#[derive(Debug, Serialize)]
struct Told {
    output: PathBuf,
    form: QuantForm,
    /// A digest of the model that was written, which packed adapters name; of OUT.quad only.
    model: Option<String>,
    #[serde(flatten)]
    report: Report,
    /// Bytes of the weights of the graph that runs.
    bytes_before: u64,
    bytes_after: u64,
    /// Bytes of what an adapter fills.
    slot_bytes: u64,
    /// Whether the graph that packs adapters was left out.
    without_pack: bool,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let format = Format::of(&arguments.output).map_err(Failure::input)?;
    let form = form(format, arguments.form)?;
    let files = Files::default().reads_model(&arguments.model).reads("the profile", &arguments.profile);
    let adapters = arguments.adapter.iter().map(|adapter| &adapter.path);
    files.reads_adapters(adapters).writes([&arguments.output]).check()?;
    let mut profile = profiles::read(&arguments.profile)?;
    // Of the file, which is looked for by it, and not of what is left for ONNX.
    let hash = profile.hash();
    if format == Format::Onnx {
        let wide = quantized::keep_wide_biases(&mut profile);
        if wide > 0 {
            let wide = counted(wide, "constant");
            output::note(&format!("{wide} stay floats: ONNX does not dequantize 64 bits"));
        }
    }
    let frozen = freeze(&arguments.model, &arguments.adapter, &arguments.allow_unused)?;
    let mut module = frozen.module;
    let bytes_before = model::weight_bytes(main(&module, arguments)?);
    let report = quantized::quantize(&mut module, &frozen.digest, &profile, form.of_graph())
        .map_err(Failure::input)?;
    name_profile(&mut module, hash);
    let graph = main(&module, arguments)?;
    let mut told = Told {
        output: arguments.output.clone(),
        form,
        model: None,
        report,
        bytes_before,
        bytes_after: model::weight_bytes(graph),
        slot_bytes: slot_bytes(graph),
        without_pack: format == Format::Onnx && module.graph(PACK).is_some(),
    };
    told.warn();
    match format {
        Format::Onnx => onnx::write(graph, &arguments.output).map_err(Failure::input)?,
        Format::Text => {
            model::write(&arguments.output, format, &module, &arguments.model)?;
            // Of the file, whose weights are there: those of the module would be made again.
            let written = model::open(&arguments.output).map_err(Failure::input)?;
            told.model = Some(packed::digest(&written).map_err(Failure::input)?);
        }
    }
    told.print(arguments.json)?;
    Ok(Outcome::Done)
}

/// The form that is written.
fn form(format: Format, given: Option<QuantForm>) -> Result<QuantForm, Failure> {
    match (format, given) {
        (Format::Onnx, Some(QuantForm::Typed)) => Err(Failure::message(
            "--form typed: ONNX has no quantized types; OUT.onnx has pairs of QuantizeLinear and DequantizeLinear, \
             `--form qdq`",
        )),
        (Format::Onnx, _) => Ok(QuantForm::Qdq),
        (Format::Text, given) => Ok(given.unwrap_or(QuantForm::Typed)),
    }
}

fn main<'m>(module: &'m Module, arguments: &Arguments) -> Result<&'m Graph, Failure> {
    model::main_graph(module, &arguments.model).map_err(Failure::input)
}

/// Lets the graph of `module` that runs say that it was quantized as the profile with this hash says.
fn name_profile(module: &mut Module, hash: String) {
    let name = module.main().map(|main| main.name().clone());
    if let Some(main) = module.graphs.iter_mut().find(|graph| Some(graph.name()) == name.as_ref()) {
        main.metadata_mut().insert(PROFILE.to_owned(), hash);
    }
}

/// Bytes of all inputs of `graph` that an adapter fills.
fn slot_bytes(graph: &Graph) -> u64 {
    quad_passes::lora::interface::adapter_inputs(graph).filter_map(|slot| slot.ty().byte_len()).sum()
}

impl Told {
    /// Tells what the profile and the graph do not agree in.
    fn warn(&self) {
        for said in quantized::disagreements(&self.report) {
            output::warning(&said);
        }
    }

    fn print(&self, json: bool) -> Result<(), Failure> {
        let out = &mut output::stdout();
        if json {
            output::json(out, self)?;
            return Ok(());
        }
        self.print_counts(out)?;
        let saved = self.bytes_before as f64 / self.bytes_after.max(1) as f64;
        writeln!(
            out,
            "weights: {} before, {} after, {saved:.2} times smaller; slots: {}",
            bytes(self.bytes_before),
            bytes(self.bytes_after),
            bytes(self.slot_bytes)
        )?;
        if self.without_pack {
            writeln!(
                out,
                "@main alone, as ONNX holds one graph: `quad adapter pack` of the OUT.quad of this profile packs adapters"
            )?;
        }
        if let Some(model) = &self.model {
            writeln!(out, "model {model}")?;
        }
        writeln!(out, "written to {}", self.output.display())?;
        Ok(())
    }

    /// A table of how many values are quantized and how many stay floats, by what they are and by operation.
    fn print_counts(&self, out: &mut dyn Write) -> io::Result<()> {
        use Align::{Left, Right};
        let mut counts: BTreeMap<(Role, &str), [usize; 2]> = BTreeMap::new();
        for (role, ops) in &self.report.quantized {
            for (op, count) in ops {
                counts.entry((*role, op)).or_default()[0] += count;
            }
        }
        for value in &self.report.float {
            counts.entry((value.role, &value.op)).or_default()[1] += 1;
        }
        let mut table = Table::new(&[Left, Left, Right, Right]);
        table.row(["", "operation", "quantized", "float"]);
        for ((role, op), [quantized, float]) in counts {
            let role = match role {
                Role::Activation => "result of",
                Role::Weight | Role::Bias => "constant of",
                Role::Slot => "slot of",
            };
            table.row([role.to_owned(), op.to_owned(), grouped(quantized as u64), grouped(float as u64)]);
        }
        table.print("", out)
    }
}
