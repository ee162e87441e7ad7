//! `quad adapter pack`: makes of adapters what one model takes.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use quad_passes::lora::expose::Options;
use quad_passes::lora::interface::Interface;
use serde::Serialize;

use crate::adapters::{self, AdapterFailure, Given, Rank, Settings, given};
use crate::destination::Files;
use crate::exit::{Failure, Outcome};
use crate::table::counted;
use crate::{model, output, packed};

/// Make of adapters what one model takes.
///
/// The model is one that `quad lora expose` made, perhaps lowered and quantized since; its graph @pack does the work. The
/// file has one tensor for each input of the model that depends on an adapter, and names the model that it is for.
/// Several adapters are added up, as far as the model's rank allows; without any, the file has what makes the model its
/// base.
///
/// A quantized model stores integers in its slots. What of an adapter is beyond their range is cut off, with a warning
/// that names the slots; the file notes which part of each. With --strict the exit code is 1 then, and no file is written.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quad adapter pack unet.quad style.safetensors -o style.packed.safetensors
  quad adapter pack unet.quad a.safetensors=0.7 b/=0.3 -o both.safetensors
  quad run unet.quad --adapter both.safetensors --inputs inputs.npz --outputs outputs.npz")]
pub(crate) struct Arguments {
    /// The model, .quad.
    model: PathBuf,
    /// Adapters, each with what its change is multiplied with; 1 where nothing is said.
    #[arg(value_name = "PATH[=STRENGTH]", value_parser = given)]
    adapters: Vec<Given>,
    /// The file to write; it appears whole or not at all.
    #[arg(short, long, value_name = "OUT.safetensors")]
    output: PathBuf,
    /// Sites of adapters that the model may lack, with * for any text. May be given several times.
    #[arg(long, value_name = "PATTERN")]
    allow_unused: Vec<String>,
    /// Write nothing when a quantized slot cannot hold what the adapter has, which is cut off otherwise.
    #[arg(long)]
    strict: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Everything that the command has to say.
#[derive(Debug, Serialize)]
struct Report {
    output: PathBuf,
    /// A digest of the model that the file is for.
    model: String,
    slots: usize,
    bytes: usize,
    /// Which part of each slot was cut off; slots that are whole are left out.
    clipped: BTreeMap<String, f64>,
    /// Whether the file was written.
    written: bool,
    notes: Vec<String>,
}

/// Runs the command.
pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let paths = arguments.adapters.iter().map(|given| &given.path);
    let files = Files::default().reads_model(&arguments.model).reads_adapters(paths);
    files.writes([&arguments.output]).check()?;
    let module = model::open(&arguments.model).map_err(Failure::input)?;
    if Interface::of(&module).map_err(Failure::input)?.sites.is_empty() {
        return Err(Failure::input(AdapterFailure::NotExposed));
    }
    let mut notes = Vec::new();
    let paths = arguments.adapters.iter().map(|given| &given.path);
    let adapters = adapters::read(paths, &mut notes).map_err(Failure::input)?;
    let settings = Settings {
        rank: Rank::Largest,
        options: Options::default(),
        allow_unused: &arguments.allow_unused,
        base: None,
    };
    let mut prepared = adapters::prepare(module, &adapters, &settings).map_err(Failure::input)?;
    notes.append(&mut prepared.notes);
    let strengths: Vec<f64> = arguments.adapters.iter().map(|given| given.strength).collect();
    let filled = adapters::fill(&prepared, strengths.iter().copied().enumerate()).map_err(Failure::input)?;
    let clipped = adapters::clipped(&filled.clipping);
    if let Some(clipped) = &clipped {
        output::warning(clipped);
    }
    let written = clipped.is_none() || !arguments.strict;
    let sources: Vec<String> = adapters
        .iter()
        .zip(&strengths)
        .map(|(adapter, strength)| format!("{}={strength}", adapter.name))
        .collect();
    if written {
        packed::write(&arguments.output, &prepared.module, &filled, &sources.join(" "))
            .map_err(Failure::input)?;
    }
    let cut = filled.clipping.iter().filter(|slot| slot.clipped > 0);
    let report = Report {
        output: arguments.output.clone(),
        model: packed::digest(&prepared.module).map_err(Failure::input)?,
        slots: filled.slots.len(),
        bytes: filled.slots.values().map(|tensor| tensor.bytes().len()).sum(),
        clipped: cut.map(|slot| (slot.slot.clone(), slot.share())).collect(),
        written,
        notes,
    };
    report.print(arguments.json)?;
    Ok(if written { Outcome::Done } else { Outcome::DoesNotHold })
}

impl Report {
    fn print(&self, json: bool) -> Result<(), Failure> {
        let out = &mut output::stdout();
        if json {
            output::json(out, self)?;
            return Ok(());
        }
        self.notes.iter().for_each(|note| output::note(note));
        writeln!(out, "{} for model {}", counted(self.slots, "slot"), self.model)?;
        if self.written {
            writeln!(out, "written to {}", self.output.display())?;
        } else {
            writeln!(out, "not written: {} are cut off", counted(self.clipped.len(), "slot"))?;
        }
        Ok(())
    }
}
