//! Why no profile can be made.

use crate::encoding::EncodingError;
use crate::rules::graph::GraphError;
use crate::rules::plan::PlanError;

/// No profile can be made.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// The graph in the statistics cannot be read.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// Rules, graph and precision do not go together.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A range has no encoding.
    #[error("`{name}`")]
    Encoding {
        /// The value.
        name: String,
        /// Why.
        source: EncodingError,
    },
    /// There are no statistics of the anchor, or none at all.
    #[error("there are no statistics of `{0}`: calibrate with the adapters that the profile is for")]
    NoAdapter(String),
    /// An adapter was run on nothing.
    #[error(
        "adapter `{0}` was run on no sample, so that nothing is known of its values: `quad calibrate --merge` adds the parts \
         of a calibration with --shard, and otherwise it is to be calibrated again with data that have samples"
    )]
    NoSamples(String),
    /// A layer's weight has elements that are not finite, so that there are no statistics of it.
    #[error(
        "the statistics have nothing of the weight `{name}`, as of all constants with infinite elements, or such that are no \
         numbers; no encoding holds these: mend the weight, or keep it a float with --float '{name}'"
    )]
    NotFinite {
        /// The weight.
        name: String,
    },
    /// The statistics lack a value of the graph.
    #[error(
        "the statistics have nothing of `{0}`, which the rules ask an encoding for: calibrate again with this version"
    )]
    NoStatistics(String),
    /// A slot is not what rank-normalized factors are.
    #[error(
        "slot `{slot}` of adapter `{adapter}` reaches {magnitude}, and factors that are normalized by rank reach 1: expose \
         the model with `quad lora expose --form rank-normalized`, and calibrate that"
    )]
    NotNormalized {
        /// The slot.
        slot: String,
        /// The adapter.
        adapter: String,
        /// Its largest magnitude.
        magnitude: f32,
    },
}
