//! The passes on small random graphs that are dense in what the rules are about, against the interpreter.

use proptest::prelude::*;
use quad_ir::dtype::DType;
use quad_ir::graph::{Graph, Output, Patch, ValueId};
use quad_ir::loc::Loc;
use quad_ir::module::Module;
use quad_ir::ops::{
    Add, Clip, Concat, Conv, Div, Input, MatMul, Mul, Neg, Op, Pad, ReduceMax, ReduceMean, ReduceSum, Relu,
    Slice, Softmax, Sub, Tanh, Transpose,
};
use quad_ir::tensor::Tensor;
use quad_ir::text;
use quad_ir::types::TensorType;

use super::move_layouts::MoveLayouts;
use super::move_scales::MoveScales;
use super::rule::{Roots, Rule, Site};
use super::simplify::Simplify;
use super::{ElementCosts, Limits, Search, Term, optimize};
use crate::check::{Checker, Draw, draw_inputs};
use crate::context::Context;
use crate::emit::Emit;
use crate::pass::{Pass, PassError};

/// A graph that grows from what is drawn; a step that a type rule refuses is left out.
struct Grower {
    graph: Graph,
    values: Vec<ValueId>,
    draw: Draw,
}

impl Grower {
    fn new(seed: u64) -> Self {
        let mut graph = Graph::new("main");
        let mut values = Vec::new();
        for (name, sizes) in
            [("x", vec![2, 3, 4]), ("z", vec![2, 3, 4]), ("u", vec![1, 4, 1, 6]), ("s", vec![])]
        {
            let ty = TensorType::known(DType::F32, &sizes);
            let value = graph.add_input(name, ty, quad_ir::ops::source::Binding::Run, Loc::Built);
            values.push(value.expect("names differ"));
        }
        Self { graph, values, draw: Draw::new(seed) }
    }

    fn below(&mut self, limit: usize) -> usize {
        self.draw.below(limit as u64) as usize
    }

    /// A value, more often a late one, and its sizes.
    fn value(&mut self) -> (ValueId, Vec<u64>) {
        let back = self.below(self.values.len()).min(self.below(self.values.len()));
        let value = self.values[self.values.len() - 1 - back];
        let sizes = self.graph.value(value).ty().shape.as_known().expect("numbers");
        (value, sizes.to_vec())
    }

    fn constant(&mut self, sizes: &[u64]) -> ValueId {
        let sizes: Vec<usize> = sizes.iter().map(|size| *size as usize).collect();
        let tensor = match self.below(4) {
            0 => Tensor::from_f32(DType::F32, &sizes, &vec![1.0; sizes.iter().product()]).expect("as many"),
            1 => Tensor::zeros(DType::F32, &sizes).expect("small"),
            _ => self.draw.tensor(DType::F32, &sizes).expect("small"),
        };
        self.weight(&tensor)
    }

    fn integers(&mut self, values: &[i64]) -> ValueId {
        self.weight(&Tensor::from_vec(&[values.len()], values.to_vec()).expect("a vector"))
    }

    fn weight(&mut self, tensor: &Tensor) -> ValueId {
        let id =
            self.graph.weights_mut().add_memory(tensor.ty(), tensor.bytes().clone()).expect("fits its type");
        self.graph.add_weight(id, Loc::Built).expect("it is there")
    }

    fn add(&mut self, op: impl Into<Op>, operands: &[ValueId]) {
        let operands: Vec<Option<ValueId>> = operands.iter().copied().map(Some).collect();
        if let Ok(node) = self.graph.add(op, &operands, Loc::Built) {
            self.values.extend(self.graph.node(node).results().map(quad_ir::graph::ValueRef::id));
        }
    }

    /// A value that `x` may be combined with: another one, or a constant that is stretched over some of its axes.
    fn partner(&mut self, sizes: &[u64]) -> ValueId {
        if self.below(3) == 0 {
            return self.value().0;
        }
        let skipped = self.below(sizes.len() + 1);
        let kept: Vec<u64> =
            sizes[skipped..].iter().map(|size| if self.draw.below(2) == 0 { *size } else { 1 }).collect();
        self.constant(&kept)
    }

    fn transpose(&mut self) {
        let (x, sizes) = self.value();
        let mut perm: Vec<i64> = (0..sizes.len() as i64).collect();
        for last in (1..sizes.len()).rev() {
            perm.swap(last, self.below(last + 1));
        }
        self.add(Transpose { perm: Some(perm) }, &[x]);
    }

    fn function(&mut self) {
        let functions: [Op; 3] = [Relu.into(), Tanh.into(), Neg.into()];
        let (x, function) = (self.value().0, self.below(3));
        self.add(functions[function].clone(), &[x]);
    }

