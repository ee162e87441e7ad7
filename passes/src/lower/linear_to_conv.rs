//! Turns linear layers into convolutions with a kernel of one tap, the form in which accelerators compute them best.
//!
//! A linear layer is a `matmul` or `gemm` whose right operand is a matrix known before the graph runs, or handed to it
//! as a matrix: a weight, or what is made of weights and of inputs with two axes by moving elements. Products of two
//! computed values, as in attention, stay. The rows become the places of a plane, `[n, t, c]` becomes `[n, c, 1, t]`.
//! The kernel is the matrix transposed, by recipe where it is a weight and by nodes where it is not. A vector that is
//! added to the product right behind it becomes the bias of the convolution.
//!
//! With channels first, each convolution has a transpose before and after it. They are there for `layout` to remove.
//!
//! Before:
//! ```quad
//! graph @main(%x: f32[1, 3, 2], %w: f32[2, 4]) {
//!   %y = matmul(%x, %w) : f32[1, 3, 4]
//!   return "y" = %y
//! }
//! ```
//! After:
//! ```quad
//! graph @main(%x: f32[1, 3, 2], %w: f32[2, 4]) {
//!   %0 = transpose(%w) {perm = [1, 0]} : f32[4, 2]
//!   %1 = weight [2, 3] : i64[2]
//!   %2 = unsqueeze(%0, %1) : f32[4, 2, 1, 1]
//!   %3 = transpose(%x) {perm = [0, 2, 1]} : f32[1, 2, 3]
//!   %4 = weight [2] : i64[1]
//!   %5 = unsqueeze(%3, %4) : f32[1, 2, 1, 3]
//!   %6 = conv(%5, %2) : f32[1, 4, 1, 3]
//!   %7 = squeeze(%6, %4) : f32[1, 4, 3]
//!   %y = transpose(%7) {perm = [0, 2, 1]} : f32[1, 3, 4]
//!   return "y" = %y
//! }
//! ```

use quad_ir::graph::{AddError, Graph, NodeRef, Patch, ValueId, ValueRef};
use quad_ir::ops::source::Binding;
use quad_ir::ops::{
    Add, Conv, Gemm, Input, MatMul, Op, OpKind, OpVariant, Reshape, Squeeze, Transpose, Unsqueeze,
};
use quad_ir::tensor::Tensor;
use quad_ir::types::TensorType;
use quad_ir::weights::WeightError;

use crate::context::Context;
use crate::emit::Emit;
use crate::pass::{Pass, PassError, PassInfo};
use crate::pattern::sizes;
use crate::rule::{Rule, Skip, apply_rules, because};

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub struct LinearToConv;

const INFO: PassInfo = PassInfo { name: "linear-to-conv", source: include_str!("linear_to_conv.rs") };

impl Pass for LinearToConv {
    fn info(&self) -> &'static PassInfo {
        &INFO
    }

    fn run(&self, graph: &mut Graph, cx: &mut Context) -> Result<(), PassError> {
        apply_rules(graph, &[&OfMatMul, &OfGemm], cx)
    }
}

/// A `matmul` by a matrix.
#[derive(Debug)]
struct OfMatMul;

impl Rule for OfMatMul {
    fn name(&self) -> &'static str {
        "matmul-to-conv"
    }

    fn roots(&self) -> &'static [OpKind] {
        &[MatMul::KIND]
    }

    fn rewrite(&self, root: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
        let (x, matrix) = (operand(root, "a")?, operand(root, "b")?);
        if matrix.ty().rank() != 2 || x.ty().rank() < 2 {
            return Err(Skip::NoMatch);
        }
        check_layer(root, x, matrix)?;
        let (bias, replaced) = match bias_behind(root) {
            Some((bias, sum)) => (Some(bias), sum),
            None => (None, root.result()),
        };
        let kernel = kernel(patch, matrix, true)?;
        let y = convolve(patch, x, kernel, bias.map(ValueRef::id))?;
        Ok(patch.replace(replaced.id(), y)?)
    }
}

