//! The page of what each target makes of each operation, written from the tables of the backends.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use quad_ir::ops::OpKind;

use crate::table::{OpTable, name_of};

/// What a target makes of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SupportRow {
    /// The name of the operation.
    pub op: &'static str,
    /// What it becomes.
    pub becomes: String,
    /// What is asked of a node; empty where every node is taken.
    pub asks: String,
}

/// The rows of `table`, without those of inputs and constants, which every target has.
pub fn rows_of<C: ?Sized, E: Copy>(table: &OpTable<C, E>) -> Vec<SupportRow> {
    let rows = table.rows().filter(|row| !matches!(row.kind, OpKind::Input | OpKind::Weight));
    rows.map(|row| SupportRow {
        op: name_of(row.kind),
        becomes: row.becomes.to_owned(),
        asks: row.asks.to_owned(),
    })
    .collect()
}

/// A target with its rows, as the page lists it.
#[derive(Clone, Debug)]
pub struct Support {
    /// The target.
    pub target: &'static str,
    /// A sentence that says what it is.
    pub summary: &'static str,
    /// The passes that make a graph legal.
    pub pipeline: String,
    /// Its operations.
    pub rows: Vec<SupportRow>,
}

/// The page: an overview of operations by target, then each target with its conditions.
pub fn page(head: &str, targets: &[Support]) -> String {
    let mut page = head.to_owned();
    let mut operations: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for target in targets {
        for row in &target.rows {
            operations.entry(row.op).or_default().push(target.target);
        }
    }
    let names: Vec<&str> = targets.iter().map(|target| target.target).collect();
    let _ = writeln!(page, "\n## Operations by target\n\n| operation | {} |", names.join(" | "));
    let _ = writeln!(page, "|---|{}", "---|".repeat(names.len()));
    for (op, of) in &operations {
        let marks: Vec<&str> = names.iter().map(|name| if of.contains(name) { "yes" } else { "" }).collect();
        let _ = writeln!(page, "| `{op}` | {} |", marks.join(" | "));
    }
    for target in targets {
        let _ = writeln!(page, "\n## {}\n\n{}\n", target.target, target.summary);
        let _ = writeln!(page, "Passes that come first:\n\n```text\n{}\n```\n", target.pipeline);
        page.push_str("| operation | becomes | asks |\n|---|---|---|\n");
        for row in &target.rows {
            let _ = writeln!(page, "| `{}` | {} | {} |", row.op, row.becomes, row.asks);
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_lists_who_takes_what() {
        let row = |op, asks: &str| SupportRow { op, becomes: "X".to_owned(), asks: asks.to_owned() };
        let support =
            |target, rows| Support { target, summary: "A target.", pipeline: "clean".to_owned(), rows };
        let targets = [support("one", vec![row("add", "rank 4")]), support("two", vec![row("exp", "")])];
        let page = page("# Support\n", &targets);
        for line in [
            "| operation | one | two |",
            "| `add` | yes |  |",
            "| `exp` |  | yes |",
            "| `add` | X | rank 4 |",
        ] {
            assert!(page.contains(line), "{line} is not in\n{page}");
        }
    }
}
