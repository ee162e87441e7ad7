//! What a file holds: several graphs.

use crate::graph::Graph;

/// Graphs that belong together, such as `@main`, which runs, and `@pack`, which prepares an adapter for it. They share
/// weights by sharing the bytes behind them.
#[derive(Clone, Debug, Default)]
pub struct Module {
    /// The graphs, in order; names are unique.
    pub graphs: Vec<Graph>,
}

impl Module {
    /// The graph called `name`.
    pub fn graph(&self, name: &str) -> Option<&Graph> {
        self.graphs.iter().find(|graph| &**graph.name() == name)
    }

    /// The graph that runs: `@main`, or the only one.
    pub fn main(&self) -> Option<&Graph> {
        match self.graphs.as_slice() {
            [only] => Some(only),
            _ => self.graph("main"),
        }
    }
}
