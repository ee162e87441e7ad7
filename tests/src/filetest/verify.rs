//! `verify`: the text has errors, each on a line with a comment `// error: part of the message`; shows them.
//!
//! A text is typed while it is parsed, so that the first error ends it. What can be parsed is verified, which may find
//! several.

use libtest_mimic::Failed;
use quad_ir::graph::Graph;
use quad_ir::loc::Loc;
use quad_ir::text::{self, NoWeights};
use quad_ir::verify::{VerifyError, verify};

use super::{FileTest, Test};

/// See the [module](self).
pub(super) struct Verify;

/// An error that was found.
struct Found {
    line: u32,
    message: String,
    /// The error inside the text or the printed graph.
    shown: String,
}

impl FileTest for Verify {
    fn name(&self) -> &'static str {
        "verify"
    }

    fn run(&self, test: &mut Test<'_>, _arguments: &[String]) -> Result<(), Failed> {
        let mut left = find(&test.case.text);
        left.sort_by_key(|found| found.line);
        for found in &left {
            // The comment is part of the line that is shown, and no part of what is wrong with it.
            let lines =
                found.shown.lines().map(|line| line.split(" // error:").next().unwrap_or(line).to_owned());
            test.story.tell("error", "", lines);
        }
        for expected in &test.case.expected_errors {
            let fits = |found: &Found| found.line == expected.line && found.message.contains(&expected.part);
            let Some(index) = left.iter().position(fits) else {
                let (line, part) = (expected.line, &expected.part);
                return Err(format!("line {line}: no error with {part:?}, but\n{}", list(&left)).into());
            };
            left.remove(index);
        }
        match left.first() {
            Some(found) => Err(format!("an error that no comment expects:\n{}", found.shown).into()),
            None if test.case.expected_errors.is_empty() => {
                Err("no comment `// error: ..` says what to expect".into())
            }
            None => Ok(()),
        }
    }
}

fn list(errors: &[Found]) -> String {
    let lines: Vec<String> =
        errors.iter().map(|found| format!("line {}: {}", found.line, found.message)).collect();
    lines.join("\n")
}

fn find(text: &str) -> Vec<Found> {
    match text::parse(text, &NoWeights) {
        Err(error) => {
            vec![Found { line: error.line, message: error.kind.to_string(), shown: error.show().to_string() }]
        }
        Ok(module) => module.graphs.iter().flat_map(verified).collect(),
    }
}

fn verified(graph: &Graph) -> Vec<Found> {
    let Err(errors) = verify(graph) else { return Vec::new() };
    let line = |error: &VerifyError| match error.node.map(|node| graph.node(node).loc()) {
        Some(Loc::Text { line, .. }) => *line,
        _ => 0,
    };
    let found = |error: &VerifyError| Found {
        line: line(error),
        message: error.kind.to_string(),
        shown: error.to_string(),
    };
    errors.errors().iter().map(found).collect()
}
