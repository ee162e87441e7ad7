//! Every pass shows an example in its manual, and does what the example shows.
//!
//! A manual has one or several examples: a line that starts with `Before`, a block of text form, a line that starts with
//! `After`, another block. `After (off by 1e-3):` allows the outputs to differ so much, relative to their largest
//! magnitude; without it they must agree within 1e-6. ``Before `fold-scales{bias=false}`:`` runs the pass with options.
//!
//! `QUAD_BLESS=1 cargo test -p quad-tests --test pass_examples` writes the `After` blocks.

use std::fs;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use quad_ir::module::Module;
use quad_ir::text::{self, NoWeights};
use quad_passes::check::{Checker, draw_inputs};
use quad_passes::pass::PassInfo;
use quad_passes::pipeline::Pipeline;
use quad_passes::runner::{self, RunOptions};
use quad_tests::paths;

/// How far outputs may be off where the example does not say.
const ALLOWED: f64 = 1e-6;

/// What every module in text form starts with; examples leave it out.
const HEAD: &str = "quad 1\n\n";

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = quad_tests::registry()
        .passes()
        .map(|(_, info, _)| Trial::test(info.name, move || check_pass(info)))
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// An example of a manual.
struct Example {
    pipeline: String,
    before: String,
    after: String,
    allowed: f64,
}

fn check_pass(info: &'static PassInfo) -> Result<(), Failed> {
    let manual = info.manual();
    let examples = examples(info.name, &manual)?;
    if examples.is_empty() {
        return Err(format!("the manual of `{}` has no example: `Before:` and `After:`", info.name).into());
    }
    for example in examples {
        let after = run(&example)?;
        if after.trim_end() == example.after.trim_end() {
            continue;
        }
        if std::env::var_os("QUAD_BLESS").is_none() {
            return Err(format!("the manual shows\n{}\nthe pass gives\n{after}", example.after).into());
        }
        bless(info, &example.after, &after)?;
    }
    Ok(())
}

/// What the pipeline of `example` makes of it. What both compute is compared on the way.
fn run(example: &Example) -> Result<String, Failed> {
    let parsed = text::parse(&format!("{HEAD}{}", example.before), &NoWeights);
    let mut module: Module = parsed.map_err(|error| error.show().to_string())?;
    let pipeline = Pipeline::parse(&example.pipeline, &quad_tests::registry())?;
    let inputs = draw_inputs(&module, 1, &std::collections::BTreeMap::new())?;
    let mut checker = Checker::new(&module, inputs, example.allowed)?;
    let report = runner::run(&pipeline, &mut module, &RunOptions::default(), &mut [&mut checker])?;
    if report.changes() == 0 {
        return Err("the pass changes nothing in its own example".into());
    }
    let printed = text::print(&module)?;
    Ok(printed.strip_prefix(HEAD).unwrap_or(&printed).to_owned())
}

/// The examples of `manual`, which is that of `pass`.
fn examples(pass: &str, manual: &str) -> Result<Vec<Example>, Failed> {
    let mut examples = Vec::new();
    let mut lines = manual.lines();
    while let Some(line) = lines.next() {
        if !line.starts_with("Before") {
            continue;
        }
        let pipeline = line.split('`').nth(1).unwrap_or(pass).to_owned();
        let before = block(&mut lines)?;
        let title = lines.find(|line| line.starts_with("After")).ok_or("a `Before` without an `After`")?;
        let allowed = match title.split_once("off by ") {
            Some((_, number)) => number.trim_end_matches(['.', ':', ')']).parse()?,
            None => ALLOWED,
        };
        examples.push(Example { pipeline, before, after: block(&mut lines)?, allowed });
    }
    Ok(examples)
}

/// The lines of the next block.
fn block<'l>(lines: &mut impl Iterator<Item = &'l str>) -> Result<String, Failed> {
    lines.find(|line| *line == "```quad").ok_or("no block of ```quad follows")?;
    let lines: Vec<&str> = lines.take_while(|line| *line != "```").collect();
    Ok(lines.join("\n") + "\n")
}

/// Writes `after` in place of `shown` into the source of the pass.
fn bless(info: &PassInfo, shown: &str, after: &str) -> Result<(), Failed> {
    let comment = |text: &str| -> String {
        let line = |line: &str| format!("//! {line}").trim_end().to_owned() + "\n";
        text.trim_end().lines().map(line).collect()
    };
    let mut sources = paths::files_below(&paths::root().join("passes/src"), "rs")?;
    sources.extend(paths::files_below(&paths::root().join("quantize/src"), "rs")?);
    for path in sources {
        let source = fs::read_to_string(&path)?;
        if source == info.source {
            let shown = format!("//! ```quad\n{}//! ```\n", comment(shown));
            // The last such block: a `Before` may look like it.
            let at = source.rfind(&shown).ok_or("the block was not found in the source")?;
            let new = format!("//! ```quad\n{}//! ```\n", comment(after));
            fs::write(&path, format!("{}{new}{}", &source[..at], &source[at + shown.len()..]))?;
            return Ok(());
        }
    }
    Err("the source of the pass was not found, or was changed since it was compiled".into())
}
