//! Runs every test of `tests/filetests` and compares what it tells with its snapshot in `snapshots/filetests`.
//!
//! `INSTA_UPDATE=always cargo test -p quad-tests --test filetests` accepts what is told now.

use std::path::Path;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use quad_tests::filetest::{self, Case};
use quad_tests::paths;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let folder = paths::root().join("tests/filetests");
    let files = paths::files_below(&folder, "quad").expect("the folder of the tests");
    let trials = files.into_iter().map(|file| {
        let name = paths::with_slashes(&file.strip_prefix(&folder).unwrap_or(&file).with_extension(""));
        Trial::test(name.clone(), move || check(&file, &name))
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

/// Runs the test in `file`, whose path below the folder, without the extension, is `name`.
fn check(file: &Path, name: &str) -> Result<(), Failed> {
    let case = Case::read(file)?;
    let story = filetest::run(&case)?.to_string();
    let (folder, name) = name.rsplit_once('/').unwrap_or(("", name));
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(paths::root().join("snapshots/filetests").join(folder));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.set_description(case.sentence);
    settings.set_input_file(file);
    settings.bind(|| insta::assert_snapshot!(name, story));
    Ok(())
}
