//! The graph that statistics hold, without the elements of its weights.

use bytes::Bytes;
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

impl WeightSource for Zeros {
    fn find(&self, _digest: Digest, ty: &TensorType) -> Option<Stored> {
        // Pages of zeros that nobody reads take no memory.
        let length = usize::try_from(ty.byte_len()?).ok()?;
        Some(Stored::Memory(Bytes::from(vec![0; length])))
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
