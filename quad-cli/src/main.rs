//! `quad`: the command line tool, with the passes of this workspace.

use std::process::ExitCode;

use quad_passes::registry::Registry;

fn main() -> ExitCode {
    quad_cli::run(&quad_quantize::with_passes(Registry::standard()), std::env::args_os())
}
