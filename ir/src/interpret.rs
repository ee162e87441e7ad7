//! The reference interpreter: runs a graph node by node, each operation by its reference semantics.
//!
//! It is the oracle that passes and backends are compared with, so it is boring on purpose: no fusion, no planning.
//! Values are dropped after their last reader, and a limit on the bytes held at a time turns a hostile model into an
//! error instead of an exhausted machine.

mod compute;
mod inputs;

pub use compute::compute;
pub(crate) use compute::{infer_run_time, infer_with};

use std::collections::BTreeMap;

use inputs::fits;
use rustc_hash::FxHashMap;

use crate::graph::{Graph, NodeRef, ValueId, ValueRef};
use crate::loc::{Loc, Name};
use crate::ops::{EvalError, InferError, Op, Results, Weight};
use crate::quantized::{Arithmetic, Call};
use crate::tensor::Tensor;
use crate::types::TensorType;
use crate::weights::{WeightError, WeightId};

/// Tensors by name.
pub type NamedTensors = BTreeMap<String, Tensor>;

/// Types of tensors by name.
pub type NamedTypes = BTreeMap<String, TensorType>;

/// A run did not finish.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No tensor was given for an input.
    #[error("input `{name}` is missing; the graph takes {expected}; {given}")]
    MissingInput {
        /// The input.
        name: Name,
        /// All inputs with their types.
        expected: String,
        /// The names that were given.
        given: String,
    },
    /// A tensor was given that is no input.
    #[error("there is no input `{name}`; the graph takes {expected}")]
    UnknownInput {
        /// The name given.
        name: String,
        /// All inputs with their types.
        expected: String,
    },
    /// A tensor does not have the type of its input.
    #[error("input `{name}` is {found}, expected {expected}")]
    InputType {
        /// The input.
        name: Name,
        /// The type given.
        found: String,
        /// The type of the input.
        expected: String,
    },
    /// An operation could not be evaluated.
    #[error("`{op}` at {loc}: {error}")]
    Eval {
        /// The operation.
        op: &'static str,
        /// Where it came from.
        loc: Box<Loc>,
        /// Why.
        error: EvalError,
    },
    /// A result does not have the type that the graph says it has.
    #[error("`{op}` at {loc} gives {found}, but the graph says {expected}")]
    ResultType {
        /// The operation.
        op: &'static str,
        /// Where it came from.
        loc: Box<Loc>,
        /// The type of what was computed.
        found: String,
        /// The type of the value.
        expected: String,
    },
    /// A weight could not be read.
    #[error("weight at {loc}: {error}")]
    Weight {
        /// Where it came from.
        loc: Box<Loc>,
        /// Why.
        error: WeightError,
    },
    /// The values held at a time would take more than the limit.
    #[error("`{op}` at {loc} needs {needed} bytes more while {held} are held: over the limit of {limit}")]
    Memory {
        /// The operation.
        op: &'static str,
        /// Where it came from.
        loc: Box<Loc>,
        /// Bytes of its results.
        needed: u64,
        /// Bytes held by other values.
        held: u64,
        /// The limit.
        limit: u64,
    },
    /// The caller asked to stop.
    #[error("stopped after {done} of {total} nodes")]
    Stopped {
        /// Nodes that were evaluated.
        done: usize,
        /// Nodes of the graph.
        total: usize,
    },
}

impl RunError {
    /// Whether the graph may be sound and asks for something that has no reference semantics.
    pub fn is_unsupported(&self) -> bool {
        let Self::Eval { error, .. } = self else { return false };
        matches!(error, EvalError::Unsupported(_) | EvalError::Infer(InferError::Unsupported(_)))
    }
}

/// Runs a graph. Build with [`Interpreter::new`], adjust, then [`run`](Interpreter::run) any number of times.
pub struct Interpreter<'g> {
    graph: &'g Graph,
    limit: u64,
    progress: Option<&'g dyn Fn(usize, usize)>,
    constants: Option<&'g Constants>,
    arithmetic: Arithmetic,
    kernels: Option<&'g dyn Kernels>,
}

