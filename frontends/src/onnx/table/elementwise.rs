//! Elementwise operations and casts.

use quad_ir::dtype::DType;
use quad_ir::graph::{NodeRef, ValueId};
use quad_ir::ops::cast::RoundMode;
use quad_ir::ops::{
    Abs, Acos, Acosh, Add, And, Asin, Asinh, Atan, Atanh, BitCast, BitShift, BitwiseAnd, BitwiseNot,
    BitwiseOr, BitwiseXor, Cast, Ceil, Celu, Clip, Cos, Cosh, Div, Elu, Equal, Erf, Exp, Expand, Floor, Gelu,
    Greater, GreaterOrEqual, HardSigmoid, HardSwish, IsInf, IsNan, LeakyRelu, Less, LessOrEqual, Log, Max,
    Min, Mish, Mod, Mul, Neg, Not, OpVariant, Or, PRelu, Pow, Reciprocal, Relu, Round, Selu, ShapeOf, Shrink,
    Sigmoid, Sign, Sin, Sinh, Softplus, Softsign, Sqrt, Sub, Swish, Tan, Tanh, ThresholdedRelu, Unsqueeze,
    Where, Xor,
};

use super::{Row, alias, bf16_since_22, import, op, read_regular};
use crate::onnx::context::{NodeContext, Values};
use crate::onnx::error::NodeError;
use crate::onnx::export::WriteError;
use crate::onnx::write_node::WriteNode;

pub(super) const ROWS: &[Row] = &[
    import("Identity", alias),
    import("Dropout", dropout),
    op::<Cast>("Cast").writing(write_cast),
    import("CastLike", cast_like),
    op::<BitCast>("BitCast").since(26),
    op::<Add>("Add").reading(aligned::<Add>),
    op::<Sub>("Sub").reading(aligned::<Sub>),
    op::<Mul>("Mul").reading(aligned::<Mul>),
    op::<Div>("Div").reading(aligned::<Div>),
    op::<Mod>("Mod").newer(mod_opset),
    op::<Pow>("Pow").reading(aligned::<Pow>),
    op::<Min>("Min").reading(chain::<Min>),
    op::<Max>("Max").reading(chain::<Max>),
    import("Sum", chain::<Add>),
    import("Mean", mean),
    op::<And>("And").reading(aligned::<And>),
    op::<Or>("Or").reading(aligned::<Or>),
    op::<Xor>("Xor").reading(aligned::<Xor>),
    op::<Not>("Not"),
    op::<BitwiseAnd>("BitwiseAnd"),
    op::<BitwiseOr>("BitwiseOr"),
    op::<BitwiseXor>("BitwiseXor"),
    op::<BitwiseNot>("BitwiseNot"),
    op::<BitShift>("BitShift").newer(bit_shift_opset),
    op::<Equal>("Equal").reading(aligned::<Equal>),
    op::<Less>("Less").reading(aligned::<Less>),
    op::<LessOrEqual>("LessOrEqual"),
    op::<Greater>("Greater").reading(aligned::<Greater>),
    op::<GreaterOrEqual>("GreaterOrEqual"),
    op::<Where>("Where"),
    op::<Clip>("Clip").reading(clip),
    op::<Abs>("Abs"),
    op::<Neg>("Neg"),
    op::<Sign>("Sign"),
    op::<Sqrt>("Sqrt"),
    op::<Reciprocal>("Reciprocal"),
    op::<Exp>("Exp"),
    op::<Log>("Log"),
    op::<Floor>("Floor"),
    op::<Ceil>("Ceil"),
    op::<Round>("Round").newer(bf16_since_22),
    op::<Sin>("Sin").newer(bf16_since_22),
    op::<Cos>("Cos").newer(bf16_since_22),
    op::<Tan>("Tan").newer(bf16_since_22),
    op::<Asin>("Asin").newer(bf16_since_22),
    op::<Acos>("Acos").newer(bf16_since_22),
    op::<Atan>("Atan").newer(bf16_since_22),
    op::<Sinh>("Sinh").newer(bf16_since_22),
    op::<Cosh>("Cosh").newer(bf16_since_22),
    op::<Tanh>("Tanh"),
    op::<Asinh>("Asinh").newer(bf16_since_22),
    op::<Acosh>("Acosh").newer(bf16_since_22),
    op::<Atanh>("Atanh").newer(bf16_since_22),
    op::<Erf>("Erf"),
    op::<Relu>("Relu"),
    op::<PRelu>("PRelu").reading(prelu),
    op::<LeakyRelu>("LeakyRelu"),
    op::<ThresholdedRelu>("ThresholdedRelu").newer(bf16_since_22),
    op::<Elu>("Elu").newer(bf16_since_22),
    op::<Selu>("Selu").newer(bf16_since_22),
    op::<Celu>("Celu").newer(celu_opset),
    op::<Sigmoid>("Sigmoid"),
    op::<HardSigmoid>("HardSigmoid").newer(bf16_since_22),
    op::<HardSwish>("HardSwish").newer(bf16_since_22),
    op::<Swish>("Swish").since(24),
    import("SwiGLU", swiglu),
    op::<Mish>("Mish").newer(bf16_since_22),
    op::<Gelu>("Gelu").since(20),
    op::<Softplus>("Softplus").newer(bf16_since_22),
    op::<Softsign>("Softsign").newer(bf16_since_22),
    op::<Shrink>("Shrink"),
    op::<IsNan>("IsNaN").newer(is_nan_opset),
    op::<IsInf>("IsInf").newer(is_inf_opset),
];

