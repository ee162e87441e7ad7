//! Integer arithmetic: operations over stored numbers, whose results are scaled once.
//!
//! An operation that is linear in its operands computes with integers, `stored - zero_point`, whatever the scales are: its
//! own reference semantics does, over floats wide enough that every sum is exact. What the bound on a sum is, is found from
//! the elements and the number of products before. The sums are scaled once, in `f64`, from steps of the operands to steps
//! of the result, rounded half to even, shifted by the zero point, and saturated.
//!
//! A rule returns `None` where it does not apply; then the node is simulated.

use super::affine::Affine;
use super::moves::moved_operands;
use crate::dtype::DType;
use crate::interpret::infer_run_time;
use crate::ops::granularity::Granularity;
use crate::ops::layout::DataLayout;
use crate::ops::{Add, EvalError, Inputs, Op, OpKind, Results, only};
use crate::tensor::Tensor;
use crate::types::Encoded;

/// A node as a rule sees it.
pub(super) struct Operation<'a> {
    /// What it computes.
    pub(super) op: &'a Op,
    /// Its operands, as they are stored.
    pub(super) operands: &'a [Option<Tensor>],
    /// How they are stored; `None` for plain ones.
    pub(super) encodings: &'a [Option<Encoded>],
    /// How its results are stored.
    pub(super) results: &'a [Option<Encoded>],
}

/// What a rule makes of a node, if it applies.
type Outcome = Result<Option<Results>, EvalError>;