/// Computes nodes in another way than the reference semantics: with the rounding of a particular device, say.
pub trait Kernels: Sync {
    /// The results of `node` for `operands`, both as they are stored. `None` leaves the node to the reference semantics.
    /// Inputs and weights are not asked for.
    fn evaluate(&self, node: NodeRef<'_>, operands: &[Option<Tensor>]) -> Option<Result<Results, EvalError>>;
}

/// Weights of a graph whose bytes were read or made before.
pub type Constants = FxHashMap<WeightId, Tensor>;

impl<'g> Interpreter<'g> {
    /// An interpreter of `graph` without a memory limit.
    pub fn new(graph: &'g Graph) -> Self {
        Self {
            graph,
            limit: u64::MAX,
            progress: None,
            constants: None,
            arithmetic: Arithmetic::default(),
            kernels: None,
        }
    }

    /// Refuses to hold more than `limit` bytes of computed values at a time. Inputs and weights do not count.
    #[must_use]
    pub fn with_memory_limit(mut self, limit: u64) -> Self {
        self.limit = limit;
        self
    }

    /// Calls `progress` with the number of nodes done and their total after each node.
    #[must_use]
    pub fn with_progress(mut self, progress: &'g dyn Fn(usize, usize)) -> Self {
        self.progress = Some(progress);
        self
    }

    /// Takes the weights that `constants` has from there. Without it, each run reads weights and makes recipes anew.
    #[must_use]
    pub fn with_constants(mut self, constants: &'g Constants) -> Self {
        self.constants = Some(constants);
        self
    }

    /// Computes nodes with quantized values so; [`Arithmetic::Integer`] unless it is said.
    #[must_use]
    pub fn with_arithmetic(mut self, arithmetic: Arithmetic) -> Self {
        self.arithmetic = arithmetic;
        self
    }

    /// Asks `kernels` first for each node.
    #[must_use]
    pub fn with_kernels(mut self, kernels: &'g dyn Kernels) -> Self {
        self.kernels = Some(kernels);
        self
    }

    /// The outputs for `inputs`, by name.
    pub fn run(&self, inputs: &NamedTensors) -> Result<NamedTensors, RunError> {
        self.run_observed(inputs, &mut |_, _| {})
    }

