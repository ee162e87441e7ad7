//! Finds low-rank branches: adapters that were left unmerged when a model was exported.
//!
//! An adapted layer computes `layer(x) + scale * up(down(x))`, where `down` takes `x` to a few channels, the rank, and
//! `up` takes them to the layer's output. Exporters keep that dataflow but little else: weights lose their names, a
//! scale of one may vanish, casts and reshapes come in between, a weight may stand behind a transpose. So branches are
//! told by dataflow alone. For every addition and each of its operands:
//!
//! 1. back from the operand through casts and multiplications by a constant number, whose product is the scale, there
//!    is a product with a weight, `up`, and behind it another of the same kind, `down`; nothing else reads what is
//!    between them, and neither adds a bias;
//! 2. back from the other operand through casts, reshapes, added constants and other branches there is a product with a
//!    weight, the layer, with as many channels in and out as the branch, that reads what the branch reads.

use quad_ir::graph::{Graph, NodeId, NodeRef, ValueId, ValueRef};
use quad_ir::loc::Name;
use quad_ir::ops::{Add, Cast, Conv, Gemm, MatMul, Mul, Reshape, Transpose};
use quad_ir::types::Dim;

/// Steps back from an addition beyond which the layer is not looked for.
const MAX_STEPS: usize = 64;

/// A low-rank branch beside a layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Branch {
    /// The addition that joins the branch to its layer.
    pub join: NodeId,
    /// The product of the layer itself.
    pub layer: NodeId,
    /// The product with the weight that reduces to the rank: PEFT's `lora_A`.
    pub down: NodeId,
    /// The product with the weight that leads back to the layer's channels: PEFT's `lora_B`.
    pub up: NodeId,
    /// What kind of products the branch consists of.
    pub kind: Kind,
    /// Channels between `down` and `up`.
    pub rank: u64,
    /// What the branch is multiplied with; 1 where nothing is.
    pub scale: f64,
}

/// The kinds of products with a weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A matrix product.
    Linear,
    /// A convolution.
    Convolution,
}

impl Kind {
    /// The kind in a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Convolution => "convolution",
        }
    }
}

/// All branches of `graph`, in the order of the additions that join them.
pub fn find(graph: &Graph) -> Vec<Branch> {
    graph.nodes().filter_map(branch_at).collect()
}

/// The name that the weight of `product`, the `down` or `up` of a branch of `graph`, has in the model; `None` where it
/// has none.
pub fn weight_name(graph: &Graph, product: NodeId) -> Option<&Name> {
    Product::of(graph.node(product))?.weight.name()
}

/// A product with a weight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Product<'g> {
    pub(super) node: NodeRef<'g>,
    pub(super) kind: Kind,
    input: ValueRef<'g>,
    /// The weight itself, before it is transposed or cast.
    pub(super) weight: ValueRef<'g>,
    pub(super) channels_in: u64,
    pub(super) channels_out: u64,
    has_bias: bool,
    /// A factor that is part of the operation.
    factor: f64,
}

/// A pair of products with nothing but factors in between.
struct LowRank<'g> {
    down: Product<'g>,
    up: Product<'g>,
    scale: f64,
}

fn branch_at(join: NodeRef<'_>) -> Option<Branch> {
    let (a, b) = addends(join)?;
    let attempt = |branch, other| {
        let LowRank { down, up, scale } = low_rank(branch)?;
        let layer = layer_behind(other, &down, &up)?;
        Some(Branch {
            join: join.id(),
            layer: layer.id(),
            down: down.node.id(),
            up: up.node.id(),
            kind: down.kind,
            rank: down.channels_out,
            scale,
        })
    };
    attempt(a, b).or_else(|| attempt(b, a))
}

/// The low-rank pair whose result is `value`.
fn low_rank(value: ValueRef<'_>) -> Option<LowRank<'_>> {
    let (up, outer) = scaled_product(value)?;
    let (down, inner) = scaled_product(up.input)?;
    let is_pair = up.kind == down.kind && up.channels_in == down.channels_out;
    let is_bare = !up.has_bias && !down.has_bias && is_pointwise(up.node);
    // The rank is not asked to be low: small layers have adapters that are wider than they are.
    (is_pair && is_bare).then_some(LowRank { down, up, scale: outer * inner })
}

/// The product that `value` is, up to casts and constant factors, when nothing else reads what is in between.
fn scaled_product(mut value: ValueRef<'_>) -> Option<(Product<'_>, f64)> {
    let mut scale = 1.0;
    for _ in 0..MAX_STEPS {
        value.only_reader()?;
        let node = value.producer();
        if let Some(product) = Product::of(node) {
            scale *= product.factor;
            return Some((product, scale));
        }
        if node.is::<Cast>().is_some() {
            value = node.operand("x")?;
        } else if node.is::<Mul>().is_some() {
            let (factor, rest) = constant_factor(node)?;
            scale *= factor;
            value = rest;
        } else {
            return None;
        }
    }
    None
}

/// The number that `node` multiplies with, and what it multiplies.
fn constant_factor(node: NodeRef<'_>) -> Option<(f64, ValueRef<'_>)> {
    let (a, b) = (node.operand("a")?, node.operand("b")?);
    let number = |value: ValueRef<'_>| match value.constant()?.to_f64().ok()?.as_slice() {
        [number] => Some(*number),
        _ => None,
    };
    number(a).map(|factor| (factor, b)).or_else(|| Some((number(b)?, a)))
}

