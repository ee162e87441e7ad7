//! `quad adapter`: what can be done with LoRA adapters, one file for each command.

mod facts;
mod inspect;
mod reading;

use crate::exit::{Failure, Outcome};

/// Look at LoRA adapters.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quad adapter inspect style.safetensors
  quad adapter inspect --help")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Inspect(inspect::Arguments),
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    match &arguments.command {
        Command::Inspect(arguments) => inspect::run(arguments),
    }
}
