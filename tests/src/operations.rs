//! The page `docs/generated/ops.md`: what the operations declare, which ONNX operations they are, and how those fare in
//! ONNX's conformance suite.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use quad_frontends::onnx::{Support, support};
use quad_ir::attr::{AttrError, AttrValue, AttrVisitor};
use quad_ir::ops::{Arity, Op, OpObj, Operand, all_ops};
use quad_ir::text;

use crate::conformance::Counts;

/// What stands above the tables.
const HEAD: &str = "\
# Operations

Written by the test `generated_docs` of `quad-tests`, from the declarations themselves; it fails when this page is out of
date. `QUAD_BLESS=1 ./test.sh --package quad-tests --test generated_docs` writes it again.

## In the text form

`x?` may be left out, `x..` is any number. Attributes stand with their defaults, which the text form leaves out; those
without a default may be absent. The link leads to a test that shows the operation.

";

const ONNX_HEAD: &str = "
## In ONNX models

*Written from* is the operation that is written as this one; without it, the ONNX operation is only read: as a composition
of others, or as another name for one. The counts are of the cases of ONNX's own suite that consist of this operation
alone: how many give the expected result, and how many are refused as not supported. A wrong result fails the tests.

";

/// The page. `counts` are by ONNX operation, and `tests` says in which test an operation is shown.
pub fn page(counts: &Counts, tests: &BTreeMap<String, String>) -> String {
    let support = support();
    let mut page = HEAD.to_owned();
    page.push_str("| operation | operands | results | attributes | ONNX |\n|---|---|---|---|---|\n");
    for mut op in all_ops() {
        // Nothing can be said of these two in a table: the text form has a syntax of its own for each.
        if !matches!(op, Op::Input(_) | Op::Weight(_)) {
            let row = op_row(op.def_mut(), &support, tests);
            page.push_str(&row);
        }
    }
    page.push_str(ONNX_HEAD);
    page.push_str("| ONNX operation | written from | passed | unsupported |\n|---|---|--:|--:|\n");
    let names: BTreeSet<String> =
        support.iter().map(onnx_name).chain(counts.ops().map(str::to_owned)).collect();
    for name in names {
        let row = support.iter().find(|row| onnx_name(row) == name);
        let from = row.map_or("not read".to_owned(), |row| row.written_from.map_or(String::new(), code));
        let _ = writeln!(page, "| {name} | {from} | {} |", counts.cells(&name));
    }
    page
}

/// `Relu`, or `domain::Relu` outside of the standard domain.
pub fn onnx_name(row: &Support) -> String {
    if row.domain.is_empty() { row.op_type.to_owned() } else { format!("{}::{}", row.domain, row.op_type) }
}

fn op_row(op: &mut dyn OpObj, support: &[Support], tests: &BTreeMap<String, String>) -> String {
    let name = op.name();
    let linked = tests.get(name).map_or_else(|| code(name), |test| format!("[`{name}`](../../{test})"));
    let operands: Vec<String> = op.operands().iter().map(operand).collect();
    let results = op.results().join(", ");
    let written: Vec<String> =
        support.iter().filter(|row| row.written_from == Some(name)).map(onnx_name).collect();
    let attributes = attributes(op).join(", ");
    format!("| {linked} | {} | {results} | {attributes} | {} |\n", operands.join(", "), written.join(", "))
}

fn operand(operand: &Operand) -> String {
    let mark = match operand.arity {
        Arity::One => "",
        Arity::Optional => "?",
        Arity::Variadic => "..",
    };
    format!("{}{mark}", operand.name)
}

/// `pads = []` for each attribute; only the name where there is no default.
fn attributes(op: &mut dyn OpObj) -> Vec<String> {
    struct Collect(Vec<String>);
    impl AttrVisitor for Collect {
        fn visit(&mut self, name: &'static str, value: &mut dyn AttrValue) -> Result<(), AttrError> {
            let default = (!value.is_absent()).then(|| format!(" = {}", text::spell_attr(&value.to_attr())));
            self.0.push(code(&format!("{name}{}", default.unwrap_or_default())));
            Ok(())
        }
    }
    let mut collect = Collect(Vec::new());
    // The collector refuses nothing.
    let _ = op.attrs(&mut collect);
    collect.0
}

fn code(text: &str) -> String {
    format!("`{text}`")
}
