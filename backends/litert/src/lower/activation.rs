//! Activation functions.

use quad_backends::legality::{Legality, Reasons};
use quad_backends::table::OpRow;
use quad_ir::dtype::DType;
use quad_ir::graph::NodeRef;
use quad_ir::ops::activation::Approximation;
use quad_ir::ops::{Gelu, LeakyRelu, OpKind, Swish};

use super::builder::Lowering;
use super::values::of_type;
use super::{Emit, EmitError, Settings, quantized};
use crate::schema::{Builtin, Value};

type Row = OpRow<Settings, Emit>;

const fn row(kind: OpKind, becomes: &'static str, emit: Emit) -> Row {
    OpRow { kind, becomes, asks: "f32", legality, emit }
}

pub(super) const ROWS: &[Row] = &[
    row(OpKind::Sigmoid, "`LOGISTIC`", |node, out| plain(node, out, Builtin::Logistic)),
    row(OpKind::Tanh, "`TANH`", |node, out| plain(node, out, Builtin::Tanh)),
    row(OpKind::Relu, "`RELU`", |node, out| plain(node, out, Builtin::Relu)),
    row(OpKind::HardSwish, "`HARD_SWISH`", |node, out| plain(node, out, Builtin::HardSwish)),
    row(OpKind::Gelu, "`GELU`", gelu),
    row(OpKind::Swish, "`LOGISTIC`, `MUL`", swish),
    row(OpKind::LeakyRelu, "`LEAKY_RELU`", leaky_relu),
];

fn legality(node: NodeRef<'_>, _: &Settings) -> Legality {
    let mut reasons = Reasons::default();
    of_type(node, 0, &[DType::F32], &mut reasons);
    reasons.legality()
}

fn plain(node: NodeRef<'_>, out: &mut Lowering<'_>, op: Builtin) -> Result<(), EmitError> {
    let x = out.operand(node, 0)?;
    out.compute(node, op, &[x], &[]);
    Ok(())
}

fn gelu(node: NodeRef<'_>, out: &mut Lowering<'_>) -> Result<(), EmitError> {
    let is_tanh = node.is::<Gelu>().is_some_and(|gelu| gelu.approximate == Approximation::Tanh);
    let x = out.operand(node, 0)?;
    out.compute(node, Builtin::Gelu, &[x], &[("approximate", Value::Bool(is_tanh))]);
    Ok(())
}

/// `x * sigmoid(alpha * x)`. Between stored integers the gate has the encoding that its kernel makes.
fn swish(node: NodeRef<'_>, out: &mut Lowering<'_>) -> Result<(), EmitError> {
    let alpha = node.is::<Swish>().map_or(1.0, |swish| swish.alpha.get());
    let x = out.operand(node, 0)?;
    let mut kind = out.kind(x);
    let argument = if alpha == 1.0 {
        x
    } else {
        let (alpha, argument) = (out.number(DType::F32, f64::from(alpha))?, out.between(kind.clone()));
        out.emit(Builtin::Mul, &[Some(x), Some(alpha)], &[argument], &[]);
        argument
    };
    if kind.quant.is_some() {
        kind.quant = quantized::gate(kind.dtype).map(Into::into);
    }
    let gate = out.between(kind);
    out.emit(Builtin::Logistic, &[Some(argument)], &[gate], &[]);
    out.compute(node, Builtin::Mul, &[x, gate], &[]);
    Ok(())
}

fn leaky_relu(node: NodeRef<'_>, out: &mut Lowering<'_>) -> Result<(), EmitError> {
    let alpha = node.is::<LeakyRelu>().map_or(0.0, |relu| relu.alpha.get());
    let x = out.operand(node, 0)?;
    out.compute(node, Builtin::LeakyRelu, &[x], &[("alpha", Value::Float(alpha))]);
    Ok(())
}
