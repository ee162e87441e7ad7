//! The graph that statistics hold, without the elements of its weights.

use bytes::Bytes;
use memmap2::MmapMut;
use quad_ir::graph::Graph;
use quad_ir::text::{self, ParseError, Stored, WeightSource};
use quad_ir::types::TensorType;
use quad_ir::weights::Digest;

/// A text is not that of a graph.
#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    /// It cannot be read.
    #[error("the text of the graph in the statistics cannot be read")]
    Parse(#[source] Box<ParseError>),
    /// There is none in it.
    #[error("the statistics hold no graph")]
    Empty,
}

/// Zeros for every weight that the text does not write out.
#[derive(Debug, Default)]
struct Zeros;

/// Bytes of a weight from which on the system is asked for its zeros.
const LARGE: usize = 1 << 20;

impl WeightSource for Zeros {
    fn find(&self, _digest: Digest, ty: &TensorType) -> Option<Stored> {
        let length = usize::try_from(ty.byte_len()?).ok()?;
        if length < LARGE {
            return Some(Stored::Memory(Bytes::from(vec![0; length])));
        }
        // Pages of zeros that nobody reads take no memory, and a text that claims more than there can be is refused.
        let zeros = MmapMut::map_anon(length).ok()?;
        Some(Stored::Memory(Bytes::from_owner(zeros)))
    }

    fn hint(&self) -> String {
        "its sizes are more than this machine holds".to_owned()
    }
}

/// The graph that `text` prints. Weights whose elements are not written out are zeros: only their types mean anything.
pub fn read(text: &str) -> Result<Graph, GraphError> {
    let module = text::parse(&format!("quad 1\n\n{text}"), &Zeros)
        .map_err(|error| GraphError::Parse(Box::new(error)))?;
    module.graphs.into_iter().next().ok_or(GraphError::Empty)
}

#[cfg(test)]
mod tests {
    use quad_ir::graph::ValueRef;

    use super::*;

    fn text(size: u64) -> String {
        let digest = "0".repeat(32);
        format!("graph @main() {{\n  %w = weight \"{digest}\" : f32[{size}]\n  return \"w\" = %w\n}}\n")
    }

    #[test]
    fn more_than_a_machine_holds_is_refused() {
        for size in [1, 1 << 20] {
            let graph = read(&text(size)).expect("a graph");
            let weight = graph.find("w").and_then(ValueRef::weight).expect("a weight");
            let zeros = graph.weights().tensor(weight).expect("they are there");
            assert!(zeros.to_f32().expect("floats").iter().all(|element| *element == 0.0), "{size}");
        }
        // More than addresses have bits for, and more than can be counted.
        for size in [1 << 46, 1 << 60, u64::MAX] {
            assert!(matches!(read(&text(size)), Err(GraphError::Parse(_))), "{size}");
        }
    }
}
