//! Random graphs: valid, typed, and made of what exporters write, so that the rules of passes have something to find.
//!
//! A graph grows by [steps](STEPS): a step takes a value that is there, fits it to what it needs by reshapes, transposes
//! and new inputs, and adds some nodes: an activation written out, a linear layer, a whole attention. Values carry the
//! range that their elements are in, and a value that grows too large is brought back, so nothing overflows, divides by
//! zero or takes the root of a negative number. What amplifies rounding is found out by [`settle`](settle::settle) and
//! is no output: there a difference would say nothing about a pass.
//!
//! The same seed and the same number of nodes give the same graph.

mod attention;
mod elementwise;
mod grower;
mod idle;
mod image;
mod linear;
mod movement;
mod normalization;
mod reduction;
mod settle;
mod shapes;
mod trial;

use quad_ir::graph::{AddError, Graph};

use grower::Grower;
pub use settle::SettleError;
pub use trial::{Fault, Fired, Trial};

/// Adds nodes to a graph that grows.
type Step = fn(&mut Grower) -> Result<(), AddError>;

/// The steps, and how often each is taken.
const STEPS: &[(u64, Step)] = &[
    (6, elementwise::unary),
    (6, elementwise::with_constant),
    (5, elementwise::of_two),
    (6, elementwise::activation),
    (2, elementwise::limits),
    (2, elementwise::selection),
    (3, idle::arithmetic),
    (3, idle::movement),
    (2, idle::there_and_back),
    (2, elementwise::common_factor),
    (3, elementwise::of_constants),
    (3, elementwise::twin),
    (2, elementwise::cousins),
    (5, movement::transposed),
    (4, movement::reshaped),
    (3, movement::unsqueezed),
    (4, movement::sliced),
    (3, movement::split),
    (3, movement::joined),
    (2, movement::padded),
    (2, movement::gathered),
    (2, movement::expanded),
    (2, movement::casted),
    (4, reduction::reduced),
    (2, reduction::softmax),
    (6, linear::dense),
    (2, linear::in_a_row),
    (3, linear::between_factors),
    (2, linear::gemm),
    (3, linear::with_adapter),
    (2, linear::product),
    (2, linear::gated),
    (3, normalization::layer),
    (2, normalization::root_mean_square),
    (2, normalization::group),
    (2, normalization::as_one_node),
    (4, attention::heads),
    (2, attention::as_one_node),
    (2, attention::rotated),
    (5, image::convolution),
    (2, image::strided),
    (2, image::transposed_convolution),
    (2, image::pooled),
    (2, image::resized),
    (2, image::blocks),
    (2, image::timestep),
    (2, image::as_tokens),
    (3, shapes::reshaped),
    (2, shapes::expanded),
    (2, shapes::sliced),
];

/// A graph that `seed` determines, of about `nodes` nodes: growing stops when there are so many.
///
/// # Errors
/// When a step adds what a type rule refuses, or the graph does not run: faults of this generator.
pub fn graph(seed: u64, nodes: usize) -> Result<Graph, SettleError> {
    let mut grower = Grower::new(seed);
    while grower.n_nodes() < nodes {
        grower.weighted(STEPS)(&mut grower)?;
    }
    settle::settle(grower, seed)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use quad_ir::module::Module;
    use quad_ir::text;
    use quad_ir::verify::verify;

    use super::*;

    #[test]
    fn every_step_adds_what_type_rules_accept_and_runs() {
        for (index, (_, step)) in STEPS.iter().enumerate() {
            for seed in 0..24 {
                let mut grower = Grower::new(seed);
                for _ in 0..3 {
                    if let Err(error) = step(&mut grower) {
                        panic!("step {index}, seed {seed}: {error}");
                    }
                }
                if let Err(error) = settle::settle(grower, seed) {
                    panic!("step {index}, seed {seed}: {error}");
                }
            }
        }
    }

    #[test]
    fn a_seed_determines_the_graph() {
        let print = |seed| {
            let graph = graph(seed, 60).expect("a graph");
            verify(&graph).expect("valid");
            text::print(&Module { graphs: vec![graph] }).expect("prints")
        };
        assert_eq!(print(7), print(7));
        assert_ne!(print(7), print(8));
    }

    /// What no output depends on is not compared.
    #[test]
    fn most_of_a_graph_matters_to_an_output() {
        let (mut all, mut live) = (0, 0);
        for seed in 0..60 {
            let mut graph = graph(seed, 60).expect("a graph");
            all += graph.nodes().count();
            let mut patch = quad_ir::graph::Patch::new(&graph, "test");
            patch.erase_dead();
            let edit = patch.finish().expect("nothing reads what is dead");
            graph.apply(edit).expect("of this graph");
            live += graph.nodes().count();
        }
        assert!(live * 10 >= all * 6, "of {all} nodes only {live} are compared");
    }

    #[test]
    fn what_rules_look_for_is_reached() {
        let mut reached = BTreeSet::new();
        for seed in 0..60 {
            let graph = graph(seed, 60).expect("a graph");
            assert!(!graph.outputs().is_empty(), "seed {seed} has no output");
            reached.extend(graph.nodes().map(|node| node.op().def().name()));
        }
        let wanted = "add batch_norm cast clip concat conv conv_transpose div erf expand gather gemm layer_norm matmul mul \
                      pad pow reduce_mean reshape resize shape_of sigmoid slice softmax split sqrt squeeze tanh transpose \
                      unsqueeze where";
        let missed: Vec<&str> = wanted.split_whitespace().filter(|op| !reached.contains(op)).collect();
        assert!(missed.is_empty(), "never grown: {missed:?}");
    }
}
