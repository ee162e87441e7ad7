//! Makes a model for the runtime of a typed graph: one operator for a node, most often.
//!
//! Every node is asked first whether it is legal, and all reasons of all nodes are reported at once. Then nodes are emitted
//! in topological order, each by the row of [`table`] for its operation. What a node only rearranges for its reader, which
//! can read it as it is (the transposed operand of a product), is not emitted.

mod absorb;
mod activation;
mod arithmetic;
mod border;
mod builder;
mod cast;
mod compare;
mod conv;
mod encode;
mod matmul;
mod movement;
mod quantized;
mod reduce;
mod resize;
mod rows;
mod softmax;
mod values;

use std::fmt;

use quad_backends::legality::Legality;
use quad_backends::table::OpTable;
use quad_ir::graph::{AddError, Graph, NodeRef};
use quad_ir::loc::Loc;
use quad_ir::ops::OpKind;
use quad_ir::weights::WeightError;
use quad_passes::context::Place;

pub(crate) use absorb::behind_root;
pub use border::BorderError;
pub use builder::Lowering;
pub(crate) use quantized::{gate, is_in_floats};
pub use rows::table;

use crate::model::LiteRtModel;

/// How a model is made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each setting is asked for by its name")]
pub struct Settings {
    /// Whether float constants are stored in 16 bits, and widened when the model is loaded.
    pub half_weights: bool,
    /// Whether inputs of 64-bit integers become ones of 32, where all that reads them takes either.
    pub narrow_inputs: bool,
    /// Whether inputs and outputs that are stored integers inside are so at the border, too, in place of floats.
    pub stored_border: bool,
    /// Whether planes that are passed in and given back have their channels last.
    pub channels_last: bool,
    /// Names and texts that travel with the model.
    pub metadata: std::collections::BTreeMap<String, String>,
}

/// A row's function that emits a node.
pub type Emit = fn(NodeRef<'_>, &mut Lowering<'_>) -> Result<(), EmitError>;

/// The rows of this backend.
pub type Table = OpTable<Settings, Emit>;

/// A node could not be emitted.
#[derive(Debug, thiserror::Error)]
pub enum EmitError {
    /// What its check should have refused: a fault of the row.
    #[error("{0}; this is a fault of its check, not of the model")]
    Unchecked(String),
    /// A constant could not be made.
    #[error(transparent)]
    Weight(#[from] WeightError),
    /// A constant could not be made.
    #[error(transparent)]
    Add(#[from] AddError),
}

/// A graph cannot become a model.
#[derive(Debug, thiserror::Error)]
pub enum LowerError {
    /// Nodes are not legal.
    #[error("{}", Listed(.0))]
    Illegal(Vec<Illegal>),
    /// An input or output cannot be what was asked for.
    #[error(transparent)]
    Border(#[from] BorderError),
    /// A node could not be emitted.
    #[error("{place}: {error}")]
    Emit {
        /// The node.
        place: Box<Place>,
        /// Why.
        error: EmitError,
    },
}

/// A node that is not legal.
#[derive(Clone, Debug)]
pub struct Illegal {
    /// The node.
    pub place: Place,
    /// Every reason.
    pub legality: Legality,
}

/// Nodes that an error message shows.
const SHOWN: usize = 20;

struct Listed<'l>(&'l [Illegal]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} nodes cannot be written for LiteRT:", self.0.len())?;
        for illegal in self.0.iter().take(SHOWN) {
            for reason in illegal.legality.reasons() {
                write!(f, "\n  {}: {reason}", illegal.place)?;
            }
        }
        if self.0.len() > SHOWN {
            write!(f, "\n  and {} more", self.0.len() - SHOWN)?;
        }
        Ok(())
    }
}

/// Makes a model of `graph`.
pub fn lower(graph: &Graph, settings: &Settings) -> Result<LiteRtModel, LowerError> {
    let illegal: Vec<Illegal> = graph
        .topo()
        .into_iter()
        .map(|id| graph.node(id))
        .filter_map(|node| {
            let legality = legality(node, settings);
            (!legality.is_legal()).then(|| Illegal { place: Place::of(node), legality })
        })
        .collect();
    if !illegal.is_empty() {
        return Err(LowerError::Illegal(illegal));
    }
    let mut lowering = Lowering::new(graph, settings)?;
    for id in graph.topo() {
        let node = graph.node(id);
        // Constants become tensors where an operator reads them, inputs before all others.
        if matches!(node.op().kind(), OpKind::Input | OpKind::Weight) || lowering.is_absorbed(node) {
            continue;
        }
        lowering.begin(node);
        let emitted = match table().row(node.op().kind()) {
            Some(row) => (row.emit)(node, &mut lowering),
            None => Err(EmitError::Unchecked("no row".to_owned())),
        };
        lowering.end();
        emitted.map_err(|error| LowerError::Emit { place: Box::new(Place::of(node)), error })?;
    }
    let place = || Box::new(Place { node: "outputs".to_owned(), op: "return", name: None, loc: Loc::Built });
    lowering.finish().map_err(|error| LowerError::Emit { place: place(), error })
}

/// Whether `node` can be emitted.
pub fn legality(node: NodeRef<'_>, settings: &Settings) -> Legality {
    let of_values = values::legality(node).and(table().legality(node, settings));
    let with_integers = node.touches_quantized() && !quantized::is_in_floats(node);
    if with_integers { of_values.and(quantized::legality(node)) } else { of_values }
}
