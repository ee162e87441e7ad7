//! Evens out the channels between two layers: what a channel is large by goes from the weight before it to the one behind.
//!
//! Between the two layers stand operations that let a positive factor through, such as `relu`, or nothing. Each channel of
//! the first layer is divided by a number, bias included, and the weight of the second layer is multiplied with it, so that
//! both weights reach equally far in that channel. One scale then fits all channels of a weight, and of what is between
//! the layers, better. The numbers are powers of two, so the graph computes the same, bit for bit, as long as nothing
//! becomes smaller or larger than floats are.
//!
//! Weights become recipes; none is read here. A weight that is read elsewhere too is left, and so is a layer whose result
//! or input has another reader, such as a branch beside it. Layers with weights of fewer than 32 bits are left too, as these
//! would lose bits.
//!
//! Each pair of layers is looked at once, in the order of computation.
//!
//! Options: `limit` is the largest power of two, 6 for factors from 1/64 to 64.
//!
//! Before:
//! ```quad
//! graph @main(%x: f32[2, 2]) {
//!   %w = weight [8.0, 0.5, 4.0, 0.25] : f32[2, 2]
//!   %b = weight [8.0, -0.5] : f32[2]
//!   %0 = gemm(%x, %w, %b) : f32[2, 2]
//!   %1 = relu(%0) : f32[2, 2]
//!   %v = weight [0.5, 0.25, 0.5, 2.0] : f32[2, 2]
//!   %y = matmul(%1, %v) : f32[2, 2]
//!   return "y" = %y
//! }
//! ```
//! After:
//! ```quad
//! graph @main(%x: f32[2, 2]) {
//!   %0 = weight [2.0, 1.0, 1.0, 0.5] : f32[2, 2]
//!   %1 = weight [2.0, -1.0] : f32[2]
//!   %2 = gemm(%x, %0, %1) : f32[2, 2]
//!   %3 = relu(%2) : f32[2, 2]
//!   %4 = weight [2.0, 1.0, 0.25, 1.0] : f32[2, 2]
//!   %y = matmul(%3, %4) : f32[2, 2]
//!   return "y" = %y
//! }
//! ```

use quad_ir::attr::{AttrError, AttrVisitor};
use quad_ir::dtype::DType;
use quad_ir::graph::{Graph, NodeRef, Patch};
use quad_ir::ops::{
    Abs, Clip, Div, LeakyRelu, Log, Max, Mul, Op, Pow, ReduceMax, Relu, Reshape, Round, Sign, Sub,
};
use quad_ir::tensor::Tensor;
use quad_ir::weights::{Source, WeightError, WeightId};

use super::fold_scales::linear::Linear;
use super::fold_scales::rebuilt;
use crate::context::{Context, Place};
use crate::emit::weight_of;
use crate::pass::{Pass, PassError, PassInfo};
use crate::pattern::{is_constant, only_read_by};
use crate::rule::{QUANTIZED, Skip, because};

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct Equalize {
    /// The largest power of two.
    pub limit: u64,
}

impl Default for Equalize {
    fn default() -> Self {
        Self { limit: 6 }
    }
}

const INFO: PassInfo = PassInfo { name: "equalize", source: include_str!("equalize.rs") };

/// Larger powers would leave what floats of 32 bits are.
const MAX_LIMIT: u64 = 60;

/// Magnitudes below which a channel counts as empty: it has no logarithm.
const TINY: f32 = f32::MIN_POSITIVE;

