//! The simulator of Qualcomm's tensor processors as an executor of graphs, block by block.
//!
//! A graph that is legal for QNN is cut into blocks of operations in a row. Each is compiled by itself, and what passes
//! from one to the next is seen: so the simulator [runs](Executor) wherever something runs a graph, and
//! [`Simulator::deviations`] says of each block how far it alone is from the interpreter.

use std::collections::{BTreeMap, BTreeSet};

use quad_ir::graph::{AddError, Graph, Misplaced, NodeId, Output, ValueId, ValueRef};
use quad_ir::interpret::{Interpreter, NamedTensors, RunError};
use quad_ir::ops::source::Binding;
use quad_ir::ops::{Input, Weight};
use quad_ir::tensor::{Tensor, TensorError};
use quad_ir::types::Encoded;
use quad_qnn::emit::package::{Package, PortError};
use quad_qnn::native::{Native, NativeError, Program};
use quad_qnn::soc::Soc;
use quad_qnn::table::{LowerErrors, Setting, lower};
use quad_quantize::executor::{ExecuteError, Executor};

/// Blocks of a graph, compiled for a chip.
#[derive(Debug)]
pub struct Simulator<'g> {
    graph: &'g Graph,
    native: Native,
    soc: Soc,
    blocks: Vec<Block>,
}

/// Some operations in a row.
#[derive(Debug)]
struct Block {
    page: Package,
    binary: Program,
}

/// How far a result of a block is from what the interpreter makes of the same inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Deviation {
    /// The block, from 0.
    pub block: usize,
    /// The value.
    pub value: String,
    /// The largest difference, in steps of the value's encoding; in thousandths of the largest magnitude of a value that
    /// is not quantized.
    pub steps: f64,
}

