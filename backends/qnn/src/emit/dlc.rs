//! What is done to a graph before it is written as a DLC, so that it can be read back.
//!
//! The reader gives back names in which all but letters, digits and underscores became underscores. Inputs and outputs get
//! such names before they are written, each its own, and the page of the model says them.
//!
//! The reader of API 5.51 gives `ResizeNearestNeighbor`, which resizing to the nearest element becomes in a DLC, a parameter
//! that the library for the tensor processor then refuses. Where an axis grows by a whole factor the same elements come of
//! repeating each.

use std::collections::BTreeSet;

use crate::model::{Node, PACKAGE, Param, QnnGraph, Role, Tensor, TensorId};

/// The names of the tensors of `graph` in a DLC, in the order of the tensors.
pub fn names(graph: &QnnGraph) -> Vec<String> {
    let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '_' };
    let mut taken = BTreeSet::new();
    let mut names = vec![String::new(); graph.tensors.len()];
    let is_kept = |tensor: &Tensor| matches!(tensor.role, Role::Input | Role::Output);
    // Inputs and outputs first: what is between need not have the name that it would have alone.
    let (kept, other): (Vec<_>, Vec<_>) =
        graph.tensors.iter().enumerate().partition(|(_, tensor)| is_kept(tensor));
    for (at, tensor) in kept.into_iter().chain(other) {
        let mut name: String = tensor.name.chars().map(plain).collect();
        if name.starts_with(|letter: char| letter.is_ascii_digit()) {
            name.insert(0, '_');
        }
        let (first, mut number) = (name.clone(), 1);
        while !taken.insert(name.clone()) {
            number += 1;
            name = format!("{first}_{number}");
        }
        names[at] = name;
    }
    names
}

/// `graph` without what cannot be read back, as far as that can be said in other words.
pub fn readable(graph: &QnnGraph) -> QnnGraph {
    let mut written = QnnGraph { nodes: Vec::new(), ..graph.clone() };
    for (tensor, name) in written.tensors.iter_mut().zip(names(graph)) {
        tensor.name = name;
    }
    for node in &graph.nodes {
        match factors(graph, node) {
            Some(factors) => repeat(&mut written, node, factors),
            None => written.nodes.push(node.clone()),
        }
    }
    written
}

/// How often `node` repeats each row and each column, if it does that and nothing else.
fn factors(graph: &QnnGraph, node: &Node) -> Option<[u32; 2]> {
    if node.kind != "Resize" || node.number("interpolation_mode") != Some(0) {
        return None;
    }
    // From the middle of a place to the nearest one, or from its start down: both are the place divided by the factor.
    let modes = (node.number("transformation_mode"), node.number("nearest_mode"));
    let whole = matches!(modes, (Some(0 | 1), Some(0 | 1)) | (Some(3), Some(2)));
    let (from, to) = (&graph.tensor(node.inputs[0]).dims, &graph.tensor(node.outputs[0]).dims);
    let fits = whole && to[1].is_multiple_of(from[1]) && to[2].is_multiple_of(from[2]);
    fits.then(|| [to[1] / from[1], to[2] / from[2]])
}

/// Rows and columns get an axis of their own for each repetition, which is stretched.
fn repeat(graph: &mut QnnGraph, node: &Node, [rows, columns]: [u32; 2]) {
    let from = graph.tensor(node.inputs[0]).clone();
    let [batch, height, width, channels] = from.dims[..] else { return };
    let apart = vec![batch * height, 1, width, 1, channels];
    let stretched = vec![batch * height, rows, width, columns, channels];
    let between = |graph: &mut QnnGraph, what: &str, dims: Vec<u32>| -> TensorId {
        let name = format!("{}.{what}", node.name);
        graph.add_tensor(Tensor { name, role: Role::Native, dims, ..from.clone() })
    };
    let apart = between(graph, "apart", apart);
    let stretched = between(graph, "stretched", stretched);
    let step = |what: &str, kind: &str, from: TensorId, to: TensorId, params: Vec<(String, Param)>| Node {
        name: format!("{}.{what}", node.name),
        package: PACKAGE.to_owned(),
        kind: kind.to_owned(),
        params,
        inputs: vec![from],
        outputs: vec![to],
    };
    let multiples = Param::U32s(vec![5], vec![1, rows, 1, columns, 1]);
    graph.nodes.extend([
        step("split", "Reshape", node.inputs[0], apart, Vec::new()),
        step("repeat", "Tile", apart, stretched, vec![("multiples".to_owned(), multiples)]),
        step("join", "Reshape", stretched, node.outputs[0], Vec::new()),
    ]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::DataType;

    fn tensor(name: &str, role: Role, dims: &[u32]) -> Tensor {
        Tensor {
            name: name.to_owned(),
            role,
            data_type: DataType::Float32,
            dims: dims.to_vec(),
            encoding: None,
        }
    }

    #[test]
    fn names_are_words_and_differ() {
        let mut graph = QnnGraph::new("main");
        for (name, role) in
            [("a_b", Role::Native), ("a.b", Role::Input), ("a/b", Role::Output), ("1", Role::Native)]
        {
            graph.add_tensor(tensor(name, role, &[1]));
        }
        assert_eq!(names(&graph), ["a_b_3", "a_b", "a_b_2", "_1"]);
    }

    #[test]
    fn whole_factors_become_repetitions() {
        let mut graph = QnnGraph::new("main");
        let x = graph.add_tensor(tensor("x", Role::Input, &[1, 2, 3, 4]));
        let y = graph.add_tensor(tensor("y", Role::Output, &[1, 4, 9, 4]));
        let modes = |nearest| {
            [("interpolation_mode", 0), ("transformation_mode", 3), ("nearest_mode", nearest)]
                .map(|(name, mode)| (name, Param::U32(mode)))
        };
        graph.add_node("up", "Resize", &[x], &[y], modes(2));
        let kinds = |graph: &QnnGraph| graph.nodes.iter().map(|node| node.kind.clone()).collect::<Vec<_>>();
        let written = readable(&graph);
        assert_eq!(kinds(&written), ["Reshape", "Tile", "Reshape"]);
        assert_eq!(written.tensor(written.nodes[1].outputs[0]).dims, [2, 2, 3, 3, 4]);
        // Rounding up is another element.
        graph.nodes[0].params = modes(3).map(|(name, mode)| (name.to_owned(), mode)).to_vec();
        assert_eq!(kinds(&readable(&graph)), ["Resize"]);
    }
}