/// A `gemm` by a matrix.
#[derive(Debug)]
struct OfGemm;

impl Rule for OfGemm {
    fn name(&self) -> &'static str {
        "gemm-to-conv"
    }

    fn roots(&self) -> &'static [OpKind] {
        &[Gemm::KIND]
    }

    fn rewrite(&self, root: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
        let gemm = root.is::<Gemm>().ok_or(Skip::NoMatch)?;
        let (x, matrix) = (operand(root, "a")?, operand(root, "b")?);
        check_layer(root, x, matrix)?;
        if gemm.transA {
            return Err(because(root, "its left operand is transposed"));
        }
        let plain = |factor: quad_ir::attr::F32Bits| factor.get() == 1.0;
        let outputs = &root.result().ty().shape[1];
        let bias = match root.operand("c") {
            None => None,
            Some(c) if c.ty().rank() == 1 && c.ty().shape[0] == *outputs => Some(c.id()),
            Some(_) => return Err(because(root, "its addend is not one vector for all rows")),
        };
        if !plain(gemm.alpha) || bias.is_some() && !plain(gemm.beta) {
            return Err(because(root, "its factors `alpha` and `beta` are not 1"));
        }
        let kernel = kernel(patch, matrix, !gemm.transB)?;
        let y = convolve(patch, x, kernel, bias)?;
        Ok(patch.replace(root.result().id(), y)?)
    }
}

fn operand<'g>(node: NodeRef<'g>, name: &str) -> Result<ValueRef<'g>, Skip> {
    node.operand(name).ok_or(Skip::NoMatch)
}

/// Passes when `root` computes floats from `x`, which comes with a run, by a matrix that is a parameter.
fn check_layer(root: NodeRef<'_>, x: ValueRef<'_>, matrix: ValueRef<'_>) -> Result<(), Skip> {
    let from_run = match origin(x) {
        Origin::Constant => false,
        Origin::Input(input) => input.binding == Binding::Run,
        Origin::Computed => true,
    };
    if !x.ty().dtype.is_float() || !from_run {
        return Err(Skip::NoMatch);
    }
    match origin(matrix) {
        Origin::Constant => Ok(()),
        Origin::Input(input) if input.ty.rank() == 2 => Ok(()),
        _ => Err(because(root, "both operands are computed")),
    }
}

/// Where the elements of a value come from.
enum Origin<'g> {
    Constant,
    Input(&'g Input),
    Computed,
}

/// Operations between a parameter and the layer that reads it: more are a computation.
const MAX_STEPS: usize = 8;

