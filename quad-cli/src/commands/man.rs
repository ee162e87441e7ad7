//! `quad man`: the manual pages of all commands.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use crate::exit::{Failure, Outcome};
use crate::table::counted;
use crate::{output, picture};

/// Write the manual pages: `quad.1` and one for each command.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quad man -o ~/.local/share/man/man1
  man quad-profile-make")]
pub(crate) struct Arguments {
    /// The folder to write into; it is made if it is not there.
    #[arg(short, long, value_name = "FOLDER")]
    output: PathBuf,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let folder = &arguments.output;
    let pages = pages(crate::Arguments::command())?;
    fs::create_dir_all(folder)
        .map_err(|error| Failure::message(format!("`{}`: {error}", folder.display())))?;
    for (name, page) in &pages {
        picture::write(&folder.join(format!("{name}.1")), page)?;
    }
    writeln!(output::stdout(), "{} written to {}", counted(pages.len(), "page"), folder.display())?;
    Ok(Outcome::Done)
}

/// The page of `command` and those of all commands below it, each with its name.
fn pages(command: Command) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut command = command.disable_help_subcommand(true);
    // Gives commands below others the names that they are looked up by, such as `quad-profile-make`.
    command.build();
    let mut pages = Vec::new();
    let mut pending = vec![command];
    while let Some(command) = pending.pop() {
        pending.extend(command.get_subcommands().filter(|below| !below.is_hide_set()).cloned());
        let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
        let mut page = Vec::new();
        Man::new(command).title(name.clone()).render(&mut page)?;
        pages.push((name, page));
    }
    pages.sort();
    Ok(pages)
}
