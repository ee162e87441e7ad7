//! `quad completions`: what makes a shell complete the commands, flags and values of `quad`.

use std::io;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::exit::{Failure, Outcome};

/// Print the completions of a shell.
///
/// The script goes to standard output; where a shell looks for it is up to the shell.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quad completions bash > ~/.local/share/bash-completion/completions/quad
  quad completions zsh > ~/.zfunc/_quad
  quad completions fish > ~/.config/fish/completions/quad.fish")]
pub(crate) struct Arguments {
    /// The shell.
    shell: Shell,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let mut command = crate::Arguments::command();
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, "quad", &mut script);
    // As it is: unlike names out of files, its tabs are meant.
    io::Write::write_all(&mut io::stdout().lock(), &script)?;
    Ok(Outcome::Done)
}
