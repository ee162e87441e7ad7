//! `quad`: the command line tool. Arguments in, library calls, prose out.

mod commands;
mod exit;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use commands::conformance;

/// A compiler for diffusion models with LoRA adapters.
#[derive(Debug, Parser)]
#[command(name = "quad", version, arg_required_else_help = true, after_help = exit::CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Conformance(conformance::Arguments),
}

fn main() -> ExitCode {
    exit::guarded(|| match Arguments::parse().command {
        Command::Conformance(arguments) => conformance::run(&arguments),
    })
}
