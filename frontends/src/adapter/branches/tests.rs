//! Tests of the search for branches, on graphs made for them. `tests/branches.rs` has those on exporters' models.

use quad_ir::attr::F32Bits;
use quad_ir::dtype::DType;
use quad_ir::loc::Loc;
use quad_ir::ops::source::Binding;
use quad_ir::ops::{Op, Relu};
use quad_ir::tensor::Tensor;
use quad_ir::types::TensorType;

use super::*;

/// A graph under construction around an input `x`.
struct Builder {
    graph: Graph,
    x: ValueId,
}

impl Builder {
    fn new(sizes: &[u64]) -> Self {
        let mut graph = Graph::new("main");
        let ty = TensorType::known(DType::F32, sizes);
        let x = graph.add_input("x", ty, Binding::Run, Loc::Built).expect("typed");
        Self { graph, x }
    }

    fn weight(&mut self, sizes: &[usize]) -> ValueId {
        // More elements than are followed while a graph is built, like a real weight.
        let zeros = Tensor::zeros(DType::F32, sizes).expect("small");
        self.graph.add_constant(&zeros, Loc::Built).expect("typed")
    }

    fn number(&mut self, value: f32) -> ValueId {
        self.graph.add_constant(&Tensor::scalar(value), Loc::Built).expect("typed")
    }

    fn add(&mut self, op: impl Into<Op>, operands: &[ValueId]) -> ValueId {
        self.graph.add_value(op, operands, Loc::Built).expect("typed")
    }

    fn linear(&mut self, x: ValueId, channels_in: usize, channels_out: usize) -> ValueId {
        let weight = self.weight(&[channels_in, channels_out]);
        self.add(MatMul, &[x, weight])
    }

    /// `scale * up(down(x))` from 64 channels to 96.
    fn branch(&mut self, rank: usize, scale: f32) -> ValueId {
        let down = self.linear(self.x, 64, rank);
        let up = self.linear(down, rank, 96);
        let scale = self.number(scale);
        self.add(Mul, &[up, scale])
    }

    fn found(&self) -> Vec<(Kind, u64, f64)> {
        find(&self.graph).iter().map(|branch| (branch.kind, branch.rank, branch.scale)).collect()
    }
}

#[test]
fn a_branch_is_found_beside_a_layer_with_a_bias_in_either_order() {
    for swapped in [false, true] {
        let mut b = Builder::new(&[2, 5, 64]);
        let product = b.linear(b.x, 64, 96);
        let bias = b.weight(&[96]);
        let layer = b.add(Add, &[bias, product]);
        let branch = b.branch(4, 0.5);
        let operands = if swapped { [branch, layer] } else { [layer, branch] };
        let join = b.add(Add, &operands);
        let found = find(&b.graph);
        assert_eq!(b.found(), [(Kind::Linear, 4, 0.5)]);
        assert_eq!(found[0].join, b.graph.value(join).producer().id());
        assert_eq!(found[0].layer, b.graph.value(product).producer().id());
    }
}

#[test]
fn adapters_that_were_added_one_after_the_other_are_all_found() {
    let mut b = Builder::new(&[5, 64]);
    let mut sum = b.linear(b.x, 64, 96);
    for (rank, scale) in [(4, 1.0), (16, 2.0), (8, -0.25)] {
        let branch = b.branch(rank, scale);
        sum = b.add(Add, &[sum, branch]);
    }
    assert_eq!(b.found(), [(Kind::Linear, 4, 1.0), (Kind::Linear, 16, 2.0), (Kind::Linear, 8, -0.25)]);
}

#[test]
fn a_branch_of_a_gemm_without_a_scale_and_with_a_transposed_weight_is_found() {
    let mut b = Builder::new(&[5, 64]);
    let weight = b.weight(&[96, 64]);
    let bias = b.weight(&[96]);
    let layer = b.add(Gemm { transB: true, ..Gemm::default() }, &[b.x, weight, bias]);
    let down_weight = b.weight(&[8, 64]);
    let down_weight = b.add(Transpose::default(), &[down_weight]);
    let down = b.add(MatMul, &[b.x, down_weight]);
    let up_weight = b.weight(&[96, 8]);
    let gemm = Gemm { transB: true, alpha: F32Bits::from(2.0), ..Gemm::default() };
    let up = b.add(gemm, &[down, up_weight]);
    b.add(Add, &[layer, up]);
    assert_eq!(b.found(), [(Kind::Linear, 8, 2.0)]);
}

#[test]
fn a_convolution_has_a_branch_whose_second_kernel_is_one() {
    for (kernel, expected) in [(1, vec![(Kind::Convolution, 8, 1.0)]), (3, vec![])] {
        let mut b = Builder::new(&[1, 64, 10, 10]);
        let conv = Conv { pads: vec![1; 4], ..Conv::default() };
        let weight = b.weight(&[96, 64, 3, 3]);
        let layer = b.add(conv.clone(), &[b.x, weight]);
        let weight = b.weight(&[8, 64, 3, 3]);
        let down = b.add(conv.clone(), &[b.x, weight]);
        let weight = b.weight(&[96, 8, kernel, kernel]);
        let up = b.add(if kernel == 1 { Conv::default() } else { conv }, &[down, weight]);
        b.add(Add, &[layer, up]);
        assert_eq!(b.found(), expected, "kernel {kernel}");
    }
}

#[test]
fn what_only_looks_like_a_branch_is_none() {
    let attempt = |build: &dyn Fn(&mut Builder) -> [ValueId; 2]| {
        let mut b = Builder::new(&[5, 64]);
        let operands = build(&mut b);
        b.add(Add, &operands);
        b.found()
    };
    let activated = attempt(&|b| {
        let layer = b.linear(b.x, 64, 96);
        let down = b.linear(b.x, 64, 8);
        let active = b.add(Relu, &[down]);
        [layer, b.linear(active, 8, 96)]
    });
    assert_eq!(activated, [], "there is an activation in between");
    let elsewhere = attempt(&|b| {
        let other = b.add(Relu, &[b.x]);
        let layer = b.linear(other, 64, 96);
        [layer, b.branch(8, 1.0)]
    });
    assert_eq!(elsewhere, [], "the layer reads something else");
    let shared = attempt(&|b| {
        let layer = b.linear(b.x, 64, 96);
        let down = b.linear(b.x, 64, 8);
        b.add(Relu, &[down]);
        [layer, b.linear(down, 8, 96)]
    });
    assert_eq!(shared, [], "something else reads what is in between");
    let scaled_by_channel = attempt(&|b| {
        let layer = b.linear(b.x, 64, 96);
        let branch = b.branch(8, 1.0);
        let scales = b.weight(&[96]);
        [layer, b.add(Mul, &[branch, scales])]
    });
    assert_eq!(scaled_by_channel, [], "the scale differs by channel");
    let residual = attempt(&|b| {
        let down = b.linear(b.x, 64, 8);
        [b.x, b.linear(down, 8, 64)]
    });
    assert_eq!(residual, [], "there is no layer beside it");
}