/// What the elements of `value` are, moved or converted at most.
fn origin(mut value: ValueRef<'_>) -> Origin<'_> {
    for _ in 0..MAX_STEPS {
        if value.constant().is_some() {
            return Origin::Constant;
        }
        let node = value.producer();
        let moved = match node.op() {
            Op::Weight(_) => return Origin::Constant,
            Op::Input(input) => return Origin::Input(input),
            Op::Transpose(_)
            | Op::Reshape(_)
            | Op::Squeeze(_)
            | Op::Unsqueeze(_)
            | Op::Slice(_)
            | Op::Split(_)
            | Op::Cast(_) => node.operand("x"),
            _ => None,
        };
        match moved {
            Some(x) => value = x,
            None => break,
        }
    }
    Origin::Computed
}

/// The vector that is added to the result of `product` by its only reader, with the sum.
fn bias_behind(product: NodeRef<'_>) -> Option<(ValueRef<'_>, ValueRef<'_>)> {
    let y = product.result();
    let add = y.only_reader().filter(|reader| reader.is::<Add>().is_some())?;
    let other = add.operands().flatten().find(|operand| operand.id() != y.id())?;
    let per_channel = other.ty().rank() == 1 && other.ty().shape.last() == y.ty().shape.last();
    let constant = other.weight().is_some() || other.constant().is_some();
    (per_channel && constant && add.result().ty() == y.ty()).then(|| (other, add.result()))
}

/// The convolution of `x`, channels last, by `kernel`: what the linear layer computes.
fn convolve(
    patch: &mut Patch<'_>,
    x: ValueRef<'_>,
    kernel: ValueId,
    bias: Option<ValueId>,
) -> Result<ValueId, Skip> {
    let convolve =
        |patch: &mut Patch<'_>, plane: ValueId| patch.op(Conv::default(), &[Some(plane), Some(kernel), bias]);
    Ok(match x.ty().rank() {
        2 => {
            let axes = patch.integers(&[2, 3])?;
            let plane = patch.add_value(Unsqueeze, &[x.id(), axes])?;
            let y = convolve(patch, plane)?;
            patch.add_value(Squeeze, &[y, axes])?
        }
        3 => rows_as_plane(patch, x.id(), convolve)?,
        4 => {
            let plane = patch.transpose(x.id(), &[0, 3, 1, 2])?;
            let y = convolve(patch, plane)?;
            patch.transpose(y, &[0, 2, 3, 1])?
        }
        rank => {
            let found = sizes(x);
            let Some(found) = found else {
                return Err(because(x.producer(), format!("it has {rank} axes, not all of known size")));
            };
            let signed = |size: &u64| size.cast_signed();
            let batch: i64 = found[..rank - 2].iter().map(signed).product();
            let merged = [batch, signed(&found[rank - 2]), signed(&found[rank - 1])];
            let merged = patch.reshape(x.id(), &merged)?;
            let y = rows_as_plane(patch, merged, convolve)?;
            let mut split: Vec<i64> = found[..rank - 1].iter().map(signed).collect();
            split.push(-1);
            patch.reshape(y, &split)?
        }
    })
}

/// The kernel `[outputs, inputs, 1, 1]` that `matrix` is: by recipe where it is a weight. `turned` says that its inputs
/// come first.
fn kernel(patch: &mut Patch<'_>, matrix: ValueRef<'_>, turned: bool) -> Result<ValueId, AddError> {
    let turn = Transpose { perm: Some(vec![1, 0]) };
    let Some((weight, sizes)) = matrix.weight().zip(sizes(matrix)) else {
        let rows = if turned { patch.add_value(turn, &[matrix.id()])? } else { matrix.id() };
        let taps = patch.integers(&[2, 3])?;
        return patch.add_value(Unsqueeze, &[rows, taps]);
    };
    let (outputs, inputs) = if turned { (sizes[1], sizes[0]) } else { (sizes[0], sizes[1]) };
    let of_sizes = |sizes: &[u64]| TensorType::known(matrix.ty().dtype, sizes);
    let shape = Tensor::from_vec(&[4], vec![outputs.cast_signed(), inputs.cast_signed(), 1, 1]);
    let shape = shape.map_err(WeightError::from)?;
    let weights = patch.weights_mut();
    let rows = if turned {
        weights.add_recipe(of_sizes(&[outputs, inputs]), turn.into(), &[Some(weight)])?
    } else {
        weight
    };
    let shape = weights.add_memory(shape.ty(), shape.bytes().clone())?;
    let reshape = Reshape { allowzero: true };
    let sizes = of_sizes(&[outputs, inputs, 1, 1]);
    let kernel = weights.add_recipe(sizes, reshape.into(), &[Some(rows), Some(shape)])?;
    patch.add_weight(kernel)
}

/// As [`convolve`], for `x` of `[n, t, c]`.
fn rows_as_plane(
    patch: &mut Patch<'_>,
    x: ValueId,
    convolve: impl Fn(&mut Patch<'_>, ValueId) -> Result<ValueId, AddError>,
) -> Result<ValueId, AddError> {
    let first = patch.transpose(x, &[0, 2, 1])?;
    let height = patch.integers(&[2])?;
    let plane = patch.add_value(Unsqueeze, &[first, height])?;
    let y = convolve(patch, plane)?;
    let y = patch.add_value(Squeeze, &[y, height])?;
    patch.transpose(y, &[0, 2, 1])
}