/// The layer that `value` is the result of, when it is one that `down` and `up` can be a branch of.
fn layer_behind<'g>(mut value: ValueRef<'g>, down: &Product<'_>, up: &Product<'_>) -> Option<NodeRef<'g>> {
    for _ in 0..MAX_STEPS {
        let node = value.producer();
        if let Some(layer) = Product::of(node) {
            let fits = layer.channels_in == down.channels_in && layer.channels_out == up.channels_out;
            return (fits && source(layer.input) == source(down.input)).then_some(node);
        }
        value = match addends(node) {
            Some((a, b)) if is_fixed(a) || low_rank(a).is_some() => b,
            Some((a, b)) if is_fixed(b) || low_rank(b).is_some() => a,
            Some(_) => return None,
            None => behind(node)?,
        };
    }
    None
}

/// What a value is made of, up to casts and reshapes.
fn source(mut value: ValueRef<'_>) -> ValueId {
    while let Some(before) = behind(value.producer()) {
        value = before;
    }
    value.id()
}

/// The operand of a cast or reshape.
fn behind(node: NodeRef<'_>) -> Option<ValueRef<'_>> {
    let is_step = node.is::<Cast>().is_some() || node.is::<Reshape>().is_some();
    if is_step { node.operand("x") } else { None }
}

fn addends(node: NodeRef<'_>) -> Option<(ValueRef<'_>, ValueRef<'_>)> {
    node.is::<Add>()?;
    Some((node.operand("a")?, node.operand("b")?))
}

/// Whether `value` is a constant, up to how it is laid out.
fn is_fixed(value: ValueRef<'_>) -> bool {
    value.constant().is_some() || root_weight(value).is_some()
}

/// The weight that `value` is, up to casts, transposes and reshapes.
fn root_weight(mut value: ValueRef<'_>) -> Option<ValueRef<'_>> {
    loop {
        if value.weight().is_some() {
            return Some(value);
        }
        let node = value.producer();
        value = if node.is::<Transpose>().is_some() { node.operand("x")? } else { behind(node)? };
    }
}

/// Whether `node` mixes channels at every place by itself: matrix products, and convolutions with a kernel of one.
fn is_pointwise(node: NodeRef<'_>) -> bool {
    let Some(conv) = node.is::<Conv>() else { return true };
    let one = |sizes: &[u64]| sizes.iter().all(|size| *size == 1);
    let kernel = node.operand("w").and_then(|w| w.ty().shape.as_known());
    kernel.is_some_and(|sizes| one(&sizes[2..]))
        && one(&conv.strides)
        && conv.pads.iter().all(|pad| *pad == 0)
}

impl<'g> Product<'g> {
    pub(super) fn of(node: NodeRef<'g>) -> Option<Self> {
        if node.is::<MatMul>().is_some() {
            let [channels_in, channels_out] = matrix(node.operand("b")?)?;
            return Self::new(node, Kind::Linear, ["a", "b"], channels_in, channels_out);
        }
        if let Some(gemm) = node.is::<Gemm>() {
            let [rows, columns] = matrix(node.operand("b")?)?;
            let (channels_in, channels_out) = if gemm.transB { (columns, rows) } else { (rows, columns) };
            let product = Self::new(node, Kind::Linear, ["a", "b"], channels_in, channels_out)?;
            let has_bias = node.operand("c").is_some();
            return (!gemm.transA).then_some(Self {
                has_bias,
                factor: f64::from(gemm.alpha.get()),
                ..product
            });
        }
        let conv = node.is::<Conv>()?;
        let sizes = node.operand("w")?.ty().shape.as_known()?;
        let channels_in = sizes.get(1)?.checked_mul(conv.group)?;
        let product = Self::new(node, Kind::Convolution, ["x", "w"], channels_in, sizes[0])?;
        Some(Self { has_bias: node.operand("b").is_some(), ..product })
    }

    fn new(
        node: NodeRef<'g>,
        kind: Kind,
        [input, weight]: [&str; 2],
        channels_in: u64,
        channels_out: u64,
    ) -> Option<Self> {
        Some(Self {
            node,
            kind,
            input: node.operand(input)?,
            weight: root_weight(node.operand(weight)?)?,
            channels_in,
            channels_out,
            has_bias: false,
            factor: 1.0,
        })
    }
}

/// The sizes of a value with two axes.
fn matrix(value: ValueRef<'_>) -> Option<[u64; 2]> {
    match value.ty().shape.iter().map(Dim::known).collect::<Vec<_>>().as_slice() {
        [Some(rows), Some(columns)] => Some([*rows, *columns]),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