/// Computes an operation with integers.
pub(super) type Rule = fn(&Operation<'_>) -> Outcome;

/// The rules of operations that compute. What moves elements has one rule for all.
const RULES: &[(OpKind, Rule)] = &[
    (OpKind::Conv, product),
    (OpKind::ConvTranspose, product),
    (OpKind::MatMul, product),
    (OpKind::Gemm, product),
    (OpKind::Mul, product),
    (OpKind::AveragePool, sum),
    (OpKind::ReduceSum, sum),
    (OpKind::ReduceMean, sum),
    (OpKind::Quantize, sum),
    (OpKind::Add, real),
    (OpKind::Sub, real),
    (OpKind::Neg, real),
    (OpKind::Abs, real),
    (OpKind::Relu, real),
    (OpKind::Clip, real),
    (OpKind::Min, real),
    (OpKind::Max, real),
];

/// The rule for `op`, if there is one.
pub(super) fn rule_of(op: &Op, operands: usize) -> Option<Rule> {
    let listed = RULES.iter().find(|(kind, _)| *kind == op.kind()).map(|(_, rule)| *rule);
    listed.or_else(|| (!moved_operands(op, operands).is_empty()).then_some(moved as Rule))
}

/// Sums of integers are exact in `f32` and in `f64` up to these.
const EXACT: [(DType, f64); 2] = [(DType::F32, (1u32 << 24) as f64), (DType::F64, (1u64 << 53) as f64)];

/// Products of two quantized operands, summed: `acc * (s_a * s_b / s_y)`. Scales may differ along an axis that the result
/// has too. An addend in steps of `s_a * s_b` is summed with the products, any other is added to the scaled sum.
fn product(operation: &Operation<'_>) -> Outcome {
    let (Some(a), Some(b), Some(y)) = (operation.factor(0), operation.factor(1), operation.result()) else {
        return Ok(None);
    };
    if let Op::Gemm(gemm) = operation.op
        && (gemm.alpha.get() != 1.0 || gemm.beta.get() != 1.0)
    {
        return Ok(None);
    }
    let Some((axis, scales)) = operation.scales_of_products(&a, &b) else { return Ok(None) };
    let (a_steps, b_steps) = (a.steps()?, b.steps()?);
    let addend = operation.addend(axis, &scales)?;
    let mut bound = largest(&a_steps) * largest(&b_steps) * operation.depth();
    if let Addend::Steps(steps) = &addend {
        bound += largest(&steps.to_f64()?);
    }
    let Some(dtype) = exact_in(bound) else { return Ok(None) };
    let mut operands = vec![Some(narrow(dtype, a.tensor, a_steps)?), Some(narrow(dtype, b.tensor, b_steps)?)];
    if let Addend::Steps(steps) = &addend {
        operands.push(Some(narrow(dtype, steps, steps.to_f64()?)?));
    }
    let Some(sums) = evaluate(operation.op, &operands)? else { return Ok(None) };
    let unit = y.unit();
    let mut scaled = vec![0.0; sums.len()];
    let places = Granularity::along(axis, sums.sizes());
    places.map(&sums.to_f64()?, &mut scaled, |sum, place| sum * (scales[place] / unit));
    let scaled = Tensor::from_vec(sums.sizes(), scaled)?;
    let scaled = match addend {
        Addend::Real(real) => added(&scaled, &real, unit)?,
        Addend::None | Addend::Steps(_) => scaled,
    };
    store(&scaled, y, a.encoded.quant.expressed).map(Some)
}

/// Sums of a quantized operand: `acc * (s_x / s_y)`. Means divide before they are scaled.
fn sum(operation: &Operation<'_>) -> Outcome {
    let (Some(x), Some(y)) = (operation.factor(0), operation.result()) else { return Ok(None) };
    if x.encoded.quant.axis.is_some() {
        return Ok(None);
    }
    let steps = x.steps()?;
    if exact_in(largest(&steps) * steps.len() as f64).is_none() {
        return Ok(None);
    }
    let mut operands = operation.operands.to_vec();
    operands[0] = Some(narrow(DType::F64, x.tensor, steps)?);
    let Some(sums) = evaluate(operation.op, &operands)? else { return Ok(None) };
    let unit = y.unit();
    let scale = f64::from(x.encoded.quant.scales[0].get()) / unit;
    let scaled = sums.to_f64()?.iter().map(|sum| sum * scale).collect();
    store(&Tensor::from_vec(sums.sizes(), scaled)?, y, x.encoded.quant.expressed).map(Some)
}

/// Sums and comparisons of operands in steps of their own: real numbers, exact in `f64` where 16 bits are stored, divided
/// by the step of the result. Operands that are all floats are computed with as floats, as around `quantize_linear`.
fn real(operation: &Operation<'_>) -> Outcome {
    let Some(Target::Stored(y)) = operation.result() else { return Ok(None) };
    if operation.encodings.iter().all(Option::is_none) {
        return Ok(None);
    }
    let mut operands = Vec::new();
    for (tensor, encoded) in operation.operands.iter().zip(operation.encodings) {
        operands.push(match (tensor, encoded) {
            (Some(tensor), Some(encoded)) if encoded.stored.is_integer() => {
                let values = Affine::of(&encoded.quant, tensor.sizes()).wide(tensor)?;
                Some(Tensor::from_vec(tensor.sizes(), values)?)
            }
            (Some(tensor), None) if tensor.dtype().is_float() => {
                Some(Tensor::from_vec(tensor.sizes(), tensor.to_f64()?)?)
            }
            (None, _) => None,
            _ => return Ok(None),
        });
    }
    let Some(values) = evaluate(operation.op, &operands)? else { return Ok(None) };
    let unit = f64::from(y.quant.scales[0].get());
    let scaled = values.to_f64()?.iter().map(|value| value / unit).collect();
    store(&Tensor::from_vec(values.sizes(), scaled)?, Target::Stored(y), y.quant.expressed).map(Some)
}

/// Elements that are only moved stay as they are stored, where all encodings are one.
fn moved(operation: &Operation<'_>) -> Outcome {
    let moved = moved_operands(operation.op, operation.operands.len());
    let Some(Some(first)) = operation.encodings.get(moved.start) else { return Ok(None) };
    let mut all = operation.encodings[moved].iter().chain(operation.results);
    if first.quant.axis.is_some() || !all.all(|other| other.as_ref() == Some(first)) {
        return Ok(None);
    }
    let Ok(types) = infer_run_time(operation.op, operation.operands) else { return Ok(None) };
    let def = operation.op.def();
    def.eval(&Inputs::new(def.operands(), operation.operands), &types).map(Some)
}

/// A quantized operand whose stored elements are integers that `f64` holds.
struct Factor<'a> {
    tensor: &'a Tensor,
    encoded: &'a Encoded,
}

impl Factor<'_> {
    /// Its elements less their zero points.
    fn steps(&self) -> Result<Vec<f64>, EvalError> {
        Affine::of(&self.encoded.quant, self.tensor.sizes()).centered(self.tensor)
    }

    fn scales(&self) -> Vec<f64> {
        self.encoded.quant.scales.iter().map(|scale| f64::from(scale.get())).collect()
    }
}

/// What becomes of a result.
#[derive(Clone, Copy)]
enum Target<'a> {
    /// It is real numbers.
    Real,
    /// It is stored, with one scale.
    Stored(&'a Encoded),
}

impl Target<'_> {
    /// The size of a step.
    fn unit(self) -> f64 {
        match self {
            Self::Real => 1.0,
            Self::Stored(y) => f64::from(y.quant.scales[0].get()),
        }
    }
}