/// At inference the first operand itself, and a mask that keeps everything.
fn dropout(context: &mut NodeContext<'_, '_>) -> Result<Values, NodeError> {
    // Which elements are dropped, and how many, has no meaning where none are.
    context.ignore("seed");
    context.ignore("ratio");
    let (x, ratio, training) = (context.operand(0)?, context.optional(1), context.optional(2));
    let known = |value: Option<ValueId>| {
        value.and_then(|value| context.constant(value)?.to_f64().ok()?.first().copied())
    };
    if training.is_some() && known(training) != Some(0.0) && known(ratio) != Some(0.0) {
        return Err(context.unsupported("dropout in training mode, which draws random numbers"));
    }
    let mut values = Values::from_slice(&[x]);
    if context.output_count() > 1 {
        // Before opset 10 the mask was of the type of the elements.
        let dtype = if context.opset() < 10 { context.ty(x).dtype } else { DType::Bool };
        let kept = context.scalar_of(dtype, 1.0)?;
        let shape = context.value(ShapeOf::default(), &[x])?;
        values.push(context.value(Expand, &[kept, shape])?);
    }
    Ok(values)
}

/// A cast to the type of the second operand.
fn cast_like(context: &mut NodeContext<'_, '_>) -> Result<Values, NodeError> {
    let (x, like) = (context.operand(0)?, context.operand(1)?);
    let op = Cast { to: context.ty(like).dtype, ..context.op::<Cast>()? };
    Ok(Values::from_slice(&[context.value(op, &[x])?]))
}

/// Writes the attributes that newer operator sets brought only where they say something.
fn write_cast(node: &mut WriteNode<'_>) -> Result<(), WriteError> {
    let cast = node.node.is::<Cast>().cloned().unwrap_or_default();
    let mut attributes = node.attributes(&[])?;
    attributes.retain(|attribute| match attribute.name.as_str() {
        "saturate" => cast.to.is_minifloat() && !cast.saturate,
        "round_mode" => cast.to == DType::F8E8M0 && cast.round_mode != RoundMode::Up,
        _ => true,
    });
    node.emit(attributes);
    Ok(())
}

/// Any number of operands, combined from the first to the last.
fn chain<O: OpVariant>(context: &mut NodeContext<'_, '_>) -> Result<Values, NodeError> {
    let mut result = context.operand(0)?;
    for index in 1..context.operands().len() {
        result = context.value(O::default(), &[result, context.operand(index)?])?;
    }
    Ok(Values::from_slice(&[result]))
}

