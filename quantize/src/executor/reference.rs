//! The interpreter as an executor.

use quad_ir::graph::Graph;
use quad_ir::interpret::{Constants, Interpreter, NamedTensors};
use quad_ir::ops::Weight;
use quad_ir::tensor::Tensor;
use rayon::prelude::*;

use super::{ExecuteError, Executor};

/// Runs a graph with the reference interpreter. Constants are read, and recipes made, when it is prepared.
#[derive(Debug)]
pub struct Reference<'g> {
    graph: &'g Graph,
    constants: Constants,
    limit: u64,
}

impl<'g> Reference<'g> {
    /// Prepares `graph`.
    pub fn new(graph: &'g Graph) -> Result<Self, ExecuteError> {
        let nodes: Vec<_> =
            graph.nodes().filter_map(|node| Some((node.result(), node.is::<Weight>()?.id))).collect();
        let read = |(value, id): (quad_ir::graph::ValueRef<'_>, _)| match graph.weights().tensor(id) {
            Ok(tensor) => Ok((id, tensor)),
            Err(error) => {
                let name = value.name().map_or_else(|| value.id().to_string(), ToString::to_string);
                Err(ExecuteError::Constant { name, error })
            }
        };
        let constants: Result<Vec<_>, ExecuteError> = nodes.into_par_iter().map(read).collect();
        Ok(Self { graph, constants: constants?.into_iter().collect(), limit: u64::MAX })
    }

    /// Refuses to hold more than `limit` bytes of computed values at a time in one run.
    #[must_use]
    pub fn with_memory_limit(mut self, limit: u64) -> Self {
        self.limit = limit;
        self
    }

    /// The graph.
    pub fn graph(&self) -> &'g Graph {
        self.graph
    }
}

impl Executor for Reference<'_> {
    fn run_observed(
        &self,
        inputs: &NamedTensors,
        observe: &mut dyn FnMut(&str, &Tensor),
    ) -> Result<NamedTensors, ExecuteError> {
        let interpreter =
            Interpreter::new(self.graph).with_memory_limit(self.limit).with_constants(&self.constants);
        let outputs = interpreter.run_observed(inputs, &mut |value, tensor| {
            if let (Some(name), None) = (value.name(), value.weight()) {
                observe(name, tensor);
            }
        });
        Ok(outputs?)
    }
}

#[cfg(test)]
mod tests {
    use quad_ir::dtype::DType;
    use quad_ir::graph::Output;
    use quad_ir::loc::Loc;
    use quad_ir::ops::source::Binding;
    use quad_ir::ops::{Add, Neg, Op, Relu};
    use quad_ir::types::TensorType;

    use super::*;

    /// `relu(x + -[1, 2])`, where the negative constant is a recipe.
    fn graph() -> Graph {
        let mut graph = Graph::new("main");
        let ty = TensorType::known(DType::F32, &[2]);
        let x = graph.add_input("x", ty.clone(), Binding::Run, Loc::Built).expect("an input");
        let constant = Tensor::from_vec(&[2], vec![1.0f32, 2.0]).expect("two numbers");
        let positive = graph.weights_mut().add_tensor(&constant).expect("a weight");
        let negative =
            graph.weights_mut().add_recipe(ty, Op::from(Neg), &[Some(positive)]).expect("a recipe");
        let negative = graph.add_weight(negative, Loc::Built).expect("a value");
        let sum = graph.add_value(Add, &[x, negative], Loc::Built).expect("a sum");
        let y = graph.add_value(Relu, &[sum], Loc::Built).expect("a result");
        for (value, name) in [(negative, "negative"), (sum, "sum"), (y, "y")] {
            graph.set_name(value, name);
        }
        graph.set_outputs(vec![Output { name: "y".into(), value: y }]).expect("it is there");
        graph
    }

    #[test]
    fn shows_what_is_computed_and_no_constants() {
        let graph = graph();
        let executor = Reference::new(&graph).expect("constants");
        let x = Tensor::from_vec(&[2], vec![4.0f32, 1.0]).expect("two numbers");
        let inputs = NamedTensors::from([("x".to_owned(), x)]);
        let mut seen = Vec::new();
        let outputs = executor.run_observed(&inputs, &mut |name, tensor| {
            seen.push((name.to_owned(), tensor.to_f32().expect("floats").to_vec()));
        });
        assert_eq!(outputs.expect("runs"), Interpreter::new(&graph).run(&inputs).expect("runs"));
        let expected = [("x", vec![4.0, 1.0]), ("sum", vec![3.0, -1.0]), ("y", vec![3.0, 0.0])];
        assert_eq!(seen, expected.map(|(name, elements)| (name.to_owned(), elements)));
    }
}
