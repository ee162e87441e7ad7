//! A quantized ONNX model operation by operation: what ONNX Runtime's provider for QNN stores beside what the CPU stores, given
//! the same operands.

use std::collections::BTreeMap;
use std::path::Path;

use libtest_mimic::Failed;
use quad_frontends::onnx;
use quad_ir::dtype::DType;
use quad_ir::graph::{Graph, NodeRef, ValueRef};
use quad_ir::interpret::{Interpreter, NamedTensors};
use quad_ir::ops::OpKind;
use quad_ir::tensor::Tensor;

use crate::bench::{Runtime, apart, onnxruntime};
use crate::cut::{self, GIVEN};

/// What is stored of one operation.
pub(crate) struct Part {
    /// The tensor.
    pub(crate) name: String,
    /// The operation.
    pub(crate) kind: OpKind,
    /// Steps between provider and CPU, the most of all inputs.
    pub(crate) apart: f64,
    /// Steps that the processor may be off more than rounding, by how it multiplies.
    pub(crate) slack: f64,
}

impl Part {
    /// Whether it is a product, a sum, or a normalization in one piece.
    pub(crate) fn is_linear(&self) -> bool {
        matches!(
            self.kind,
            OpKind::Conv
                | OpKind::ConvTranspose
                | OpKind::Gemm
                | OpKind::MatMul
                | OpKind::Add
                | OpKind::Sub
                | OpKind::Mul
                | OpKind::InstanceNorm
                | OpKind::LayerNorm
        )
    }
}

/// Everything that `model` computes and stores, for each of `inputs`. What is cut is written to `folder`.
pub(crate) fn parts(model: &Path, inputs: &[NamedTensors], folder: &Path) -> Result<Vec<Part>, Failed> {
    let module = onnx::import(model)?;
    let whole = module.main().ok_or("it runs")?;
    let cut = cut::cut(whole.clone(), is_computed)?;
    let path = folder.join("parts.onnx");
    onnx::write(&cut, &path)?;
    let given: Result<Vec<NamedTensors>, Failed> =
        inputs.iter().map(|inputs| with_stored(whole, &cut, inputs)).collect();
    let given = given?;
    let (cpu, provider) =
        (onnxruntime(Runtime::Cpu, &path, &given)?, onnxruntime(Runtime::Provider, &path, &given)?);
    let mut steps: BTreeMap<&str, f64> = BTreeMap::new();
    for (cpu, provider) in cpu.iter().zip(&provider) {
        for (name, cpu) in cpu {
            let most = steps.entry(name).or_default();
            *most = most.max(apart(cpu, &provider[name])?);
        }
    }
    let computed = whole.nodes().filter(|node| is_computed(*node));
    let part = |stored: NodeRef<'_>| {
        let (name, node) = (stored.result().name()?, stored.operand("x")?.producer());
        let apart = *steps.get(&**name)?;
        if given.iter().any(|given| is_cut_off(node, given)) {
            return None;
        }
        let slack = slack(node, stored).unwrap_or(0.0);
        Some(Part { name: name.to_string(), kind: node.op().kind(), apart, slack })
    };
    Ok(computed.filter_map(part).collect())
}

/// Steps that the processor may be off where it computes `node` in 16 bits, which is `stored`. It adds products of 16 bits by 8
/// without their last 8 bits, and those of 16 by 16 without their last 16, and what zero points and biases add is rounded
/// likewise. Operands of sums have multipliers of 15 bits.
fn slack(node: NodeRef<'_>, stored: NodeRef<'_>) -> Option<f64> {
    let mut operands = node.operands().flatten().map(ValueRef::producer);
    let (x, w) = (operands.next()?, operands.next()?);
    let bits = |read: NodeRef<'_>| Some(read.operand("x")?.ty().dtype.bits());
    let steps = |read: NodeRef<'_>| Some(scale(read, "x_scale")? / scale(stored, "y_scale")?);
    match (node.op().kind(), bits(x)?, bits(w)?) {
        (OpKind::Add | OpKind::Sub, 16, 16) => {
            let step = 2f64.powf(steps(x)?.max(steps(w)?).log2().floor() - 14.0);
            // Either multiplier is half a step of its own off, and codes are at most 65535 from their zero points.
            Some(step * 65535.0)
        }
        (OpKind::Conv | OpKind::ConvTranspose | OpKind::Gemm | OpKind::MatMul, 16, second @ (8 | 16)) => {
            let unit = 2f64.powi(second as i32) * steps(x)? * scale(w, "x_scale")?;
            Some(2.0 * unit)
        }
        _ => None,
    }
}

/// Whether the second operand of `node` has codes that the processor cuts off, because they are more than 32639 from the
/// middle: numbers beyond what the model was calibrated with.
fn is_cut_off(node: NodeRef<'_>, given: &NamedTensors) -> bool {
    let is_product = node.op().kind() == OpKind::MatMul;
    let Some(mut stored) = node.operands().nth(1).flatten().filter(|_| is_product) else { return false };
    loop {
        let name = stored.name().map(|name| format!("{name}{GIVEN}"));
        if let Some(tensor) = name.and_then(|name| given.get(&name)) {
            let codes = tensor.to_i64().unwrap_or_default();
            return tensor.dtype() == DType::U16 && codes.iter().any(|code| (code - 32768).abs() > 32639);
        }
        match stored.producer().operands().next().flatten() {
            Some(from) => stored = from,
            None => return false,
        }
    }
}

/// The largest scale that `node` reads or stores with.
fn scale(node: NodeRef<'_>, operand: &str) -> Option<f64> {
    let value = node.operand(operand)?;
    let scales = node.graph().weights().tensor(value.weight()?).ok()?;
    scales.to_f64().ok()?.iter().copied().reduce(f64::max)
}

/// Whether `node` stores what is computed. What is only moved stays with its readers.
fn is_computed(node: NodeRef<'_>) -> bool {
    node.operand("x").is_some_and(|value| {
        let kind = value.producer().op().kind();
        !matches!(kind, OpKind::Transpose | OpKind::Reshape | OpKind::DequantizeLinear)
    })
}

/// `inputs`, and what a run of `whole` with them stores where `cut` takes it.
fn with_stored(whole: &Graph, cut: &Graph, inputs: &NamedTensors) -> Result<NamedTensors, Failed> {
    let mut stored = NamedTensors::new();
    let mut observe = |value: ValueRef<'_>, tensor: &Tensor| {
        stored.extend(value.name().map(|name| (format!("{name}{GIVEN}"), tensor.clone())));
    };
    Interpreter::new(whole).run_observed(inputs, &mut observe)?;
    let taken: Vec<&str> = cut.inputs().filter_map(ValueRef::name).map(|name| &**name).collect();
    stored.extend(inputs.clone());
    stored.retain(|name, _| taken.contains(&name.as_str()));
    Ok(stored)
}
