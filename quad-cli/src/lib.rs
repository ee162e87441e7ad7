//! The command line tool as a library: arguments in, library calls, prose and progress out.
//!
//! Every command is a file or folder of `commands` and ends as `exit` says. A program with passes of its own hands
//! [`run`] a registry that has them, and is a tool that lists, runs, bisects and reduces with them:
//!
//! ```no_run
//! use quad_passes::registry::Registry;
//!
//! fn main() -> std::process::ExitCode {
//!     let registry = Registry::standard(); // .with::<MyPass>("mine")
//!     quad_cli::run(&registry, std::env::args_os())
//! }
//! ```

mod commands;
mod destination;
mod encoding;
mod exit;
mod freezing;
mod measuring;
mod output;
mod patterns;
mod picture;
mod profiles;
mod progress;
mod qnn;
mod table;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
pub use quad_build::targets;
use quad_build::{adapters, frozen, lifted, model, packed, samples, statistics};
use quad_passes::registry::Registry;

use commands::{
    adapter, bisect, build, bundle, calibrate, check, compare, completions, conformance, convert, explain,
    inspect, lora, man, new, opt, passes, profile, qss, quantize, reduce, run, sweep,
};

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
    Check(check::Arguments),
    Lora(lora::Arguments),
    Adapter(adapter::Arguments),
    Passes(passes::Arguments),
    Profile(profile::Arguments),
    Opt(opt::Arguments),
    Explain(explain::Arguments),
    Bisect(bisect::Arguments),
    Reduce(reduce::Arguments),
    #[command(hide = true)]
    QnnNative(qnn::Arguments),
    Calibrate(calibrate::Arguments),
    Quantize(quantize::Arguments),
    New(new::Arguments),
    Build(build::Arguments),
    Bundle(bundle::Arguments),
    Qss(qss::Arguments),
    Sweep(sweep::Arguments),
    Completions(completions::Arguments),
    Man(man::Arguments),
}

/// The command line as data: what documentation, completions and manual pages are made of.
pub fn command() -> clap::Command {
    Arguments::command()
}

/// Runs the command that `arguments` are, of which the first is the name of the program, with the passes of `registry`.
/// Prints results to standard output and messages to standard error.
pub fn run(
    registry: &Registry,
    arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(usage) => {
            // Without a place to print to there is nobody to tell.
            let _ = usage.print();
            return ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(exit::AT_FAULT));
        }
    };
    if let Command::QnnNative(arguments) = &arguments.command {
        return qnn::run(arguments);
    }
    exit::guarded(|| match arguments.command {
        Command::Inspect(arguments) => inspect::run(&arguments),
        Command::Run(arguments) => run::run(&arguments, registry),
        Command::Compare(arguments) => compare::run(&arguments),
        Command::Conformance(arguments) => conformance::run(&arguments),
        Command::Convert(arguments) => convert::run(&arguments, registry),
        Command::Check(arguments) => check::run(&arguments, registry),
        Command::Lora(arguments) => lora::run(&arguments),
        Command::Adapter(arguments) => adapter::run(&arguments),
        Command::Passes(arguments) => passes::run(&arguments, registry),
        Command::Profile(arguments) => profile::run(&arguments),
        Command::Opt(arguments) => opt::run(&arguments, registry),
        Command::Explain(arguments) => explain::run(&arguments, registry),
        Command::Bisect(arguments) => bisect::run(&arguments, registry),
        Command::Reduce(arguments) => reduce::run(&arguments, registry),
        Command::QnnNative(_) => Ok(exit::Outcome::Done),
        Command::Calibrate(arguments) => calibrate::run(&arguments),
        Command::Quantize(arguments) => quantize::run(&arguments),
        Command::New(arguments) => new::run(&arguments),
        Command::Build(arguments) => build::run(&arguments),
        Command::Bundle(arguments) => bundle::run(&arguments),
        Command::Qss(arguments) => qss::run(&arguments),
        Command::Sweep(arguments) => sweep::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments),
        Command::Man(arguments) => man::run(&arguments),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every example that a `--help` shows.
    fn examples(command: &clap::Command) -> Vec<String> {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let help = help.replace("\\\n", " ");
        let shown = help.lines().map(str::trim).filter(|line| line.starts_with("quad "));
        let below = command.get_subcommands().flat_map(examples);
        shown.map(str::to_owned).chain(below).collect()
    }

    #[test]
    fn what_help_shows_is_understood() {
        let examples = examples(&Arguments::command());
        assert!(examples.len() > 40, "{} examples", examples.len());
        for example in examples {
            let alone = example.split(['|', '>']).next().unwrap_or_default();
            let words = shlex::split(alone).expect("quotes that close");
            if let Err(error) = Arguments::try_parse_from(words) {
                panic!("{example}\n{error}");
            }
        }
    }

    #[test]
    fn every_command_says_what_it_is_for_and_shows_examples() {
        fn look(command: &clap::Command) {
            assert!(command.get_about().is_some(), "{} says nothing", command.get_name());
            let has_example = command.get_after_help().is_some() || command.has_subcommands();
            assert!(has_example, "{} shows no example", command.get_name());
            command.get_subcommands().filter(|below| !below.is_hide_set()).for_each(look);
        }
        look(&Arguments::command());
    }
}
