//! What the compiler for the tensor processor gets wrong without a word, and how graphs are kept from it.
//!
//! There is one fault so far. Where a sum, difference, quotient, maximum or minimum of 16 bits is multiplied by its own
//! sigmoid, what reads the product gets numbers that have nothing to do with it, in some sizes: 1 x 48 x 8 x 8 is one, and
//! 1 x 8 x 8 x 16 is none. That is so on the simulator of HTP for v73 to v81, in context binaries and in ONNX Runtime's
//! provider (release 2.7.0) alike; in 8 bits and with other operations before there is nothing wrong. A graph is kept from
//! it by giving the sigmoid its operand in an encoding that differs: the three operations are not taken for one then. The
//! test `a sum that its own sigmoid gates comes out right` says when that is no longer needed.

use crate::model::{DataType, Encoding, QnnGraph, ScaleOffset, TensorId};

/// The operations whose results must not be multiplied by their own sigmoid.
const BEFORE: [&str; 5] = [
    "ElementWiseAdd",
    "ElementWiseSubtract",
    "ElementWiseDivide",
    "ElementWiseMaximum",
    "ElementWiseMinimum",
];

/// What moves elements, and does not help.
const MOVES: [&str; 2] = ["Reshape", "Transpose"];

/// The encoding in which a sigmoid must read tensor `x` so that what is multiplied by it comes out right; `None` where it may
/// read it as it is. `more` are operations that become one of those where the graph is not compiled as it stands.
pub(crate) fn sigmoid_operand(graph: &QnnGraph, x: TensorId, more: &[&str]) -> Option<Encoding> {
    let tensor = graph.tensor(x);
    let (DataType::Ufixed16, Some(Encoding::Tensor(all))) = (tensor.data_type, &tensor.encoding) else {
        return None;
    };
    let kind = computed_by(graph, x)?;
    // A tenth of a percent is enough to be another one, and loses nothing that a sigmoid shows.
    let other = ScaleOffset { scale: all.scale * (1.0 + 1.0 / 1024.0), offset: all.offset };
    (BEFORE.contains(&kind) || more.contains(&kind)).then_some(Encoding::Tensor(other))
}

/// The kind of operation that computed the numbers of tensor `x`.
fn computed_by(graph: &QnnGraph, mut x: TensorId) -> Option<&str> {
    loop {
        // The last one to be added is likely to be near.
        let node = graph.nodes.iter().rev().find(|node| node.outputs.contains(&x))?;
        if !MOVES.contains(&node.kind.as_str()) {
            return Some(&node.kind);
        }
        x = *node.inputs.first()?;
    }
}
