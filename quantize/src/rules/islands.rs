//! Float islands: what is computed of a timestep or of other integers alone, before the first layer.
//!
//! Sines and cosines of a timestep up to 1000 need more than the bits of an activation, and there are a few dozen of them
//! in a model: they stay floats. An island is found by dataflow. It begins where an integer that depends on the inputs of
//! a run becomes a float, or with a float input of at most one axis, and goes on through every operation whose float
//! operands are constants or on the island. It ends before layers, which have weights of their own. A table that is looked
//! up by integers, such as an embedding of tokens, is data and no island.

use quad_ir::dtype::DType;
use quad_ir::graph::{Graph, NodeRef, ValueId, ValueRef};
use quad_ir::ops::source::Binding;
use quad_ir::ops::{Input, OpKind};
use rustc_hash::{FxHashMap, FxHashSet};

/// What a value depends on, at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depends {
    /// Constants.
    #[default]
    Nothing,
    /// The adapter that is chosen.
    Adapter,
    /// The inputs of a run.
    Run,
}

/// What the values of a graph depend on, and which of them are on islands.
#[derive(Debug, Default)]
pub struct Dataflow {
    depends: FxHashMap<ValueId, Depends>,
    islands: FxHashSet<ValueId>,
}

/// Whether elements are floats that can be quantized.
pub(crate) fn is_real(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::F16 | DType::BF16 | DType::F64)
}

/// Operations that have weights: where an island ends.
pub(crate) const LAYERS: &[OpKind] =
    &[OpKind::Conv, OpKind::ConvTranspose, OpKind::MatMul, OpKind::Gemm, OpKind::Einsum, OpKind::Attention];

/// Operations that look elements of their first operand up.
const LOOKUPS: &[OpKind] = &[OpKind::Gather, OpKind::GatherElements, OpKind::GatherNd];

impl Dataflow {
    /// Follows the values of `graph` from its inputs on.
    pub fn of(graph: &Graph) -> Self {
        let mut flow = Self::default();
        for node in graph.topo() {
            let node = graph.node(node);
            let depends = match node.is::<Input>() {
                Some(Input { binding: Binding::Run, .. }) => Depends::Run,
                Some(Input { binding: Binding::Adapter, .. }) => Depends::Adapter,
                None => {
                    node.operands().flatten().map(|operand| flow.depends(operand)).max().unwrap_or_default()
                }
            };
            let is_island = depends == Depends::Run && flow.begins_or_continues(node);
            for result in node.results() {
                flow.depends.insert(result.id(), depends);
                if is_island && is_real(result.ty().dtype) {
                    flow.islands.insert(result.id());
                }
            }
        }
        flow
    }

    /// What `value` depends on.
    pub fn depends(&self, value: ValueRef<'_>) -> Depends {
        self.depends.get(&value.id()).copied().unwrap_or_default()
    }

    /// Whether `value` is on an island.
    pub fn is_island(&self, value: ValueRef<'_>) -> bool {
        self.islands.contains(&value.id())
    }

    /// Whether `value` is on an island, and something that is not reads it.
    pub fn is_island_end(&self, value: ValueRef<'_>) -> bool {
        let leaves = |node: NodeRef<'_>| {
            node.results().any(|result| is_real(result.ty().dtype) && !self.is_island(result))
        };
        self.is_island(value) && (value.is_output() || value.readers().any(|(reader, _)| leaves(reader)))
    }

    /// Whether the results of `node`, which depend on a run, are on an island.
    fn begins_or_continues(&self, node: NodeRef<'_>) -> bool {
        if let Some(input) = node.is::<Input>() {
            return is_real(input.ty.dtype) && input.ty.rank() <= 1;
        }
        let kind = node.op().kind();
        let stays = |value: ValueRef<'_>| self.depends(value) == Depends::Nothing || self.is_island(value);
        let mut floats = node.operands().flatten().filter(|operand| is_real(operand.ty().dtype));
        let looks_up = LOOKUPS.contains(&kind)
            && node.operands().next().flatten().is_some_and(|table| self.depends(table) == Depends::Nothing);
        !LAYERS.contains(&kind) && !looks_up && floats.all(stays)
    }
}

#[cfg(test)]
mod tests {
    use quad_ir::text::{NoWeights, parse};

    use super::*;

    /// The names of the values on islands of the graph with these lines, those at the ends with a star.
    fn islands(inputs: &str, lines: &str) -> Vec<String> {
        let text = format!("quad 1\n\ngraph @main({inputs}) {{\n{lines}\n}}\n");
        let module = parse(&text, &NoWeights).expect("a graph");
        let flow = Dataflow::of(&module.graphs[0]);
        let values =
            module.graphs[0].nodes().flat_map(NodeRef::results).filter(|value| flow.is_island(*value));
        let name = |value: ValueRef<'_>| {
            let end = if flow.is_island_end(value) { "*" } else { "" };
            format!("{}{end}", value.name().map_or("", |name| &**name))
        };
        values.map(name).collect()
    }

    #[test]
    fn a_timestep_is_an_island_up_to_the_first_layer() {
        let found = islands(
            "%x: f32[1, 4], %t: i64[1]",
            "  %frequencies = weight [1.0, 0.1, 0.01, 0.001] : f32[1, 4]
  %w = weight [1.0] : f32[4, 1]
  %float = cast(%t) {to = f32} : f32[1]
  %angles = mul(%float, %frequencies) : f32[1, 4]
  %sines = sin(%angles) : f32[1, 4]
  %embedded = matmul(%sines, %w) : f32[1, 1]
  %y = add(%x, %embedded) : f32[1, 4]
  return \"y\" = %y"
                .replace("[1.0] : f32[4, 1]", "[1.0, 1.0, 1.0, 1.0] : f32[4, 1]")
                .as_str(),
        );
        assert_eq!(found, ["float", "angles", "sines*"]);
    }

    #[test]
    fn a_float_timestep_is_one_and_a_table_is_none() {
        let found = islands(
            "%x: f32[1, 2], %t: f32[1], %id: i64[1]",
            "  %table = weight [1.0, 2.0, 3.0, 4.0] : f32[2, 2]
  %s = sin(%t) : f32[1]
  %row = gather(%table, %id) : f32[1, 2]
  %sum = add(%row, %s) : f32[1, 2]
  %y = add(%x, %sum) : f32[1, 2]
  return \"y\" = %y",
        );
        assert_eq!(found, ["t", "s*"]);
    }
}