/// What is added to sums of products.
enum Addend {
    None,
    /// In steps of the products.
    Steps(Tensor),
    /// Real numbers in `f64`, of a shape that stretches to the result's.
    Real(Tensor),
}

impl<'a> Operation<'a> {
    /// The operand at `index`, if it is quantized to integers without blocks.
    fn factor(&self, index: usize) -> Option<Factor<'a>> {
        let (tensor, encoded) = (self.operands.get(index)?.as_ref()?, self.encodings.get(index)?.as_ref()?);
        let fits =
            encoded.stored.is_integer() && encoded.stored.bits() <= 32 && encoded.quant.block.is_none();
        fits.then_some(Factor { tensor, encoded })
    }

    /// What becomes of the only result; `None` where no rule can store it so.
    fn result(&self) -> Option<Target<'a>> {
        match self.results {
            [None] => Some(Target::Real),
            [Some(y)] if y.stored.is_integer() && y.quant.axis.is_none() => Some(Target::Stored(y)),
            _ => None,
        }
    }

    /// The scales of products of `a` and `b`, and the axis of the result along which they differ.
    fn scales_of_products(&self, a: &Factor<'_>, b: &Factor<'_>) -> Option<(Option<usize>, Vec<f64>)> {
        let (left, right) = (a.scales(), b.scales());
        let axis_of = |index: usize, factor: &Factor<'_>| match factor.encoded.quant.axis {
            Some(axis) if factor.encoded.quant.scales.len() > 1 => {
                self.result_axis(index, usize::from(axis)).map(Some)
            }
            _ => Some(None),
        };
        match (axis_of(0, a)?, axis_of(1, b)?) {
            (None, axis) => Some((axis, right.iter().map(|scale| left[0] * scale).collect())),
            (axis, None) => Some((axis, left.iter().map(|scale| scale * right[0]).collect())),
            (Some(_), Some(_)) => None,
        }
    }

    /// The axis of the result that `axis` of the operand at `index` becomes; `None` where it is summed over.
    fn result_axis(&self, index: usize, axis: usize) -> Option<usize> {
        let rank = |index: usize| self.operands.get(index).and_then(Option::as_ref).map_or(0, Tensor::rank);
        let (a, b) = (rank(0), rank(1));
        let channels = |layout: DataLayout| if layout == DataLayout::Nchw { 1 } else { a - 1 };
        match (self.op, index) {
            (Op::Conv(conv), 1) if axis == 0 => Some(channels(conv.layout)),
            (Op::ConvTranspose(conv), 1) if conv.group == 1 => {
                let outputs = usize::from(conv.layout == DataLayout::Nchw);
                (axis == outputs).then(|| channels(conv.layout))
            }
            (Op::MatMul(_), 0) if b >= 2 && a >= 2 && axis == a - 2 => Some(a.max(b) - 2),
            (Op::MatMul(_), 1) if b >= 2 && a >= 2 && axis == b - 1 => Some(a.max(b) - 1),
            (Op::Gemm(gemm), 0) if axis == usize::from(gemm.transA) => Some(0),
            (Op::Gemm(gemm), 1) if axis == usize::from(!gemm.transB) => Some(1),
            (Op::Mul(_), index) => Some(axis + a.max(b) - rank(index)),
            _ => None,
        }
    }

    /// Products that one sum has at most.
    fn depth(&self) -> f64 {
        let sizes =
            |index: usize| self.operands.get(index).and_then(Option::as_ref).map_or(&[][..], Tensor::sizes);
        let depth = match self.op {
            Op::Mul(_) => 1,
            Op::MatMul(_) => sizes(0).last().copied().unwrap_or(1),
            Op::Gemm(gemm) => sizes(0).get(usize::from(!gemm.transA)).copied().unwrap_or(1),
            Op::Conv(_) => sizes(1).iter().skip(1).product(),
            _ => sizes(1).iter().product(),
        };
        depth as f64
    }

    /// The third operand: in steps of products of scales `scales`, which differ along `axis` of the result, or as real numbers.
    fn addend(&self, axis: Option<usize>, scales: &[f64]) -> Result<Addend, EvalError> {
        let Some(Some(tensor)) = self.operands.get(2) else { return Ok(Addend::None) };
        let Some(Some(encoded)) = self.encodings.get(2) else {
            return Ok(Addend::Real(self.stretching(tensor, tensor.to_f64()?)?));
        };
        let affine = Affine::of(&encoded.quant, tensor.sizes());
        let rank = self.operands[0].as_ref().map_or(0, Tensor::rank);
        // A bias lies along the channels; the addend of `gemm` along its last axis, or along both.
        let along = match self.op {
            Op::Gemm(_) => encoded.quant.axis.map(|own| usize::from(own) + rank - tensor.rank()),
            _ => axis,
        };
        let own = &encoded.quant.scales;
        let alike = |own: f32, scale: f64| own.to_bits() == (scale as f32).to_bits();
        let same = match (own.len(), scales.len()) {
            (1, _) => scales.iter().all(|scale| alike(own[0].get(), *scale)),
            (_, 1) => own.iter().all(|own| alike(own.get(), scales[0])),
            (count, other) if count == other && along == axis => {
                own.iter().zip(scales).all(|(own, scale)| alike(own.get(), *scale))
            }
            _ => false,
        };
        if same && encoded.stored.is_integer() && encoded.stored.bits() <= 32 && encoded.quant.block.is_none()
        {
            return Ok(Addend::Steps(Tensor::from_vec(tensor.sizes(), affine.centered(tensor)?)?));
        }
        if !encoded.stored.is_integer() {
            return Ok(Addend::Real(
                self.stretching(tensor, super::dequantize(tensor, &encoded.quant)?.to_f64()?)?,
            ));
        }
        Ok(Addend::Real(self.stretching(tensor, affine.wide(tensor)?)?))
    }

    /// `values`, those of the third operand `tensor`, in a shape that stretches to the result's.
    fn stretching(&self, tensor: &Tensor, values: Vec<f64>) -> Result<Tensor, EvalError> {
        let rank = self.operands[0].as_ref().map_or(0, Tensor::rank);
        let layout = match self.op {
            Op::Conv(conv) => conv.layout,
            Op::ConvTranspose(conv) => conv.layout,
            _ => DataLayout::Nhwc,
        };
        let mut sizes = tensor.sizes().to_vec();
        if layout == DataLayout::Nchw {
            sizes.resize(sizes.len() + rank.saturating_sub(2), 1);
        }
        Ok(Tensor::from_vec(&sizes, values)?)
    }
}