    /// As [`run`](Self::run). Shows every value to `observe` when it is there, inputs, constants and values that nothing
    /// reads included.
    pub fn run_observed(
        &self,
        inputs: &NamedTensors,
        observe: &mut dyn FnMut(ValueRef<'_>, &Tensor),
    ) -> Result<NamedTensors, RunError> {
        self.check_inputs(&inputs.iter().map(|(name, tensor)| (name.clone(), tensor.ty())).collect())?;
        let order = self.graph.topo();
        let mut left = self.remaining_readers();
        let mut values: FxHashMap<ValueId, Tensor> = FxHashMap::default();
        let mut held = 0u64;
        for (done, node) in order.iter().enumerate() {
            let node = self.graph.node(*node);
            let results = self.evaluate(node, inputs, &values, held)?;
            for (value, tensor) in node.results().zip(results) {
                observe(value, &tensor);
                if left.get(&value.id()).is_some_and(|readers| *readers > 0) {
                    held = held.saturating_add(counted(node, &tensor));
                    values.insert(value.id(), tensor);
                }
            }
            for operand in node.operands().flatten() {
                let readers = left.entry(operand.id()).or_insert(1);
                *readers -= 1;
                if *readers == 0 {
                    let freed = values.remove(&operand.id());
                    held -= freed.map_or(0, |tensor| counted(operand.producer(), &tensor));
                }
            }
            if let Some(progress) = self.progress {
                progress(done + 1, order.len());
            }
        }
        let named = |output: &crate::graph::Output| {
            values.get(&output.value).map(|tensor| (output.name.to_string(), tensor.clone()))
        };
        Ok(self.graph.outputs().iter().filter_map(named).collect())
    }

    /// How often each value is read, outputs of the graph included.
    fn remaining_readers(&self) -> FxHashMap<ValueId, usize> {
        let mut readers: FxHashMap<ValueId, usize> = FxHashMap::default();
        for node in self.graph.nodes() {
            for operand in node.operands().flatten() {
                *readers.entry(operand.id()).or_insert(0) += 1;
            }
        }
        for output in self.graph.outputs() {
            *readers.entry(output.value).or_insert(0) += 1;
        }
        readers
    }

    fn evaluate(
        &self,
        node: NodeRef<'_>,
        inputs: &NamedTensors,
        values: &FxHashMap<ValueId, Tensor>,
        held: u64,
    ) -> Result<Results, RunError> {
        match node.op() {
            Op::Weight(weight) => return self.weight(node, weight),
            Op::Input(_) => {
                let name = node.result().name().map_or("", |name| &**name);
                return Ok(inputs.get(name).cloned().into_iter().collect());
            }
            _ => {}
        }
        let tensors: Vec<Option<Tensor>> = node
            .operands()
            .map(|operand| operand.and_then(|value| values.get(&value.id()).cloned()))
            .collect();
        let error =
            |error| RunError::Eval { op: node.op().def().name(), loc: Box::new(node.loc().clone()), error };
        if let Some(results) = self.kernels.and_then(|kernels| kernels.evaluate(node, &tensors)) {
            let results = results.map_err(error)?;
            self.check_results(node, &results)?;
            return Ok(results);
        }
        let call = Call::new(node, tensors, self.arithmetic).map_err(error)?;
        self.check_memory(node, &call.types, held)?;
        let results = call.evaluate().map_err(error)?;
        self.check_results(node, &results)?;
        Ok(results)
    }

    /// A type may say more of a result than the type rule knew: then it is found out here whether that is so.
    fn check_results(&self, node: NodeRef<'_>, results: &Results) -> Result<(), RunError> {
        match results.iter().zip(node.results()).find(|(tensor, value)| !fits(&tensor.ty(), value.ty())) {
            None => Ok(()),
            Some((tensor, value)) => Err(RunError::ResultType {
                op: node.op().def().name(),
                loc: Box::new(node.loc().clone()),
                found: tensor.ty().to_string(),
                expected: self.describe(value.ty()),
            }),
        }
    }

    fn weight(&self, node: NodeRef<'_>, weight: &Weight) -> Result<Results, RunError> {
        let ready = self.constants.and_then(|constants| constants.get(&weight.id).cloned());
        let tensor = ready.map_or_else(|| self.graph.weights().tensor(weight.id), Ok);
        let tensor = tensor.map_err(|error| RunError::Weight { loc: Box::new(node.loc().clone()), error })?;
        Ok(std::iter::once(tensor).collect())
    }

    fn check_memory(&self, node: NodeRef<'_>, types: &[TensorType], held: u64) -> Result<(), RunError> {
        let needed = types.iter().fold(0u64, |sum, ty| sum.saturating_add(ty.byte_len().unwrap_or(0)));
        if held.saturating_add(needed) <= self.limit {
            return Ok(());
        }
        let op = node.op().def().name();
        Err(RunError::Memory { op, loc: Box::new(node.loc().clone()), needed, held, limit: self.limit })
    }
}

/// The bytes of `tensor`, a result of `node`, that count as memory of the run: inputs and weights are there anyway.
fn counted(node: NodeRef<'_>, tensor: &Tensor) -> u64 {
    if matches!(node.op(), Op::Input(_) | Op::Weight(_)) { 0 } else { tensor.bytes().len() as u64 }
}

#[cfg(test)]
mod tests;
