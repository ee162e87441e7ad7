//! Every command that a page of the documentation shows is run: a page is only right while its commands are.
//!
//! The blocks of a page that are marked `sh` run one after the other in a folder of its own, which has the files that the pages
//! are written for: `unet.onnx`, adapters and samples, all small. A page that needs more makes it in a comment, which readers
//! do not see:
//!
//! ```text
//! <!-- before: quad lora expose unet.onnx --adapter edit/ -o unet.quad -->
//! ```
//!
//! A command that ends with another code than 0 is followed by `# exit 1` or `# exit 1: why`. Commands for people who work on QUAD itself (`cargo`,
//! scripts of this repository) are not run from inside their own tests; what they name must exist.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use tempfile::TempDir;

mod sandbox;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let pages = pages(&root).expect("the folder of documentation");
    let trials = pages.into_iter().map(|page| {
        let name = page.strip_prefix(&root).unwrap_or(&page).display().to_string();
        let root = root.clone();
        Trial::test(name, move || check(&root, &page))
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

/// The pages that people wrote.
fn pages(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut pages: Vec<PathBuf> =
        root.join("docs").read_dir()?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    pages.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    pages.push(root.join("README.md"));
    pages.sort();
    Ok(pages)
}

/// A piece of a page.
#[derive(Debug, PartialEq)]
enum Piece {
    /// What the page needs, unseen.
    Before(String),
    /// A command, which ends with this code.
    Command(String, i32),
    /// A command for people who work on QUAD itself.
    Own(String),
}

/// The commands of a page in their order.
fn pieces(page: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut in_shell = false;
    let joined = page.replace("\\\n", " ");
    for line in joined.lines() {
        let hidden = line.strip_prefix("<!-- before: ").and_then(|line| line.strip_suffix(" -->"));
        if let Some(command) = hidden {
            pieces.push(Piece::Before(command.to_owned()));
        } else if let Some(language) = line.strip_prefix("```") {
            in_shell = !in_shell && language == "sh";
        } else if in_shell && !line.trim().is_empty() && !line.starts_with('#') {
            pieces.push(piece(line));
        }
    }
    pieces
}

fn piece(line: &str) -> Piece {
    let own =
        ["cargo ", "./", ".ci/", "target/", "INSTA_", "QUAD_BLESS", "python", "pip ", "git ", "docker "];
    if own.iter().any(|start| line.starts_with(start)) {
        return Piece::Own(line.to_owned());
    }
    let code =
        line.rsplit_once("# exit ").and_then(|(_, after)| after.split([' ', ':']).next()?.parse().ok());
    Piece::Command(line.to_owned(), code.unwrap_or(0))
}

fn check(root: &Path, page: &Path) -> Result<(), Failed> {
    let pieces = pieces(&fs::read_to_string(page)?);
    let folder = TempDir::new()?;
    if pieces.iter().any(|piece| !matches!(piece, Piece::Own(_))) {
        sandbox::furnish(folder.path())?;
        // The first page speaks of what this repository has.
        symlink(root.join("tests").canonicalize()?, folder.path().join("tests"))?;
    }
    for piece in pieces {
        match piece {
            Piece::Before(command) => run(folder.path(), &command, 0)?,
            Piece::Command(command, code) => run(folder.path(), &command, code)?,
            Piece::Own(command) => names_what_exists(root, &command)?,
        }
    }
    Ok(())
}

/// Runs a command in `folder`.
fn run(folder: &Path, command: &str, code: i32) -> Result<(), Failed> {
    let output = sandbox::run(folder, command)?;
    if output.status.code() == Some(code) {
        return Ok(());
    }
    let mut said = format!("{command}\nended with {}, not with {code}", output.status);
    for stream in [&output.stdout, &output.stderr] {
        let _ = write!(said, "\n{}", String::from_utf8_lossy(stream));
    }
    Err(said.into())
}

/// Programs, tests and scripts that `command` names must be there.
fn names_what_exists(root: &Path, command: &str) -> Result<(), Failed> {
    let words: Vec<&str> = command.split_whitespace().collect();
    let after: BTreeMap<&str, &str> = words.windows(2).map(|pair| (pair[0], pair[1])).collect();
    let mut wanted: Vec<Vec<PathBuf>> = Vec::new();
    if let Some(bin) = after.get("--bin") {
        wanted.push(vec![format!("tests/src/bin/{bin}.rs").into()]);
    }
    if let Some(test) = after.get("--test") {
        let below = |folder: &str| [format!("{folder}/{test}.rs"), format!("{folder}/{test}/main.rs")];
        let places = [below("tests/tests"), below("quad-cli/tests")];
        wanted.push(places.concat().into_iter().map(PathBuf::from).collect());
    }
    for word in words {
        let is_script = word.starts_with("./") || word.starts_with(".ci/");
        if is_script || Path::new(word).extension().is_some_and(|extension| extension == "py") {
            wanted.push(vec![word.into()]);
        }
    }
    for places in wanted {
        if !places.iter().any(|place| root.join(place).exists()) {
            return Err(format!("{command}\nnames {places:?}, which is not there").into());
        }
    }
    Ok(())
}