fn largest(steps: &[f64]) -> f64 {
    steps.iter().fold(0.0, |largest, step| step.abs().max(largest))
}

/// The type of floats in which integers up to `bound` are exact.
fn exact_in(bound: f64) -> Option<DType> {
    EXACT.iter().find(|(_, limit)| bound <= *limit).map(|(dtype, _)| *dtype)
}

/// Integers as floats of `dtype`, in the sizes of `like`.
fn narrow(dtype: DType, like: &Tensor, steps: Vec<f64>) -> Result<Tensor, EvalError> {
    if dtype == DType::F64 {
        return Ok(Tensor::from_vec(like.sizes(), steps)?);
    }
    Ok(Tensor::from_vec(like.sizes(), steps.iter().map(|step| *step as f32).collect())?)
}

/// The only result of `op` on floats; `None` where it does not take them.
fn evaluate(op: &Op, operands: &[Option<Tensor>]) -> Result<Option<Tensor>, EvalError> {
    let Ok(types) = infer_run_time(op, operands) else { return Ok(None) };
    let def = op.def();
    Ok(def.eval(&Inputs::new(def.operands(), operands), &types)?.into_iter().next())
}

/// `scaled`, in steps of `unit`, and the real numbers `real`.
fn added(scaled: &Tensor, real: &Tensor, unit: f64) -> Result<Tensor, EvalError> {
    let steps = real.to_f64()?.iter().map(|value| value / unit).collect();
    let operands = [Some(scaled.clone()), Some(Tensor::from_vec(real.sizes(), steps)?)];
    let sum = evaluate(&Add.into(), &operands)?;
    sum.ok_or_else(|| EvalError::Unsupported("an addend that does not stretch to the result".to_owned()))
}

/// Numbers in steps of the result, rounded and shifted; or real numbers of type `expressed`.
fn store(scaled: &Tensor, y: Target<'_>, expressed: DType) -> Result<Results, EvalError> {
    let values = scaled.to_f64()?;
    let Target::Stored(y) = y else {
        let values: Vec<f32> = values.iter().map(|value| *value as f32).collect();
        return Ok(only(Tensor::from_f32(expressed, scaled.sizes(), &values)?));
    };
    let (lowest, highest) = y.stored.integer_range().unwrap_or_default();
    let (lowest, highest) = (lowest as f64, highest as f64);
    let zero_point = f64::from(y.quant.zero_points[0]);
    let stored =
        values.iter().map(|value| (value.round_ties_even() + zero_point).clamp(lowest, highest) as i64);
    Ok(only(Tensor::from_i64(y.stored, scaled.sizes(), stored.collect())?))
}