impl Pass for Equalize {
    fn info(&self) -> &'static PassInfo {
        &INFO
    }

    fn options(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("limit", &mut self.limit)
    }

    fn run(&self, graph: &mut Graph, cx: &mut Context) -> Result<(), PassError> {
        if self.limit > MAX_LIMIT {
            let found = format!("`equalize`: the limit is {}, expected at most {MAX_LIMIT}", self.limit);
            return Err(PassError::Refused(found));
        }
        // A layer is replaced by its like, which is the first of the next pair then; as the second it comes once.
        for second in graph.topo() {
            if !graph.contains(second) {
                continue;
            }
            let place = Place::of(graph.node(second));
            let mut patch = Patch::new(graph, INFO.name);
            match rewrite(graph.node(second), &mut patch, self.limit) {
                Ok(()) => {
                    patch.erase_unread();
                    let edit = patch.finish()?;
                    cx.apply(graph, edit, INFO.name, place)?;
                }
                Err(Skip::NoMatch) => {}
                Err(Skip::Because { why, at }) => {
                    let place = Place::of(graph.node(at));
                    cx.left(INFO.name, place, why);
                }
                Err(Skip::Fault(fault)) => return Err(PassError::Fault(fault)),
            }
        }
        Ok(())
    }
}

/// Evens out the channels between the layer `node` and the one before it.
fn rewrite(node: NodeRef<'_>, patch: &mut Patch<'_>, limit: u64) -> Result<(), Skip> {
    let second = Linear::of(node).ok_or(Skip::NoMatch)?;
    let (mut between, mut reader, mut result) = (Vec::new(), node, second.x);
    while result.producer().is::<Relu>().is_some() || result.producer().is::<LeakyRelu>().is_some() {
        only_read_by(result, reader)?;
        reader = result.producer();
        between.push(reader);
        result = reader.operands().flatten().next().ok_or(Skip::NoMatch)?;
    }
    let first = Linear::of(result.producer()).ok_or(Skip::NoMatch)?;
    check(&first, &second)?;
    only_read_by(result, reader)?;
    let ((channels, out), (read, inner)) = (first.output, second.input);
    let (Some(out), Some(inner), true) = (out, inner, channels == read) else {
        return Err(because(node, "its channels are not those of the layer before it"));
    };
    let [w, v] = [first.weight, second.weight].map(|weight| weight_of(weight, patch));
    let (Some(w), Some(v)) = (w?, v?) else { return Err(Skip::NoMatch) };
    if is_evened(patch, v) {
        return Err(because(node, "it was evened out before"));
    }
    let ranks = [(w, first.weight.ty().rank(), out), (v, second.weight.ty().rank(), inner)];
    let factor = factor(patch, ranks, limit)?;
    let weight = Evened { patch, factor }.weight(Div.into(), w, Some((ranks[0].1, out)))?;
    let mut changed = vec![(first.weight_name, weight)];
    if let Some(bias) = first.node.operand(first.bias_name) {
        let bias = weight_of(bias, patch)?.ok_or(Skip::NoMatch)?;
        changed.push((first.bias_name, Evened { patch, factor }.weight(Div.into(), bias, None)?));
    }
    let mut value = rebuilt(first.node, &changed, patch)?;
    for step in between.into_iter().rev() {
        let operand = patch.results(value)[0];
        value = patch.add(step.op().clone(), &[Some(operand)])?;
    }
    let weight = Evened { patch, factor }.weight(Mul.into(), v, Some((ranks[1].1, inner)))?;
    let x = (node.op().def().operands()[0].name, patch.results(value)[0]);
    let new = rebuilt(node, &[x, (second.weight_name, weight)], patch)?;
    patch.replace(node.result().id(), patch.results(new)[0])?;
    Ok(())
}

/// Whether the weights are the layers' own, of 32 bits, and nothing is quantized.
fn check(first: &Linear<'_>, second: &Linear<'_>) -> Result<(), Skip> {
    for layer in [first, second] {
        only_read_by(layer.weight, layer.node)?;
        if layer.node.touches_quantized() {
            return Err(because(layer.node, QUANTIZED));
        }
        if layer.weight.ty().dtype != DType::F32 {
            return Err(because(layer.node, "its weight is not of f32, and could lose bits"));
        }
    }
    match first.node.operand(first.bias_name) {
        Some(bias) if !is_constant(bias) => Err(because(first.node, "its bias is computed")),
        // The channels are the only axis of a bias; a gemm may have others, or one number for all.
        Some(bias) if bias.ty().rank() != 1 || bias.ty().shape[0] != first.weight_channels() => {
            Err(because(first.node, "its bias is not one number to a channel"))
        }
        _ => Ok(()),
    }
}

