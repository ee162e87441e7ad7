//! `quad lora`: adapters and the graph of a model.

mod expose;

use crate::exit::{Failure, Outcome};

/// Make models take LoRA adapters as inputs.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Expose(expose::Arguments),
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    match &arguments.command {
        Command::Expose(arguments) => expose::run(arguments),
    }
}
