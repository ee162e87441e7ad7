//! How single ONNX operations fare in the conformance suite, from the committed summary of all cases.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use onnx_protobuf::{Message, ModelProto};

use crate::paths;

/// Cases by ONNX operation: how many pass, and how many are not supported. None fails, or the test of the suite would.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    by_op: BTreeMap<String, [usize; 2]>,
}

impl Counts {
    /// Counts the cases below `folder` that consist of one operation. `summary` has a line `case: reason` for each that
    /// is not supported.
    ///
    /// # Errors
    /// When a model cannot be read.
    pub fn of_summary(summary: &str, folder: &Path) -> io::Result<Self> {
        let unsupported: BTreeSet<&str> =
            summary.lines().filter_map(|line| line.split_once(": ")).map(|(case, _)| case).collect();
        let mut counts = Self::default();
        for path in paths::files_below(folder, "onnx")? {
            let Some(op) = only_op(&path)? else { continue };
            let case = path.parent().and_then(|case| case.strip_prefix(folder).ok()).unwrap_or(&path);
            let case = paths::with_slashes(case);
            counts.by_op.entry(op).or_default()[usize::from(unsupported.contains(case.as_str()))] += 1;
        }
        Ok(counts)
    }

    /// The counts that a page already has, for checking the rest of it where the suite is not at hand.
    pub fn of_page(page: &str) -> Self {
        let mut counts = Self::default();
        for line in page.lines() {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            if let ["", op, _, passed, unsupported, ""] = cells.as_slice()
                && let (Ok(passed), Ok(unsupported)) = (passed.parse(), unsupported.parse())
            {
                counts.by_op.insert((*op).to_owned(), [passed, unsupported]);
            }
        }
        counts
    }

    /// The operations that have cases of their own.
    pub fn ops(&self) -> impl Iterator<Item = &str> {
        self.by_op.keys().map(String::as_str)
    }

    /// The two cells of an operation's row, empty where there is no case.
    pub fn cells(&self, op: &str) -> String {
        self.by_op
            .get(op)
            .map_or_else(|| "|".to_owned(), |counts| counts.map(|count| count.to_string()).join(" | "))
    }
}

/// The operation that the model at `path` consists of, constants aside, when it is one.
fn only_op(path: &Path) -> io::Result<Option<String>> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let model = ModelProto::parse_from_bytes(&std::fs::read(path).map_err(named)?)
        .map_err(|error| named(io::Error::other(error)))?;
    let mut ops: Vec<String> = model
        .graph
        .node
        .iter()
        .filter(|node| node.op_type != "Constant" || model.graph.node.len() == 1)
        .map(|node| match node.domain.as_str() {
            "" | "ai.onnx" => node.op_type.clone(),
            domain => format!("{domain}::{}", node.op_type),
        })
        .collect();
    ops.dedup();
    Ok(if ops.len() == 1 { ops.pop() } else { None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_back_from_a_page() {
        let counts = Counts { by_op: BTreeMap::from([("Abs".to_owned(), [3, 12])]) };
        let row = |op: &str| format!("| {op} | `abs` | {} |\n", counts.cells(op));
        let page =
            format!("# Page\n\n| ONNX | from | p | u |\n|---|---|--:|--:|\n{}{}", row("Abs"), row("If"));
        assert_eq!(Counts::of_page(&page), counts);
    }
}
