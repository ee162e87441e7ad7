//! What graph statistics, profiles and packed adapters are for.

use quad_ir::graph::Graph;
use quad_ir::text;
use quad_ir::weights::WeightError;

/// A digest of what `graph` computes: the first 128 bits of the BLAKE3 digest of its text, which has the digests of all
/// weights, in hexadecimal. Reads every weight.
pub fn of_graph(graph: &Graph) -> Result<String, WeightError> {
    Ok(of_text(&text::print_graph(graph)?))
}

/// As [`of_graph`], of the text of a graph.
pub fn of_text(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex()[..32].to_owned()
}
