//! Graphs on the simulator of Qualcomm's tensor processor. Where its libraries are not found, tests that need them are
//! reported as ignored.
//!
//! The program is also the process that calls the libraries: with [`SERVE`] as its first argument it serves one task.

mod convolution;
mod faults;
mod lowering;
mod matrix;
mod support;

use std::path::Path;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use quad_qnn::native::{Launcher, Native, Places, serve};

/// The argument that makes this program serve a task.
const SERVE: &str = "--serve";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == SERVE) {
        let folder = arguments.next().expect("a folder after --serve");
        return serve(Path::new(&folder));
    }
    let arguments = Arguments::from_args();
    let native = Places::from_environment(None).find().map(|libraries| Native {
        libraries,
        launcher: Launcher::this_program(&[SERVE]).expect("this program"),
    });
    let tests = convolution::TESTS.iter().chain(faults::TESTS).chain(matrix::TESTS);
    let portable = lowering::TESTS.iter().chain(matrix::PORTABLE).map(|(name, test)| {
        Trial::test(*name, move || {
            test();
            Ok(())
        })
    });
    let trials = tests.map(|(name, test)| match &native {
        Ok(native) => {
            let native = native.clone();
            Trial::test(*name, move || test(&native))
        }
        Err(_) => Trial::test(*name, || Ok(())).with_ignored_flag(true),
    });
    let python = matrix::python();
    let provider = matrix::PROVIDER.iter().map(|(name, test)| match python.clone() {
        Some(python) => Trial::test(*name, move || test(&python)),
        None => Trial::test(*name, || Ok(())).with_ignored_flag(true),
    });
    let portable = portable.chain(provider);
    libtest_mimic::run(&arguments, trials.chain(portable).collect()).exit_code()
}
