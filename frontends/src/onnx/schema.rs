//! What the operators of the standard take in each operator set: how many operands and results, and which attributes.
//!
//! The table, `schema.txt`, is written by `tests/python/make_operator_table.py` from the definitions that ONNX ships. A
//! node that does not fit is refused before anything tries to make sense of it, so that an attribute which an operator
//! set has dropped, or an operator which it does not have yet, cannot slip through.

use std::sync::LazyLock;

use rustc_hash::FxHashMap;

use super::error::NodeError;
use super::proto::NodeProto;

static TABLE: LazyLock<Table> = LazyLock::new(|| Table::parse(include_str!("schema.txt")));

/// The newest operator set of the standard that is known.
pub(super) fn newest() -> i64 {
    TABLE.newest
}

/// Checks `node`, which is of the standard domain and written in operator set `opset`. Operators that the table does not
/// have are not judged.
pub(super) fn check(node: &NodeProto, opset: i64) -> Result<(), NodeError> {
    let Some(versions) = TABLE.versions.get(node.op_type.as_str()) else { return Ok(()) };
    let Some((first, _)) = versions.first() else { return Ok(()) };
    let Some((since, form)) = versions.iter().rev().find(|(since, _)| *since <= opset) else {
        return Err(NodeError::TooOld { first: *first });
    };
    let Version::Form(form) = form else { return Err(NodeError::Removed { since: *since }) };
    check_counts(node, form)?;
    let given = node.attribute.iter().map(|attribute| attribute.name.as_str());
    let mut unknown: Vec<String> =
        given.filter(|name| !form.attributes.contains(name)).map(str::to_owned).collect();
    if !unknown.is_empty() {
        unknown.sort();
        return Err(NodeError::UnknownAttributes { names: unknown, since: *since });
    }
    let missing = form.required.iter().find(|name| !node.attribute.iter().any(|given| given.name == **name));
    missing.map_or(Ok(()), |name| Err(NodeError::MissingAttribute(name)))
}

fn check_counts(node: &NodeProto, form: &Form) -> Result<(), NodeError> {
    // Absent operands and results at the end may be written as empty names.
    let count = |names: &[String]| names.iter().rposition(|name| !name.is_empty()).map_or(0, |last| last + 1);
    let (inputs, outputs) = (count(&node.input), count(&node.output));
    if !form.inputs.contains(inputs) {
        return Err(NodeError::Inputs { found: inputs, expected: form.inputs.to_string() });
    }
    if !form.outputs.contains(outputs) {
        return Err(NodeError::Outputs { found: outputs, expected: form.outputs.to_string() });
    }
    Ok(())
}

/// All operators by name.
struct Table {
    newest: i64,
    /// The versions of each operator and the operator sets that brought them, oldest first.
    versions: FxHashMap<&'static str, Vec<(i64, Version)>>,
}

/// What an operator set made of an operator.
enum Version {
    Form(Form),
    Removed,
}

/// What one version of an operator takes.
struct Form {
    inputs: Count,
    outputs: Count,
    attributes: Vec<&'static str>,
    required: Vec<&'static str>,
}

/// How many there may be.
#[derive(Clone, Copy)]
struct Count {
    least: usize,
    /// `None` for any number.
    most: Option<usize>,
}

impl Table {
    /// A line that cannot be read is left out, which the tests notice.
    fn parse(text: &'static str) -> Self {
        let mut table = Self { newest: 0, versions: FxHashMap::default() };
        for line in text.lines() {
            let mut words = line.split(' ');
            let (Some(name), Some(number)) = (words.next(), words.next()) else { continue };
            let Ok(number) = number.parse() else { continue };
            if name == "newest" {
                table.newest = number;
            } else if let Some(version) = Version::parse(words) {
                table.versions.entry(name).or_default().push((number, version));
            }
        }
        table
    }
}

