//! `quad adapter`: what can be done with LoRA adapters, one file for each command.

mod check;
mod facts;
mod inspect;
mod pack;
mod reading;
mod verify;

use crate::exit::{Failure, Outcome};

/// Look at LoRA adapters, pack them for a model, prove that one takes effect, or see whether one fits a profile.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quad adapter inspect style.safetensors
  quad adapter pack unet.quad style.safetensors -o style.packed.safetensors
  quad adapter verify unet.onnx style.safetensors
  quad adapter check profile.json style.safetensors --model unet.quad --data style.npz")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Inspect(inspect::Arguments),
    Pack(pack::Arguments),
    Verify(verify::Arguments),
    Check(check::Arguments),
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    match &arguments.command {
        Command::Inspect(arguments) => inspect::run(arguments),
        Command::Pack(arguments) => pack::run(arguments),
        Command::Verify(arguments) => verify::run(arguments),
        Command::Check(arguments) => check::run(arguments),
    }
}
