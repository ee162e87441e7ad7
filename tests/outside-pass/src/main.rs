//! A tool with a pass of its own: everything that `quad` can do, with one pass more.

mod square;

use std::process::ExitCode;

use quad_passes::registry::Registry;

fn main() -> ExitCode {
    let registry = Registry::standard().with::<square::SquareAsProduct>("ours");
    quad_cli::run(&registry, std::env::args_os())
}
