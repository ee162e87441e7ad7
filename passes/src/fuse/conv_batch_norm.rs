//! Folds a batch normalization into the convolution before it.
//!
//! With `f = scale / sqrt(variance + epsilon)`, `batch_norm(conv(x, w, b))` is `conv(x, w * f, (b - mean) * f + shift)`, by
//! output channel. The new weights are recipes: their bytes are made when the graph is written.
//!
//! Before:
//! ```quad
//! graph @main(%x: f32[1, 1, 3, 3]) {
//!   %w = weight [1.0, 2.0] : f32[2, 1, 1, 1]
//!   %b = weight [0.5, 0.25] : f32[2]
//!   %scale = weight [2.0, 3.0] : f32[2]
//!   %shift = weight [1.0, -1.0] : f32[2]
//!   %mean = weight [0.5, 1.25] : f32[2]
//!   %variance = weight [3.75, 8.75] : f32[2]
//!   %0 = conv(%x, %w, %b) : f32[1, 2, 3, 3]
//!   %y = batch_norm(%0, %scale, %shift, %mean, %variance) {epsilon = 0.25} : f32[1, 2, 3, 3]
//!   return "y" = %y
//! }
//! ```
//! After:
//! ```quad
//! graph @main(%x: f32[1, 1, 3, 3]) {
//!   %0 = weight [1.0, 2.0] : f32[2, 1, 1, 1]
//!   %1 = weight [1.0, -2.0] : f32[2]
//!   %y = conv(%x, %0, %1) : f32[1, 2, 3, 3]
//!   return "y" = %y
//! }
//! ```

use quad_ir::dtype::DType;
use quad_ir::graph::{Graph, NodeRef, Patch, ValueRef};
use quad_ir::ops::{Add, BatchNorm, Conv, Div, Mul, Neg, Op, OpKind, Reshape, Sqrt, Sub};
use quad_ir::tensor::Tensor;
use quad_ir::types::TensorType;
use quad_ir::weights::{WeightError, WeightId, Weights};

use crate::context::Context;
use crate::emit::Emit;
use crate::pass::{Pass, PassError, PassInfo};
use crate::pattern::{made_by, only_read_by};
use crate::rule::{FnRule, Skip, apply_rules, because};

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub struct FuseConvBatchNorm;

const INFO: PassInfo = PassInfo { name: "fuse-conv-batch-norm", source: include_str!("conv_batch_norm.rs") };

impl Pass for FuseConvBatchNorm {
    fn info(&self) -> &'static PassInfo {
        &INFO
    }

    fn run(&self, graph: &mut Graph, cx: &mut Context) -> Result<(), PassError> {
        let rule = FnRule {
            name: "batch-norm-into-conv",
            roots: &[OpKind::BatchNorm],
            rewrite: batch_norm_into_conv,
        };
        apply_rules(graph, &[&rule], cx)
    }
}

fn batch_norm_into_conv(root: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let norm = root.is::<BatchNorm>().ok_or(Skip::NoMatch)?;
    let normed = root.operand("x").ok_or(Skip::NoMatch)?;
    let (layer, conv) = made_by::<Conv>(normed).ok_or(Skip::NoMatch)?;
    if norm.training_mode {
        return Err(because(root, "it normalizes by the statistics of its operand"));
    }
    if norm.layout != conv.layout {
        return Err(because(root, "it looks for the channels at another axis than the convolution"));
    }
    let dtype = normed.ty().dtype;
    let weight = |node: NodeRef<'_>, name: &str| {
        let value = node.operand(name).filter(|value| value.ty().dtype == dtype);
        let found = value.and_then(ValueRef::weight);
        found.ok_or_else(|| because(node, format!("its `{name}` is no weight of type {dtype}")))
    };
    let kernel = weight(layer, "w")?;
    let bias = layer.operand("b").map(|_| weight(layer, "b")).transpose()?;
    let statistics = Statistics {
        dtype,
        scale: weight(root, "scale")?,
        shift: weight(root, "b")?,
        mean: weight(root, "input_mean")?,
        variance: weight(root, "input_var")?,
        epsilon: norm.epsilon.get(),
    };
    only_read_by(normed, root)?;
    let x = layer.operand("x").ok_or(Skip::NoMatch)?;
    let (kernel, bias) = statistics.fold(kernel, bias, patch.weights_mut())?;
    let (kernel, bias) = (patch.add_weight(kernel)?, patch.add_weight(bias)?);
    let folded = patch.op(conv.clone(), &[Some(x.id()), Some(kernel), Some(bias)])?;
    Ok(patch.replace(root.result().id(), folded)?)
}

/// The operands of a batch normalization.
struct Statistics {
    dtype: DType,
    scale: WeightId,
    shift: WeightId,
    mean: WeightId,
    variance: WeightId,
    epsilon: f32,
}

impl Statistics {
    /// Kernel and bias with the normalization in them.
    fn fold(
        &self,
        kernel: WeightId,
        bias: Option<WeightId>,
        weights: &mut Weights,
    ) -> Result<(WeightId, WeightId), WeightError> {
        let epsilon = weights.add_tensor(&Tensor::from_f32(self.dtype, &[1], &[self.epsilon])?)?;
        let mut make = |op: Op, from: &[WeightId]| {
            let from: Vec<Option<WeightId>> = from.iter().copied().map(Some).collect();
            weights.derive(op, &from)
        };
        let variance = make(Add.into(), &[self.variance, epsilon])?;
        let deviation = make(Sqrt.into(), &[variance])?;
        let factor = make(Div.into(), &[self.scale, deviation])?;
        let centered = match bias {
            Some(bias) => make(Sub.into(), &[bias, self.mean])?,
            None => make(Neg.into(), &[self.mean])?,
        };
        let scaled = make(Mul.into(), &[centered, factor])?;
        let bias = make(Add.into(), &[scaled, self.shift])?;
        let rank = weights.ty(kernel).map_or(0, TensorType::rank);
        let column: Vec<i64> = (0..rank).map(|axis| if axis == 0 { -1 } else { 1 }).collect();
        let column = weights.add_tensor(&Tensor::from_vec(&[rank], column)?)?;
        let factor = weights.derive(Reshape::default(), &[Some(factor), Some(column)])?;
        Ok((weights.derive(Mul, &[Some(kernel), Some(factor)])?, bias))
    }
}
