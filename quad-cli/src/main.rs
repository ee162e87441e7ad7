//! `quad`: the command line tool. Arguments in, library calls, prose and progress out.
//!
//! Every command is a file or folder of [`commands`] and ends as [`exit`] says.

mod commands;
mod exit;
mod open;
mod output;
mod progress;
mod table;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use commands::{compare, conformance, convert, inspect, run};

/// A compiler for diffusion models with LoRA adapters.
#[derive(Debug, Parser)]
#[command(name = "quad", version, arg_required_else_help = true, max_term_width = 100, after_help = exit::CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Inspect(inspect::Arguments),
    Run(run::Arguments),
    Compare(compare::Arguments),
    Conformance(conformance::Arguments),
    Convert(convert::Arguments),
}

fn main() -> ExitCode {
    exit::guarded(|| match Arguments::parse().command {
        Command::Inspect(arguments) => inspect::run(&arguments),
        Command::Run(arguments) => run::run(&arguments),
        Command::Compare(arguments) => compare::run(&arguments),
        Command::Conformance(arguments) => conformance::run(&arguments),
        Command::Convert(arguments) => convert::run(&arguments),
    })
}
