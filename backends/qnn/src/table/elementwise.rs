//! Functions of single elements and of pairs of elements.

use quad_backends::legality::Reason;
use quad_ir::graph::NodeRef;
use quad_ir::ops::activation::Approximation;
use quad_ir::ops::{Gelu, OpKind, Swish};

use super::lowering::{Emitted, Lowering};
use crate::faults;
use crate::model::{DataType, Encoding, Param, ScaleOffset, TensorId};

/// What operations of two operands and no parameters become.
fn pairwise_kind(kind: OpKind) -> &'static str {
    match kind {
        OpKind::Add => "ElementWiseAdd",
        OpKind::Sub => "ElementWiseSubtract",
        OpKind::Mul => "ElementWiseMultiply",
        OpKind::Div => "ElementWiseDivide",
        OpKind::Max => "ElementWiseMaximum",
        _ => "ElementWiseMinimum",
    }
}

/// What operations of one operand and no parameters become.
fn single_kind(kind: OpKind) -> &'static str {
    match kind {
        OpKind::Relu => "Relu",
        OpKind::HardSwish => "HardSwish",
        OpKind::Exp => "ElementWiseExp",
        OpKind::Sqrt => "ElementWiseSquareRoot",
        OpKind::Sin => "ElementWiseSin",
        OpKind::Cos => "ElementWiseCos",
        _ => "ElementWiseNeg",
    }
}

/// Two operands that are stretched to each other. A constant beside quantized numbers is quantized like them.
pub(super) fn pairwise(l: &mut Lowering<'_>, node: NodeRef<'_>) -> Emitted {
    let operands: Vec<_> = node.operands().flatten().collect();
    let [a, b] = operands[..] else {
        return Err(Reason::new(format!("it has {} operands, 2 are taken", operands.len())));
    };
    let y = l.result(node)?;
    let (a, b) = (l.beside(a, y)?, l.beside(b, y)?);
    l.op(pairwise_kind(node.op().kind()), &[a, b], &[y], []);
    Ok(())
}

/// One operand.
pub(super) fn single(l: &mut Lowering<'_>, node: NodeRef<'_>) -> Emitted {
    let (x, y) = (l.operand(node, "x")?, l.result(node)?);
    l.op(single_kind(node.op().kind()), &[x], &[y], []);
    Ok(())
}

/// `Tanh`, which in 16 bits makes numbers around 32768 and no others; those are converted.
pub(super) fn tanh(l: &mut Lowering<'_>, node: NodeRef<'_>) -> Emitted {
    let (x, y) = (l.operand(node, "x")?, l.result(node)?);
    let made = l.qnn.tensor(y).clone();
    let zero = made.encoding.as_ref().map(|encoding| encoding.parts()[0].zero_point());
    if made.data_type != DataType::Ufixed16 || zero == Some(32768) {
        l.op("Tanh", &[x], &[y], []);
        return Ok(());
    }
    let encoding = Encoding::Tensor(ScaleOffset::new(1.0 / 32768.0, 32768));
    let middle = l.between(&format!("{}.tanh", made.name), y, Some(encoding));
    l.op("Tanh", &[x], &[middle], []);
    l.op("Convert", &[middle], &[y], []);
    Ok(())
}

/// `Gelu`, which is the exact one.
pub(super) fn gelu(l: &mut Lowering<'_>, node: NodeRef<'_>) -> Emitted {
    if node.is::<Gelu>().is_some_and(|op| op.approximate == Approximation::Tanh) {
        return Err(Reason::new("it is the approximation by tanh, and QNN has the exact function"));
    }
    let (x, y) = (l.operand(node, "x")?, l.result(node)?);
    l.op("Gelu", &[x], &[y], []);
    Ok(())
}

/// `Sigmoid`, and a multiplication by it. The factor between the two takes all steps from 0 to 1.
pub(super) fn swish(l: &mut Lowering<'_>, node: NodeRef<'_>) -> Emitted {
    if node.is::<Swish>().is_some_and(|op| op.alpha.get() != 1.0) {
        return Err(Reason::new("its factor inside of the sigmoid is not 1"));
    }
    let (x, y) = (l.operand(node, "x")?, l.result(node)?);
    let encoding = l.qnn.tensor(x).data_type.fixed_range().map(|(low, high)| {
        let scale = 1.0 / (high - low) as f32;
        Encoding::Tensor(ScaleOffset::new(scale, low as i32))
    });
    let name = format!("{}.sigmoid", l.qnn.tensor(y).name);
    let gate = l.between(&name, x, encoding);
    gated(l, x, gate);
    l.op("ElementWiseMultiply", &[x, gate], &[y], []);
    Ok(())
}

/// `Sigmoid`.
pub(super) fn sigmoid(l: &mut Lowering<'_>, node: NodeRef<'_>) -> Emitted {
    let (x, y) = (l.operand(node, "x")?, l.result(node)?);
    gated(l, x, y);
    Ok(())
}

/// `Sigmoid` of `x`, which is converted where [the compiler would fail](faults).
fn gated(l: &mut Lowering<'_>, x: TensorId, y: TensorId) {
    let mut read = x;
    if let Some(encoding) = faults::sigmoid_operand(&l.qnn, x, &[]) {
        let name = format!("{}.apart", l.qnn.tensor(x).name);
        read = l.between(&name, x, Some(encoding));
        l.op("Convert", &[x], &[read], []);
    }
    l.op("Sigmoid", &[read], &[y], []);
}

/// `ReluMinMax`; an end that is left out is beyond what is stored.
pub(super) fn clip(l: &mut Lowering<'_>, node: NodeRef<'_>) -> Emitted {
    let end = |name: &str, without: f32| -> Result<f32, Reason> {
        let Some(value) = node.operand(name) else { return Ok(without) };
        let elements = l.elements(value)?.and_then(|elements| Some(*elements.to_f32().ok()?.first()?));
        elements.ok_or_else(|| Reason::new(format!("its `{name}` is computed, and must be constant")))
    };
    let (min, max) = (end("min", f32::MIN)?, end("max", f32::MAX)?);
    let (x, y) = (l.operand(node, "x")?, l.result(node)?);
    let params = [("min_value", Param::F32(min)), ("max_value", Param::F32(max))];
    l.op("ReluMinMax", &[x], &[y], params);
    Ok(())
}

/// `Quantize` of real numbers; numbers that are quantized are converted.
pub(super) fn quantize(l: &mut Lowering<'_>, node: NodeRef<'_>) -> Emitted {
    let (x, y) = (l.operand(node, "x")?, l.result(node)?);
    let kind = if l.qnn.tensor(x).data_type.is_fixed() { "Convert" } else { "Quantize" };
    l.op(kind, &[x], &[y], []);
    Ok(())
}

/// `Dequantize`.
pub(super) fn dequantize(l: &mut Lowering<'_>, node: NodeRef<'_>) -> Emitted {
    let (x, y) = (l.operand(node, "x")?, l.result(node)?);
    if l.qnn.tensor(x).data_type == DataType::Float32 {
        return Err(Reason::new("its operand is real numbers already"));
    }
    l.op("Dequantize", &[x], &[y], []);
    Ok(())
}

/// `Cast`.
pub(super) fn cast(l: &mut Lowering<'_>, node: NodeRef<'_>) -> Emitted {
    let (x, y) = (l.operand(node, "x")?, l.result(node)?);
    l.op("Cast", &[x], &[y], []);
    Ok(())
}