/// Whether `weight` is what this pass made.
fn is_evened(patch: &Patch<'_>, weight: WeightId) -> bool {
    let recipe = |weight: WeightId| match patch.weights().source(weight) {
        Source::Recipe { op, from } => Some((op, from)),
        _ => None,
    };
    let Some((Op::Mul(_), from)) = recipe(weight) else { return false };
    let Some((Op::Reshape(_), from)) = from.get(1).copied().flatten().and_then(recipe) else { return false };
    matches!(from.first().copied().flatten().and_then(recipe), Some((Op::Pow(_), _)))
}

/// What each channel of the first layer is divided by, and the weight of the second multiplied with: a power of two next
/// to the root of how much farther the first weight reaches than the second. 1 where a channel of either is empty.
fn factor(
    patch: &mut Patch<'_>,
    weights: [(WeightId, usize, usize); 2],
    limit: u64,
) -> Result<WeightId, WeightError> {
    let all = patch.weights_mut();
    let mut logarithms = Vec::new();
    let mut signs = Vec::new();
    let tiny = all.add_tensor(&Tensor::scalar(TINY))?;
    for (weight, rank, axis) in weights {
        let others: Vec<i64> = (0..rank as i64).filter(|other| *other != axis as i64).collect();
        let axes = all.add_tensor(&Tensor::from_vec(&[others.len()], others)?)?;
        let magnitudes = all.derive(Abs, &[Some(weight)])?;
        let reduce = ReduceMax { keepdims: false, ..ReduceMax::default() };
        let reach = all.derive(reduce, &[Some(magnitudes), Some(axes)])?;
        signs.push(Some(all.derive(Sign, &[Some(reach)])?));
        let reach = all.derive(Max, &[Some(reach), Some(tiny)])?;
        logarithms.push(Some(all.derive(Log, &[Some(reach)])?));
    }
    let is_there = all.derive(Mul, &signs)?;
    let ratio = all.derive(Sub, &logarithms)?;
    // Half the logarithm is that of the root; the logarithm is natural.
    let to_powers = all.add_tensor(&Tensor::scalar(2.0 * std::f32::consts::LN_2))?;
    let power = all.derive(Div, &[Some(ratio), Some(to_powers)])?;
    let power = all.derive(Round, &[Some(power)])?;
    let limits = [-(limit as f32), limit as f32].map(|limit| all.add_tensor(&Tensor::scalar(limit)));
    let [low, high] = limits;
    let power = all.derive(Clip, &[Some(power), Some(low?), Some(high?)])?;
    let power = all.derive(Mul, &[Some(power), Some(is_there)])?;
    let two = all.add_tensor(&Tensor::scalar(2f32))?;
    all.derive(Pow, &[Some(two), Some(power)])
}

/// Weights that take the factors of channels.
struct Evened<'p, 'g> {
    patch: &'p mut Patch<'g>,
    factor: WeightId,
}

impl Evened<'_, '_> {
    /// What `op` makes of `weight` and the factors, which go along an axis of so many; of the only one without.
    fn weight(
        self,
        op: Op,
        weight: WeightId,
        axis: Option<(usize, usize)>,
    ) -> Result<quad_ir::graph::ValueId, Skip> {
        let all = self.patch.weights_mut();
        let mut factor = self.factor;
        if let Some((rank, axis)) = axis {
            let sizes: Vec<i64> = (0..rank).map(|at| if at == axis { -1 } else { 1 }).collect();
            let sizes = Tensor::from_vec(&[rank], sizes).map_err(WeightError::from)?;
            let sizes = all.add_tensor(&sizes)?;
            factor = all.derive(Reshape::default(), &[Some(factor), Some(sizes)])?;
        }
        let made = all.derive(op, &[Some(weight), Some(factor)])?;
        Ok(self.patch.add_weight(made)?)
    }
}
