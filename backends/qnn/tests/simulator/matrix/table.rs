//! The table that the matrix is written to, for people.

use std::fmt::Write as _;
use std::path::Path;

use libtest_mimic::Failed;

use super::cases::Case;
use super::{Steps, WIDTHS};
use crate::support::SOCS;

/// The page.
pub(crate) fn text(cases: &[Case], steps: &Steps) -> String {
    // Writing to a string does not fail.
    let mut text = String::from(
        "# QNN: how exact each operation is\n\n\
         The largest distance of a result from the exact one, in steps of its encoding, on the simulator of Qualcomm's\n\
         libraries; exact is what the interpreter computes of the numbers that the stored operands stand for. That chips\n\
         compute the same bit for bit is not known. Results that are real numbers have no steps: there it is thousandths\n\
         of the largest magnitude. Written by `QUAD_BLESS=1 ./test.sh --package quad-qnn --test simulator`.\n\n",
    );
    let socs: Vec<String> =
        WIDTHS.iter().flat_map(|width| SOCS.map(|soc| format!("A{width} {soc}"))).collect();
    let _ = writeln!(text, "| case | {} | at most A8, A16 |", socs.join(" | "));
    let _ = writeln!(text, "|---|{}---|", "---|".repeat(socs.len()));
    for case in cases {
        let mut row = format!("| {} ", case.name);
        for width in WIDTHS {
            for soc in SOCS {
                let off = steps.get(&(case.name, width)).and_then(|by_soc| by_soc.get(soc));
                row += &off.map_or_else(|| "| ".to_owned(), |off| format!("| {off:.2} "));
            }
        }
        let limits = WIDTHS
            .map(|width| if case.is_for(width) { case.limit(width).to_string() } else { "-".to_owned() });
        let _ = writeln!(text, "{row}| {} |", limits.join(", "));
    }
    text
}

/// Writes the page where that is asked for, and compares it with the one that is there otherwise.
pub(crate) fn check(text: &str) -> Result<(), Failed> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/generated/qnn-operations.md");
    if std::env::var_os("QUAD_BLESS").is_some() {
        return Ok(std::fs::write(path, text)?);
    }
    if std::fs::read_to_string(&path)? == text {
        return Ok(());
    }
    Err(format!("{} is not what was measured; QUAD_BLESS=1 writes it anew", path.display()).into())
}