    fn clip(&mut self) {
        let x = self.value().0;
        let [low, high] = [-1.0f32, 1.0].map(|limit| self.weight(&Tensor::scalar(limit)));
        self.add(Clip, &[x, low, high]);
    }

    fn combine(&mut self) {
        let functions: [Op; 4] = [Add.into(), Sub.into(), Mul.into(), Mul.into()];
        let (x, sizes) = self.value();
        let (partner, function) = (self.partner(&sizes), self.below(4));
        let operands = if self.below(2) == 0 { [x, partner] } else { [partner, x] };
        self.add(functions[function].clone(), &operands);
    }

    fn strengthen(&mut self) {
        let (x, strength) = (self.value().0, self.values[3]);
        self.add(Mul, &[x, strength]);
    }

    /// By what is not zero.
    fn divide(&mut self) {
        let (x, divisor) = (self.value().0, Tensor::scalar(1.0 + self.below(4) as f32));
        let divisor = self.weight(&divisor);
        self.add(Div, &[x, divisor]);
    }

    fn concat(&mut self) {
        let (x, sizes) = self.value();
        let (other, axis) = (self.value().0, self.below(sizes.len().max(1)));
        self.add(Concat { axis: axis as i64 }, &[x, other]);
    }

    fn softmax(&mut self) {
        let (x, sizes) = self.value();
        let axis = self.below(sizes.len().max(1)) as i64 - sizes.len() as i64;
        self.add(Softmax { axis }, &[x]);
    }

    fn reduce(&mut self) {
        let (x, sizes) = self.value();
        let axis = self.below(sizes.len().max(1)) as i64;
        let (axes, keepdims) = (self.integers(&[axis]), self.below(2) == 0);
        let op: Op = match self.below(3) {
            0 => ReduceSum { keepdims, ..ReduceSum::default() }.into(),
            1 => ReduceMean { keepdims, ..ReduceMean::default() }.into(),
            _ => ReduceMax { keepdims, ..ReduceMax::default() }.into(),
        };
        self.add(op, &[x, axes]);
    }

    fn slice(&mut self) {
        let (x, sizes) = self.value();
        let axis = self.below(sizes.len().max(1)) as i64;
        let [starts, ends, axes] = [[1], [1000], [axis]].map(|list| self.integers(&list));
        self.add(Slice, &[x, starts, ends, axes]);
    }

    fn pad(&mut self) {
        let (x, sizes) = self.value();
        let pads: Vec<i64> = (0..2 * sizes.len()).map(|_| self.below(2) as i64).collect();
        let pads = self.integers(&pads);
        self.add(Pad::default(), &[x, pads]);
    }

    fn multiply(&mut self) {
        let (x, sizes) = self.value();
        let columns = self.below(4) as u64 + 1;
        let w = self.constant(&[sizes.last().copied().unwrap_or(1), columns]);
        self.add(MatMul, &[x, w]);
    }

    fn convolve(&mut self) {
        let (x, sizes) = self.value();
        let mut kernel = vec![1; sizes.len().max(2)];
        (kernel[0], kernel[1]) = (3, sizes.get(1).copied().unwrap_or(1));
        let w = self.constant(&kernel);
        self.add(Conv::default(), &[x, w]);
    }

    /// Joins two axes, splits one, or puts in an axis of size 1.
    fn reshape(&mut self) {
        let (x, sizes) = self.value();
        let mut sizes: Vec<i64> = sizes.iter().map(|size| *size as i64).collect();
        let at = self.below(sizes.len() + 1);
        match self.below(3) {
            0 if at + 1 < sizes.len() => {
                let joined = sizes.remove(at + 1);
                sizes[at] *= joined;
            }
            1 if at < sizes.len() && sizes[at] % 2 == 0 => {
                sizes[at] /= 2;
                sizes.insert(at + 1, 2);
            }
            _ => sizes.insert(at, 1),
        }
        let shape = self.integers(&sizes);
        self.add(quad_ir::ops::Reshape::default(), &[x, shape]);
    }

    /// The last value and some others are outputs.
    fn finish(mut self) -> Module {
        let mut outputs = vec![Output { name: "y0".into(), value: self.values[self.values.len() - 1] }];
        for index in 1..3 {
            let value = self.value().0;
            if outputs.iter().all(|output| output.value != value) {
                outputs.push(Output { name: format!("y{index}").into(), value });
            }
        }
        self.graph.set_outputs(outputs).expect("they are there");
        Module { graphs: vec![self.graph] }
    }
}

