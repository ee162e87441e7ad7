//! Models converted for Qualcomm's tensor processors, through the program: on the simulator, in ONNX Runtime, and without any
//! of Qualcomm's libraries.
//!
//! Where the libraries, or ONNX Runtime's provider of them, are not found, what needs them is ignored.

mod bench;
mod branch;
#[path = "../cut/mod.rs"]
mod cut;
mod files;
mod parts;
mod testbed;
#[path = "../trained/mod.rs"]
mod trained;
mod usage;

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Failed, Trial};
use quad_qnn::native::Places;

/// The chip, as QNN numbers it.
const SOC: &str = "69";

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let (libraries, provider) = (Places::from_environment(None).find().is_ok(), provider().is_some());
    let native =
        |name: &str, test: fn() -> Result<(), Failed>| Trial::test(name, test).with_ignored_flag(!libraries);
    let with_provider =
        |name: &str, test: fn() -> Result<(), Failed>| Trial::test(name, test).with_ignored_flag(!provider);
    let trials = vec![
        Trial::test("without_libraries_the_portable_forms_are_written", usage::without_libraries),
        Trial::test("usage_is_checked_before_work", usage::usage),
        Trial::test("old_chips_refuse_16_bits_by_16_with_the_reason", branch::refused),
        Trial::test("adapters_are_written_in_the_words_of_the_sdk", branch::sdk),
        native("one_graph_serves_three_adapters_and_none", branch::adapters),
        native("two_builds_give_the_same_bytes", branch::reproducible),
        native("the_simulator_is_as_good_as_the_interpreter", testbed::simulated),
        native("blocks_are_near_the_interpreter", testbed::blocks),
        native("binary_and_dlc_compute_the_same", testbed::files_compute_the_same),
        with_provider("the_provider_agrees_with_the_cpu_on_a_branch", branch::provider),
        with_provider("the_provider_runs_the_whole_model", testbed::provider),
        with_provider("the_provider_stores_what_the_cpu_stores", testbed::provider_by_parts),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// The Python that has ONNX Runtime's provider for QNN, if there is one.
fn provider() -> Option<PathBuf> {
    let python = PathBuf::from(std::env::var_os("QUAD_PYTHON")?);
    let find = "import importlib.util as u, sys; sys.exit(u.find_spec('onnxruntime_qnn') is None)";
    let found = Command::new(&python).args(["-c", find]).status().is_ok_and(|status| status.success());
    found.then_some(python)
}
