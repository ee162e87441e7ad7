//! The page of the command line: what `--help` says of every command.

use std::fmt::Write as _;

use clap::Command;

/// Columns that the page is wrapped at, whatever the terminal.
const WIDTH: usize = 100;

const BEGINNING: &str = "\
# Commands

What `quad COMMAND --help` says, written by the test `generated_docs` of `quad-tests`, which fails when this page is out of date.
`QUAD_BLESS=1 ./test.sh --package quad-tests --test generated_docs` writes it again. What scripts can rely on is in
[the command line](../cli.md).
";

/// The page of `command` and all commands below it.
pub fn page(command: Command) -> String {
    let mut page = BEGINNING.to_owned();
    let mut command = command.term_width(WIDTH).disable_help_subcommand(true);
    command.build();
    describe(&command, &mut page);
    page
}

/// Adds `command` and what is below it, in the order in which `--help` lists them.
fn describe(command: &Command, page: &mut String) {
    let help = command.clone().render_long_help().to_string();
    let help: Vec<&str> = help.trim_end().lines().map(str::trim_end).collect();
    let name = command.get_bin_name().unwrap_or(command.get_name());
    let _ = write!(page, "\n## `{name}`\n\n```text\n{}\n```\n", help.join("\n"));
    command.get_subcommands().filter(|below| !below.is_hide_set()).for_each(|below| describe(below, page));
}
