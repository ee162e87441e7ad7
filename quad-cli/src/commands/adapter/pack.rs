//! `quad adapter pack`: makes of adapters what one model takes.

use std::io::Write;
use std::path::PathBuf;

use quad_passes::lora::expose::Options;
use quad_passes::lora::interface::Interface;
use serde::Serialize;

use crate::adapters::{self, AdapterFailure, Given, Rank, Settings, given};
use crate::exit::{Failure, Outcome};
use crate::table::counted;
use crate::{open, output, packed};

/// Make of adapters what one model takes.
///
/// The model is one that `quad lora expose` made, perhaps lowered and quantized since; its graph @pack does the work. The
/// file has one tensor for each input of the model that depends on an adapter, and names the model that it is for.
/// Several adapters are added up, as far as the model's rank allows; without any, the file has what makes the model its
/// base.
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
    notes: Vec<String>,
}

/// Runs the command.
pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let module = open::open(&arguments.model).map_err(Failure::input)?;
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
    let slots = adapters::bind(&prepared, strengths.iter().copied().enumerate()).map_err(Failure::input)?;
    let sources: Vec<String> = adapters
        .iter()
        .zip(&strengths)
        .map(|(adapter, strength)| format!("{}={strength}", adapter.name))
        .collect();
    packed::write(&arguments.output, &prepared.module, &slots, &sources.join(" ")).map_err(Failure::input)?;
    let report = Report {
        output: arguments.output.clone(),
        model: packed::digest(&prepared.module).map_err(Failure::input)?,
        slots: slots.len(),
        bytes: slots.values().map(|tensor| tensor.bytes().len()).sum(),
        notes,
    };
    report.print(arguments.json)?;
    Ok(Outcome::Done)
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
        writeln!(out, "written to {}", self.output.display())?;
        Ok(())
    }
}