/// Before opset 7 the second operand was only stretched where `broadcast` said so, from axis `axis` of the first on.
fn aligned<O: OpVariant>(context: &mut NodeContext<'_, '_>) -> Result<Values, NodeError> {
    if context.opset() >= 7 {
        return read_regular::<O>(context);
    }
    let (stretched, axis) = (context.flag("broadcast")?, context.int("axis")?);
    let (a, mut b) = (context.operand(0)?, context.operand(1)?);
    if let Some(axis) = axis.filter(|_| stretched) {
        b = at_axis(context, b, a, axis)?;
    }
    Ok(Values::from_slice(&[context.value(O::default(), &[a, b])?]))
}

/// `value` with axes of size 1 appended, so that it stretches to `like` from `axis` on and not at its last axes.
fn at_axis(
    context: &mut NodeContext<'_, '_>,
    value: ValueId,
    like: ValueId,
    axis: i64,
) -> Result<ValueId, NodeError> {
    let (rank, wanted) = (context.ty(value).rank() as i64, context.ty(like).rank() as i64);
    let from_start = if axis < 0 { axis.saturating_add(wanted) } else { axis };
    if from_start < 0 || from_start > wanted - rank {
        return Err(
            context.unsupported(format!("a second operand of rank {rank} at axis {axis} of {wanted}"))
        );
    }
    let added: Vec<i64> = (rank..wanted - from_start).collect();
    let added = context.integers(&added)?;
    context.value(Unsqueeze, &[value, added])
}

/// Before opset 7 a vector of slopes belonged to the channels, axis 1.
fn prelu(context: &mut NodeContext<'_, '_>) -> Result<Values, NodeError> {
    let (x, mut slope) = (context.operand(0)?, context.operand(1)?);
    if context.opset() < 7 && context.ty(slope).rank() == 1 && context.ty(x).rank() > 1 {
        slope = at_axis(context, slope, x, 1)?;
    }
    Ok(Values::from_slice(&[context.value(PRelu, &[x, slope])?]))
}

fn mean(context: &mut NodeContext<'_, '_>) -> Result<Values, NodeError> {
    let sum = chain::<Add>(context)?[0];
    let count = context.scalar_of(context.ty(sum).dtype, context.operands().len() as f64)?;
    Ok(Values::from_slice(&[context.value(Div, &[sum, count])?]))
}

/// Before opset 11 the limits were attributes.
fn clip(context: &mut NodeContext<'_, '_>) -> Result<Values, NodeError> {
    let mut operands = context.operands().to_vec();
    if context.opset() < 11 {
        let dtype = context.ty(context.operand(0)?).dtype;
        operands.truncate(1);
        for name in ["min", "max"] {
            let limit = context.float(name)?;
            operands.push(limit.map(|limit| context.scalar_of(dtype, f64::from(limit))).transpose()?);
        }
    }
    let node = context.add(Clip, &operands)?;
    Ok(context.results(node))
}

/// The first operand through a sigmoid gate, times the second.
fn swiglu(context: &mut NodeContext<'_, '_>) -> Result<Values, NodeError> {
    let (gate, x) = (context.operand(0)?, context.operand(1)?);
    let gate = context.value(context.op::<Swish>()?, &[gate])?;
    Ok(Values::from_slice(&[context.value(Mul, &[gate, x])?]))
}

/// The element type of the first operand.
fn dtype_of(node: NodeRef<'_>) -> DType {
    node.operands().flatten().next().map_or(DType::F32, |x| x.ty().dtype)
}

fn celu_opset(node: NodeRef<'_>) -> i64 {
    if dtype_of(node) == DType::F32 { 12 } else { 28 }
}

/// Floats used to be rounded toward zero only.
fn mod_opset(node: NodeRef<'_>) -> i64 {
    let floored = node.is::<Mod>().is_some_and(|op| !op.fmod);
    if floored && dtype_of(node).is_float() { 28 } else { 13 }
}

fn bit_shift_opset(node: NodeRef<'_>) -> i64 {
    if dtype_of(node).is_signed_integer() { 28 } else { 11 }
}

fn is_nan_opset(node: NodeRef<'_>) -> i64 {
    if dtype_of(node).is_minifloat() { 20 } else { 13 }
}

fn is_inf_opset(node: NodeRef<'_>) -> i64 {
    if matches!(dtype_of(node), DType::F32 | DType::F64) { 10 } else { 20 }
}