/// What may be added, some of it more often.
const STEPS: &[fn(&mut Grower)] = &[
    Grower::transpose,
    Grower::transpose,
    Grower::transpose,
    Grower::function,
    Grower::clip,
    Grower::combine,
    Grower::combine,
    Grower::combine,
    Grower::strengthen,
    Grower::divide,
    Grower::concat,
    Grower::softmax,
    Grower::reduce,
    Grower::slice,
    Grower::pad,
    Grower::reshape,
    Grower::multiply,
    Grower::convolve,
];

fn grown(seed: u64, steps: &[usize]) -> Module {
    let mut grower = Grower::new(seed);
    for step in steps {
        STEPS[*step](&mut grower);
    }
    grower.finish()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_computed_stays(seed in 0..1u64 << 32, steps in proptest::collection::vec(0..STEPS.len(), 1..20)) {
        let before = grown(seed, &steps);
        let inputs = draw_inputs(&before, seed, &std::collections::BTreeMap::new()).expect("sizes are numbers");
        let passes: [Box<dyn Pass>; 3] =
            [Box::<MoveLayouts>::default(), Box::<MoveScales>::default(), Box::<Simplify>::default()];
        for pass in passes {
            let mut checker = Checker::new(&before, inputs.clone(), 1e-4).expect("runs");
            let (mut module, mut again) = (before.clone(), before.clone());
            pass.run_module(&mut module, &mut Context::default()).map_err(|error| TestCaseError::fail(error.to_string()))?;
            quad_ir::verify::verify(&module.graphs[0]).map_err(|errors| TestCaseError::fail(errors.to_string()))?;
            let shown = || text::print(&before).expect("prints");
            if let Err(error) = checker.check(pass.info().name, &module) {
                return Err(TestCaseError::fail(format!("{error}\n{}", shown())));
            }
            pass.run_module(&mut again, &mut Context::default()).map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert_eq!(text::print(&module).expect("prints"), text::print(&again).expect("prints"));
        }
    }
}

/// `relu` of a small tensor.
fn relu() -> Graph {
    let mut graph = Graph::new("main");
    let ty = TensorType::known(DType::F32, &[2, 3]);
    let x = graph.add(Input { ty, ..Input::default() }, &[], Loc::Built).expect("an input");
    let x = graph.node(x).result().id();
    let y = graph.add(Relu, &[Some(x)], Loc::Built).expect("a float");
    let y = graph.node(y).result().id();
    graph.set_outputs(vec![Output { name: "y".into(), value: y }]).expect("it is there");
    graph
}

fn run(equal: fn(&Site<'_, '_>) -> Vec<Term>) -> Result<(), PassError> {
    let rule = Rule { name: "wrong", roots: Roots::Elementwise, equal };
    let search = Search { name: "test", rules: &[&[rule]], costs: &ElementCosts, limits: Limits::default() };
    optimize(&mut relu(), &search, &mut Context::default())
}

#[test]
fn values_of_different_types_are_not_equal() {
    let wrong = |site: &Site<'_, '_>| {
        let x = site.operand(0).map(Term::from);
        x.map(|x| Term::apply(Transpose::default(), [x])).into_iter().collect()
    };
    let error = run(wrong).expect_err("the types differ").to_string();
    assert!(
        error.contains(
            "rule `wrong` at n1 (relu): says that values of the types f32[2, 3] and f32[3, 2] are equal"
        ),
        "{error}"
    );
}

#[test]
fn what_a_type_rule_refuses_is_a_fault_of_the_rule() {
    let wrong = |site: &Site<'_, '_>| {
        let x = site.operand(0).map(Term::from);
        x.map(|x| Term::apply(MatMul, [x.clone(), x])).into_iter().collect()
    };
    let error = run(wrong).expect_err("the sizes do not meet").to_string();
    assert!(
        error.contains("rule `wrong`") && error.contains("makes a `matmul` that its type rule refuses"),
        "{error}"
    );
}

#[test]
fn fuel_ends_the_work() {
    let mut graph = relu();
    let mut patch = Patch::new(&graph, "test");
    let y = graph.outputs()[0].value;
    let swapped = patch.transpose(y, &[1, 0]).and_then(|y| patch.transpose(y, &[1, 0])).expect("two axes");
    patch.replace(y, swapped).expect("the same type");
    graph.apply(patch.finish().expect("no cycle")).expect("of this graph");
    let n_nodes = |graph: &Graph| graph.nodes().count();
    let mut idle = Context::with_fuel(Some(0));
    MoveLayouts::default().run(&mut graph, &mut idle).expect("runs");
    assert_eq!((n_nodes(&graph), idle.changes()), (4, 0));
    MoveLayouts::default().run(&mut graph, &mut Context::default()).expect("runs");
    assert_eq!(n_nodes(&graph), 2);
}