impl Version {
    fn parse(mut words: impl Iterator<Item = &'static str>) -> Option<Self> {
        let inputs = words.next()?;
        if inputs == "removed" {
            return Some(Self::Removed);
        }
        let (inputs, outputs) = (Count::parse(inputs)?, Count::parse(words.next()?)?);
        let attributes: Vec<&str> = words.collect();
        let required = attributes.iter().filter_map(|name| name.strip_suffix('!')).collect();
        let attributes = attributes.iter().map(|name| name.trim_end_matches('!')).collect();
        Some(Self::Form(Form { inputs, outputs, attributes, required }))
    }
}

impl Count {
    fn parse(word: &str) -> Option<Self> {
        let (least, most) = word.split_once("..")?;
        let most = if most == "*" { None } else { Some(most.parse().ok()?) };
        Some(Self { least: least.parse().ok()?, most })
    }

    fn contains(self, count: usize) -> bool {
        count >= self.least && self.most.is_none_or(|most| count <= most)
    }
}

impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.most {
            Some(most) if most == self.least => write!(f, "{most}"),
            Some(most) => write!(f, "{} to {most}", self.least),
            None => write!(f, "at least {}", self.least),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::proto::AttributeProto;
    use crate::onnx::table;

    fn node(op_type: &str, inputs: &[&str], outputs: &[&str], attributes: &[&str]) -> NodeProto {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let attribute =
            |name: &&str| AttributeProto { name: (*name).to_owned(), ..AttributeProto::default() };
        NodeProto {
            op_type: op_type.to_owned(),
            input: owned(inputs),
            output: owned(outputs),
            attribute: attributes.iter().map(attribute).collect(),
            ..NodeProto::default()
        }
    }

    fn refused(node: &NodeProto, opset: i64) -> String {
        check(node, opset).expect_err("must be refused").to_string()
    }

    #[test]
    fn every_line_of_the_table_is_read() {
        let versions: usize = TABLE.versions.values().map(Vec::len).sum();
        assert_eq!(versions + 1, include_str!("schema.txt").lines().count());
        assert!(newest() >= 26, "{}", newest());
    }

    #[test]
    fn every_standard_operator_that_is_imported_is_in_the_table() {
        let standard = table::rows().filter(|row| row.domain.is_empty());
        let unknown: Vec<&str> =
            standard.map(|row| row.op_type).filter(|name| !TABLE.versions.contains_key(name)).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }

    #[test]
    fn the_form_of_the_operator_set_counts() {
        let add = node("Add", &["a", "b"], &["y"], &["axis"]);
        check(&add, 6).expect("opset 6 has an axis");
        assert!(refused(&add, 7).contains("axis"));
        check(&node("Gelu", &["x"], &["y"], &[]), 20).expect("opset 20 brought it");
        assert!(refused(&node("Gelu", &["x"], &["y"], &[]), 19).contains("20"));
        check(&node("Upsample", &["x", "s"], &["y"], &[]), 9).expect("the last that has it");
        assert!(refused(&node("Upsample", &["x", "s"], &["y"], &[]), 10).contains("removed"));
        check(&node("NoSuchOp", &[], &[], &["any"]), 10).expect("not judged");
    }

    #[test]
    fn counts_and_required_attributes_are_checked() {
        check(&node("Clip", &["x", "", ""], &["y", ""], &[]), 13).expect("empty names at the end are none");
        assert!(
            refused(&node("Relu", &["x"], &[], &[]), 14).contains("names 0 outputs, the operation has 1")
        );
        assert!(refused(&node("Relu", &["x"], &[""], &[]), 14).contains("names 0 outputs"));
        assert!(refused(&node("Relu", &["x", "z"], &["y"], &[]), 14).contains("names 2 inputs"));
        assert!(refused(&node("Concat", &[], &["y"], &["axis"]), 14).contains("at least 1"));
        assert!(refused(&node("Cast", &["x"], &["y"], &[]), 14).contains("attribute `to` is missing"));
    }
}
