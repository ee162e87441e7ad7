//! The pages of `docs/generated` are what the code says today.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use quad_backends::support::{self, Support};
use quad_backends::target::TargetInfo;
use quad_cli::targets::TARGETS;
use quad_tests::conformance::Counts;
use quad_tests::{commands, coverage, operations, passes, paths};

/// The beginning of the page of targets.
const SUPPORT: &str = "\
# Targets

Written by the test `generated_docs` of `quad-tests`, from the tables of the backends; it fails when this page is out of date.
`QUAD_BLESS=1 ./test.sh --package quad-tests --test generated_docs` writes it again. An operation that a target does not list
is refused there: nothing falls back in silence. `quad check --target T MODEL` says what holds of one model.
";

#[test]
fn the_page_of_operations_is_up_to_date() {
    let path = paths::root().join("docs/generated/ops.md");
    let committed = fs::read_to_string(&path).unwrap_or_default();
    let summary = fs::read_to_string(paths::root().join("snapshots/conformance.snap"));
    let counts = match (summary, std::env::var_os("QUAD_CONFORMANCE").map(PathBuf::from)) {
        (Ok(summary), Some(folder)) => Counts::of_summary(&summary, &folder).expect("the cases of the suite"),
        // Without the suite everything but the counts is checked.
        _ => Counts::of_page(&committed),
    };
    let tests: BTreeMap<String, String> = coverage::shown_in().expect("the tests that are files");
    let page = operations::page(&counts, &tests);
    require(&path, &committed, &page);
}

#[test]
fn the_page_of_passes_is_up_to_date() {
    let path = paths::root().join("docs/generated/passes.md");
    let committed = fs::read_to_string(&path).unwrap_or_default();
    require(&path, &committed, &passes::page(&quad_tests::registry()));
}

#[test]
fn the_page_of_targets_is_up_to_date() {
    let path = paths::root().join("docs/generated/support.md");
    let committed = fs::read_to_string(&path).unwrap_or_default();
    let of_target = |info: &TargetInfo| {
        let target = (info.make)(None);
        Support {
            target: info.name,
            summary: info.summary,
            pipeline: target.pipeline(),
            rows: target.support(),
        }
    };
    let targets: Vec<Support> = TARGETS.iter().map(of_target).collect();
    require(&path, &committed, &support::page(SUPPORT, &targets));
}

#[test]
fn the_page_of_commands_is_up_to_date() {
    let path = paths::root().join("docs/generated/commands.md");
    let committed = fs::read_to_string(&path).unwrap_or_default();
    require(&path, &committed, &commands::page(quad_cli::command()));
}

/// The page at `path`, which is `committed`, must be `page`; with `QUAD_BLESS` it is written.
fn require(path: &Path, committed: &str, page: &str) {
    if page == committed {
        return;
    }
    assert!(
        std::env::var_os("QUAD_BLESS").is_some(),
        "{} is out of date; QUAD_BLESS=1 ./test.sh --package quad-tests --test generated_docs writes it again",
        path.display()
    );
    fs::create_dir_all(path.parent().expect("a file in a folder")).expect("making the folder");
    fs::write(path, page).expect("writing the page");
}
