//! Which element types operations take together, as data: see `types.txt`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use quad_backends::legality::Reason;

use crate::model::{DataType, Node, QnnGraph};

/// Types of inputs, and types of outputs.
type Set = (Vec<DataType>, Vec<DataType>);

static SETS: LazyLock<BTreeMap<&'static str, Vec<Set>>> = LazyLock::new(|| {
    let mut sets: BTreeMap<&'static str, Vec<Set>> = BTreeMap::new();
    for line in include_str!("types.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (kind, set) = parse(line).expect("a line of the table is `Kind: types -> types`");
        sets.entry(kind).or_default().push(set);
    }
    sets
});

fn parse(line: &'static str) -> Option<(&'static str, Set)> {
    let (kind, set) = line.split_once(": ")?;
    let (inputs, outputs) = set.split_once(" -> ")?;
    let types = |text: &str| text.split(' ').map(DataType::from_name).collect::<Option<Vec<_>>>();
    Some((kind, (types(inputs)?, types(outputs)?)))
}

/// Why the tensor processor does not take the types of `node`'s tensors together, if it does not.
pub(super) fn misfit(graph: &QnnGraph, node: &Node) -> Option<Reason> {
    let types = |ids: &[crate::model::TensorId]| -> Vec<DataType> {
        ids.iter().map(|id| graph.tensor(*id).data_type).collect()
    };
    let found = (types(&node.inputs), types(&node.outputs));
    let Some(sets) = SETS.get(node.kind.as_str()) else {
        return Some(Reason::new(format!("the types that {} takes are not known", node.kind)));
    };
    if sets.iter().any(|set| fits(set, &found, &node.kind)) {
        return None;
    }
    let nearest: Vec<String> = sets.iter().filter(|set| set.0[0] == found.0[0]).map(show).collect();
    let taken = if nearest.is_empty() {
        sets.iter().map(show).collect::<Vec<_>>().join(", ")
    } else {
        nearest.join(", ")
    };
    Some(
        Reason::new(format!("{} takes no {}", node.kind, show(&found)))
            .help(format!("it takes {taken}"))
            .source("type sets of the HTP library, API 5.51"),
    )
}

/// Whether tensors of the types `found` are of the set `set`.
fn fits(set: &Set, found: &Set, kind: &str) -> bool {
    // Any number of tensors, all of the type of the first.
    if kind == "Concat" {
        return found.0.iter().all(|input| *input == set.0[0]) && found.1 == set.1;
    }
    let inputs = found.0.len() <= set.0.len() && set.0.iter().zip(&found.0).all(|(takes, is)| takes == is);
    let outputs = found.1.iter().all(|output| set.1.contains(output));
    inputs && outputs
}

fn show((inputs, outputs): &Set) -> String {
    let list = |types: &[DataType]| types.iter().map(|one| one.name()).collect::<Vec<_>>().join(" x ");
    format!("{} -> {}", list(inputs), list(outputs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_read_and_sets_differ() {
        assert!(SETS.len() > 40, "{}", SETS.len());
        for (kind, sets) in SETS.iter() {
            for (at, set) in sets.iter().enumerate() {
                assert!(!sets[..at].contains(set), "{kind}: {} is there twice", show(set));
            }
        }
        let conv: Set =
            (vec![DataType::Ufixed16, DataType::Sfixed8, DataType::Sfixed32], vec![DataType::Ufixed16]);
        assert!(SETS["Conv2d"].contains(&conv));
    }
}
