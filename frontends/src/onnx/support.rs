//! What the table of operations says, for documentation and for checks that nothing was left out.

use quad_ir::ops::all_ops;

use super::table;

/// An ONNX operation that is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Support {
    /// Empty for the standard domain.
    pub domain: &'static str,
    /// What files call it.
    pub op_type: &'static str,
    /// The operation of ours that is written as this one, by its name in the text form. `None` when it is only read: as
    /// a composition of several, or as another name for one.
    pub written_from: Option<&'static str>,
    /// The operator set in which it got the form that is written.
    pub since: i64,
}

/// All ONNX operations that are read, in order of domain and name.
pub fn support() -> Vec<Support> {
    let ops = all_ops();
    let name_of = |kind| ops.iter().find(|op| op.kind() == kind).map(|op| op.def().name());
    let describe = |row: &table::Row| Support {
        domain: row.domain,
        op_type: row.op_type,
        written_from: row.export.and_then(|(kind, _)| name_of(kind)),
        since: row.since,
    };
    let mut all: Vec<Support> = table::rows().map(describe).collect();
    all.sort_by_key(|row| (row.domain, row.op_type));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operation_has_one_line() {
        let all = support();
        let twice = all
            .windows(2)
            .find(|pair| (pair[0].domain, pair[0].op_type) == (pair[1].domain, pair[1].op_type));
        assert_eq!(twice, None, "the second line would never be used");
        let relu = all.iter().find(|row| row.op_type == "Relu").expect("Relu is read");
        assert_eq!((relu.written_from, relu.domain), (Some("relu"), ""));
    }
}
