//! Shapes that exporters compute at run time stay symbolic through the operations that compute them.

use quad_ir::dtype::DType;
use quad_ir::graph::{Graph, ValueId, ValueRef};
use quad_ir::loc::Loc;
use quad_ir::ops::source::Binding;
use quad_ir::ops::{
    Concat, Expand, Flatten, Gather, Op, Reshape, ShapeOf, Slice, Split, Squeeze, Transpose, Unsqueeze,
};
use quad_ir::tensor::Tensor;
use quad_ir::types::{Dim, Shape, TensorType};

/// A graph with one input `x` whose axes may be named or numbers.
struct Chain {
    graph: Graph,
    x: ValueId,
}

impl Chain {
    fn new(sizes: &[&str]) -> Self {
        let mut graph = Graph::new("main");
        let dim = |size: &&str| match size.parse() {
            Ok(number) => Dim::Known(number),
            Err(_) => Dim::Sym(graph.symbols_mut().named(size)),
        };
        let shape: Shape = sizes.iter().map(dim).collect();
        let ty = TensorType::new(DType::F32, shape);
        let x = graph.add_input("x", ty, Binding::Run, Loc::Built).expect("an input");
        Self { graph, x }
    }

    fn add(&mut self, op: impl Into<Op>, operands: &[ValueId]) -> ValueId {
        self.graph.add_value(op, operands, Loc::Built).expect("the operands fit")
    }

    fn list(&mut self, values: &[i64]) -> ValueId {
        let tensor = Tensor::from_vec(&[values.len()], values.to_vec()).expect("a vector");
        self.graph.add_constant(&tensor, Loc::Built).expect("a constant")
    }

    fn scalar(&mut self, value: i64) -> ValueId {
        self.graph.add_constant(&Tensor::scalar(value), Loc::Built).expect("a constant")
    }

    /// The size of axis `index` of `value` as a vector of one element: Shape, Gather, Unsqueeze.
    fn size(&mut self, value: ValueId, index: i64) -> ValueId {
        let (shape, index, axes) =
            (self.add(ShapeOf::default(), &[value]), self.scalar(index), self.list(&[0]));
        let size = self.add(Gather { axis: 0 }, &[shape, index]);
        self.add(Unsqueeze, &[size, axes])
    }

    fn slice(&mut self, value: ValueId, start: i64, end: i64) -> ValueId {
        let bounds = [value, self.list(&[start]), self.list(&[end]), self.list(&[0])];
        self.add(Slice, &bounds)
    }

    fn shape(&self, value: ValueId) -> String {
        self.graph.symbols().show(&self.graph.value(value).ty().shape).to_string()
    }
}

#[test]
fn gather_unsqueeze_concat_reshape() {
    let mut chain = Chain::new(&["batch", "4", "64", "64"]);
    let x = chain.x;
    let (batch, channels) = (chain.size(x, 0), chain.size(x, 1));
    let rest = chain.list(&[-1]);
    let target = chain.add(Concat { axis: 0 }, &[batch, channels, rest]);
    let flat = chain.add(Reshape::default(), &[x, target]);
    assert_eq!(chain.shape(flat), "[batch, 4, 4096]");
    let sizes: Vec<ValueId> = (0..4).map(|axis| chain.size(x, axis)).collect();
    let target = chain.add(Concat { axis: 0 }, &sizes);
    let back = chain.add(Reshape::default(), &[flat, target]);
    assert_eq!(chain.shape(back), "[batch, 4, 64, 64]");
}

#[test]
fn slice_concat_expand() {
    let mut chain = Chain::new(&["batch", "4", "64", "64"]);
    let shape = chain.add(ShapeOf::default(), &[chain.x]);
    let (batch, two) = (chain.slice(shape, 0, 1), chain.list(&[2]));
    let spatial = chain.slice(shape, 2, i64::MAX);
    let target = chain.add(Concat { axis: 0 }, &[batch, two, spatial]);
    let one = chain.list(&[1]);
    let stretched = chain.add(Expand, &[one, target]);
    assert_eq!(chain.shape(stretched), "[batch, 2, 64, 64]");
}

#[test]
fn heads_are_split_off_and_joined_again() {
    let mut chain = Chain::new(&["batch", "77", "320"]);
    let x = chain.x;
    let (batch, length) = (chain.size(x, 0), chain.size(x, 1));
    let heads = chain.list(&[8, 40]);
    let target = chain.add(Concat { axis: 0 }, &[batch, length, heads]);
    let split = chain.add(Reshape::default(), &[x, target]);
    let moved = chain.add(Transpose { perm: Some(vec![0, 2, 1, 3]) }, &[split]);
    assert_eq!(chain.shape(moved), "[batch, 8, 77, 40]");
    let joined = chain.add(Flatten { axis: 2 }, &[moved]);
    assert_eq!(chain.shape(joined), "[8*batch, 3080]");
}

#[test]
fn every_movement_keeps_symbolic_elements() {
    let mut chain = Chain::new(&["batch", "height", "width"]);
    let shape = chain.add(ShapeOf::default(), &[chain.x]);
    // Twice the sizes as two rows, turned over, taken apart and put together again.
    let (axes, twice) = (chain.list(&[0]), chain.list(&[2, 3]));
    let row = chain.add(Unsqueeze, &[shape, axes]);
    let rows = chain.add(Expand, &[row, twice]);
    let columns = chain.add(Transpose::default(), &[rows]);
    let parts = chain.graph.add(Split { axis: 1, num_outputs: Some(2) }, &[Some(columns)], Loc::Built);
    let parts = chain.graph.node(parts.expect("two columns")).results().map(ValueRef::id).collect::<Vec<_>>();
    let axes = chain.list(&[1]);
    let second = chain.add(Squeeze, &[parts[1], axes]);
    let bounds = [second, chain.list(&[-1]), chain.list(&[i64::MIN]), chain.list(&[0]), chain.list(&[-1])];
    let reversed = chain.add(Slice, &bounds);
    let one = chain.list(&[1]);
    let stretched = chain.add(Expand, &[one, reversed]);
    assert_eq!(chain.shape(stretched), "[width, height, batch]");
}

#[test]
fn data_dependent_sizes_are_symbols_of_their_own() {
    let mut chain = Chain::new(&["batch", "3"]);
    let bounds = [chain.x, chain.list(&[1]), chain.list(&[i64::MAX]), chain.list(&[0])];
    let tail = chain.add(Slice, &bounds);
    assert_eq!(chain.graph.value(tail).ty().rank(), 2);
    assert_ne!(chain.shape(tail), "[batch, 3]");
    assert!(chain.shape(tail).ends_with(", 3]"), "{}", chain.shape(tail));
}