/// A graph could not be cut, compiled or run.
#[derive(Debug, thiserror::Error)]
pub enum SimulatorError {
    /// A node is not legal.
    #[error(transparent)]
    Lower(#[from] LowerErrors),
    /// The libraries refused, or failed.
    #[error(transparent)]
    Native(#[from] NativeError),
    /// A tensor is not what a block takes or gives.
    #[error(transparent)]
    Port(#[from] PortError),
    /// A block could not be built.
    #[error(transparent)]
    Add(#[from] AddError),
    /// A block lacks an output.
    #[error(transparent)]
    Output(#[from] Misplaced),
    /// The interpreter could not run the graph.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A tensor has elements of another kind than its type says.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// No block makes a value.
    #[error("nothing makes `{0}`: an input is missing, or the graph gives back what it is given")]
    Missing(String),
}

/// What a value is called between blocks.
fn key(value: ValueRef<'_>) -> String {
    value.name().map_or_else(|| value.id().to_string(), ToString::to_string)
}

impl<'g> Simulator<'g> {
    /// `graph`, made legal for `soc`, in blocks of `operations` each.
    pub fn new(
        graph: &'g Graph,
        native: Native,
        soc: Soc,
        operations: usize,
    ) -> Result<Self, SimulatorError> {
        let is_computed = |node: &NodeId| {
            let node = graph.node(*node);
            node.is::<Input>().is_none() && node.is::<Weight>().is_none()
        };
        let order: Vec<NodeId> = graph.topo().into_iter().filter(is_computed).collect();
        let blocks = order.chunks(operations.max(1)).map(|nodes| {
            let part = part(graph, nodes)?;
            let lowered = lower(&part, Setting { soc })?;
            let binary = Program::Binary(native.compile(&lowered.graph, soc)?.binary);
            Ok(Block { page: Package::of(&part, &lowered, soc, ""), binary })
        });
        let blocks = blocks.collect::<Result<_, SimulatorError>>()?;
        Ok(Self { graph, native, soc, blocks })
    }

    /// How many blocks there are.
    pub fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// How far each result of each block is from the interpreter, where blocks are given what the interpreter has.
    pub fn deviations(&self, inputs: &NamedTensors) -> Result<Vec<Deviation>, SimulatorError> {
        let mut exact = inputs.clone();
        Interpreter::new(self.graph).run_observed(inputs, &mut |value, tensor| {
            if value.weight().is_none() {
                exact.insert(key(value), tensor.clone());
            }
        })?;
        let mut deviations = Vec::new();
        for (block, part) in self.blocks.iter().enumerate() {
            for (value, found) in self.run_block(part, &exact)? {
                let exact = exact.get(&value).ok_or_else(|| SimulatorError::Missing(value.clone()))?;
                let steps = apart(&found, exact)?;
                deviations.push(Deviation { block, value, steps });
            }
        }
        Ok(deviations)
    }

    /// What `block` makes of those of `values` that it takes.
    fn run_block(&self, block: &Block, values: &NamedTensors) -> Result<NamedTensors, SimulatorError> {
        let mut given = NamedTensors::new();
        for port in &block.page.inputs {
            let value = values.get(&port.name).ok_or_else(|| SimulatorError::Missing(port.name.clone()))?;
            given.insert(port.name.clone(), value.clone());
        }
        let run = block.page.stored(&given)?;
        let found = self.native.execute(&block.binary, self.soc, &[run])?;
        Ok(block.page.tensors(&found[0])?)
    }

    fn run_all(
        &self,
        inputs: &NamedTensors,
        observe: &mut dyn FnMut(&str, &Tensor),
    ) -> Result<NamedTensors, SimulatorError> {
        let mut values = inputs.clone();
        for (name, tensor) in &values {
            observe(name, tensor);
        }
        for block in &self.blocks {
            let made = self.run_block(block, &values)?;
            for (name, tensor) in &made {
                observe(name, tensor);
            }
            values.extend(made);
        }
        let outputs = self.graph.outputs().iter().map(|output| {
            let name = key(self.graph.value(output.value));
            let tensor = values.get(&name).ok_or_else(|| SimulatorError::Missing(name.clone()))?;
            Ok((output.name.to_string(), tensor.clone()))
        });
        outputs.collect()
    }
}

/// Shows inputs, and what passes from one block to another.
impl Executor for Simulator<'_> {
    fn run_observed(
        &self,
        inputs: &NamedTensors,
        observe: &mut dyn FnMut(&str, &Tensor),
    ) -> Result<NamedTensors, ExecuteError> {
        self.run_all(inputs, observe).map_err(|error| ExecuteError::Other(Box::new(error)))
    }
}

/// The operations `nodes` of `graph` alone: what they read of others are inputs, what others read of them outputs.
fn part(graph: &Graph, nodes: &[NodeId]) -> Result<Graph, SimulatorError> {
    let within: BTreeSet<NodeId> = nodes.iter().copied().collect();
    let mut part = Graph::new(graph.name().clone());
    *part.symbols_mut() = graph.symbols().clone();
    *part.weights_mut() = graph.weights().clone();
    let mut copies: BTreeMap<ValueId, ValueId> = BTreeMap::new();
    let mut outputs = Vec::new();
    for node in nodes.iter().map(|node| graph.node(*node)) {
        let mut operands = Vec::new();
        for operand in node.operands() {
            operands.push(operand.map(|value| copied(&mut part, &mut copies, value)).transpose()?);
        }
        let stated: Vec<Option<Encoded>> = node.results().map(|result| Encoded::of(result.ty())).collect();
        let copy = part.add_stated(node.op().clone(), &operands, &stated, node.loc().clone())?;
        let results: Vec<ValueId> = part.node(copy).results().map(ValueRef::id).collect();
        for (result, copy) in node.results().zip(results) {
            copies.insert(result.id(), copy);
            let name = key(result);
            part.set_name(copy, &name);
            let is_read = result.readers().any(|(reader, _)| !within.contains(&reader.id()));
            if is_read || result.is_output() {
                outputs.push(Output { name: name.into(), value: copy });
            }
        }
    }
    part.set_outputs(outputs)?;
    Ok(part)
}

/// `value` in `part`: a constant, a result that is there, or an input.
fn copied(
    part: &mut Graph,
    copies: &mut BTreeMap<ValueId, ValueId>,
    value: ValueRef<'_>,
) -> Result<ValueId, AddError> {
    if let Some(copy) = copies.get(&value.id()) {
        return Ok(*copy);
    }
    let loc = value.producer().loc().clone();
    let copy = match value.weight() {
        Some(weight) => part.add_weight(weight, loc)?,
        None => part.add_input(&key(value), value.ty().clone(), Binding::Run, loc)?,
    };
    copies.insert(value.id(), copy);
    Ok(copy)
}

/// The largest difference, in steps or in thousandths of the largest magnitude.
fn apart(found: &Tensor, exact: &Tensor) -> Result<f64, TensorError> {
    let (a, b) = (found.to_f64()?, exact.to_f64()?);
    let most = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    if !exact.dtype().is_float() {
        return Ok(most);
    }
    let largest = b.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    Ok(if largest > 0.0 { most / largest * 1000.0 } else { most })
}

#[cfg(test)]
mod tests {
    use quad_ir::text::{NoWeights, parse};

    use super::*;

    const TEXT: &str = "quad 1\n\ngraph @main(%x: f32[2]) {\n  %c = weight [1.0, 2.0] : f32[2]\n  %a = add(%x, %c) : f32[2]\n  \
                        %b = relu(%a) : f32[2]\n  %d = mul(%b, %a) : f32[2]\n  return \"y\" = %d\n}\n";

    #[test]
    fn parts_take_what_others_make_and_give_what_others_read() {
        let module = parse(TEXT, &NoWeights).expect("a graph");
        let graph = module.main().expect("it runs");
        let order: Vec<NodeId> = graph
            .topo()
            .into_iter()
            .filter(|node| !["input", "weight"].contains(&graph.node(*node).op().def().name()))
            .collect();
        let first = part(graph, &order[..2]).expect("a part");
        let second = part(graph, &order[2..]).expect("a part");
        let names = |graph: &Graph| -> (Vec<String>, Vec<String>) {
            let outputs = graph.outputs().iter().map(|output| output.name.to_string());
            (graph.inputs().map(key).collect(), outputs.collect())
        };
        let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names(&first), (owned(&["x"]), owned(&["a", "b"])));
        assert_eq!(names(&second), (owned(&["b", "a"]), owned(&["d"])));
        let x = Tensor::from_vec(&[2], vec![3.0f32, -4.0]).expect("two numbers");
        let inputs = NamedTensors::from([("x".to_owned(), x)]);
        let between = Interpreter::new(&first).run(&inputs).expect("runs");
        let parts = Interpreter::new(&second).run(&between).expect("runs");
        let whole = Interpreter::new(graph).run(&inputs).expect("runs");
        assert_eq!(parts["d"], whole["y"]);
    }
}
