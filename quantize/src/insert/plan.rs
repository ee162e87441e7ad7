//! What is to be quantized: encodings brought together with the values of a graph, and checked as a whole before anything
//! changes.

use quad_ir::dtype::DType;
use quad_ir::graph::{Graph, NodeRef, ValueId, ValueRef};
use quad_ir::ops::source::Binding;
use quad_ir::ops::{DequantizeLinear, Input, QuantizeLinear};
use quad_passes::pass::PassError;
use rustc_hash::FxHashSet;

use super::encodings::{Encodings, Wanted};
use super::report::{FloatValue, Report, listed};
use crate::encoding::Encoding;
use crate::profile::Role;

/// An encoding does not fit its value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("%{name}, {ty}, cannot be stored as {stored}: {why}")]
pub struct Problem {
    /// The value.
    pub name: String,
    /// Its type.
    pub ty: String,
    /// The type of stored numbers.
    pub stored: String,
    /// Why not.
    pub why: String,
}

/// A value and how it is to be stored.
pub(super) struct Target {
    pub(super) value: ValueId,
    pub(super) name: String,
    pub(super) wanted: Wanted,
}

/// What is to be quantized, in the order in which it is computed.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) activations: Vec<Target>,
    pub(super) weights: Vec<Target>,
    pub(super) biases: Vec<Target>,
    pub(super) slots: Vec<Target>,
    pub(super) report: Report,
}

/// Element types of stored numbers, but for those of biases.
const STORED: &[DType] =
    &[DType::I2, DType::U2, DType::I4, DType::U4, DType::I8, DType::U8, DType::I16, DType::U16];

impl Plan {
    /// Finds what `encodings` names in `graph`, whose slots `pack` fills.
    pub(super) fn of(graph: &Graph, pack: Option<&Graph>, encodings: &Encodings) -> Result<Self, PassError> {
        let mut plan = Self::default();
        let mut problems = Vec::new();
        for node in graph.topo() {
            for value in graph.node(node).results() {
                problems.extend(plan.take(value, pack, encodings).err());
            }
        }
        plan.report.absent = encodings.keys().filter(|name| graph.find(name).is_none()).cloned().collect();
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        match listed(&problems) {
            None => Ok(plan),
            Some(problems) => Err(PassError::Refused(format!("encodings do not fit the graph: {problems}"))),
        }
    }

    fn take(
        &mut self,
        value: ValueRef<'_>,
        pack: Option<&Graph>,
        encodings: &Encodings,
    ) -> Result<(), Problem> {
        let wanted = value.name().and_then(|name| Some((name.to_string(), encodings.get(&**name)?)));
        let Some((name, wanted)) = wanted else {
            self.report.float.extend(float_value(value));
            return Ok(());
        };
        if is_quantized(value) {
            self.report.already.push(name);
            return Ok(());
        }
        let encoding = &wanted.encoding;
        let role = role_of(value, wanted.role.map_or(is_wide(encoding.stored), |role| role == Role::Bias));
        check(value, role, wanted, pack).map_err(|why| Problem {
            name: name.clone(),
            ty: value.ty().to_string(),
            stored: encoding.stored.to_string(),
            why,
        })?;
        *self.report.quantized.entry(role).or_default().entry(op_of(value, role).to_owned()).or_default() +=
            1;
        let target = Target { value: value.id(), name, wanted: wanted.clone() };
        match role {
            Role::Activation => self.activations.push(target),
            Role::Weight => self.weights.push(target),
            Role::Bias => self.biases.push(target),
            Role::Slot => self.slots.push(target),
        }
        Ok(())
    }
}

/// Whether sums of products are stored in so many bits.
fn is_wide(stored: DType) -> bool {
    matches!(stored, DType::I32 | DType::I64)
}

/// What `value` is, when a constant is a bias if it `is_bias`.
fn role_of(value: ValueRef<'_>, is_bias: bool) -> Role {
    if value.weight().is_some() {
        return if is_bias { Role::Bias } else { Role::Weight };
    }
    match value.producer().is::<Input>() {
        Some(input) if input.binding == Binding::Adapter => Role::Slot,
        _ => Role::Activation,
    }
}

/// The operation under which `value` is counted.
fn op_of(value: ValueRef<'_>, role: Role) -> &'static str {
    let name = |node: NodeRef<'_>| node.op().def().name();
    match role {
        Role::Activation => name(value.producer()),
        _ => value.readers().next().map_or("nothing", |(reader, _)| name(reader)),
    }
}

/// Whether stored numbers stand behind `value` already: all that read it quantize, or it is stored and dequantized.
fn is_quantized(value: ValueRef<'_>) -> bool {
    let mut readers = value.readers().map(|(reader, _)| reader).peekable();
    if readers.peek().is_none() || value.is_output() {
        return false;
    }
    if value.ty().dtype.is_integer() {
        readers.all(|reader| reader.is::<DequantizeLinear>().is_some())
    } else {
        readers.all(|reader| reader.is::<QuantizeLinear>().is_some())
    }
}

/// `value`, when it is a float that somebody reads and that is no part of a quantization.
fn float_value(value: ValueRef<'_>) -> Option<FloatValue> {
    let is_part = value.producer().is::<DequantizeLinear>().is_some()
        || value.readers().any(|(reader, operand)| {
            let quantizes =
                reader.is::<QuantizeLinear>().is_some() || reader.is::<DequantizeLinear>().is_some();
            quantizes && (operand > 0 || is_quantized(value))
        });
    let is_used = value.is_read() || value.is_output();
    if is_part || !is_used || !value.ty().dtype.is_float() {
        return None;
    }
    let role = role_of(value, false);
    let name = value.name().map_or_else(|| value.id().to_string(), ToString::to_string);
    Some(FloatValue { name, role, op: op_of(value, role).to_owned(), reason: None })
}

/// Why `value` cannot be stored as `encoding` says.
fn check(value: ValueRef<'_>, role: Role, wanted: &Wanted, pack: Option<&Graph>) -> Result<(), String> {
    let (ty, encoding) = (value.ty(), &wanted.encoding);
    if let Some(said) = wanted.role.filter(|said| *said != role) {
        return Err(format!("its encoding is that of a {}, and here it is a {}", word(said), word(role)));
    }
    if !matches!(ty.dtype, DType::F32 | DType::F16 | DType::BF16) {
        return Err("expected a value of f32, f16 or bf16".to_owned());
    }
    if role == Role::Bias && !is_wide(encoding.stored) {
        return Err("a bias is stored as i32 or i64, in which sums of products are counted".to_owned());
    }
    if role != Role::Bias && !STORED.contains(&encoding.stored) {
        return Err("expected an integer of at most 16 bits".to_owned());
    }
    if role == Role::Bias && ty.rank() != 1 && encoding.quant.axis.is_some() {
        return Err("scales of a bias differ along its only axis".to_owned());
    }
    check_slot(value, role, pack)?;
    check_parameters(value, encoding)
}

fn word(role: Role) -> &'static str {
    match role {
        Role::Activation => "value that is computed",
        Role::Weight => "weight",
        Role::Bias => "bias",
        Role::Slot => "slot",
    }
}

/// Scales are numbers, as many as the axis has places, and zero points are stored numbers.
fn check_parameters(value: ValueRef<'_>, encoding: &Encoding) -> Result<(), String> {
    let (ty, quant) = (value.ty(), &encoding.quant);
    quant.check().map_err(|error| error.to_string())?;
    let (low, high) = encoding.stored.integer_range().unwrap_or_default();
    if let Some(zero) = quant.zero_points.iter().find(|zero| !(low..=high).contains(&i128::from(**zero))) {
        return Err(format!("zero point {zero} is not between {low} and {high}"));
    }
    let Some(axis) = quant.axis.map(usize::from) else { return Ok(()) };
    let size = (axis < ty.rank()).then(|| ty.shape[axis].known()).flatten();
    let size = size.ok_or_else(|| format!("it has no axis {axis} of a known size"))?;
    let Some(block) = quant.block else {
        return count(quant.scales.len() as u64, &[size]);
    };
    let sizes = ty.shape.as_known().ok_or("blocks need sizes that are known")?;
    let blocks = size.div_ceil(u64::from(block.max(1)));
    let all = sizes.iter().product::<u64>() / size.max(1) * blocks;
    count(quant.scales.len() as u64, &[blocks, all])
}

fn count(found: u64, expected: &[u64]) -> Result<(), String> {
    if expected.contains(&found) {
        return Ok(());
    }
    let expected: Vec<String> = expected.iter().map(ToString::to_string).collect();
    Err(format!("found {found} scales, expected {}", expected.join(" or ")))
}

/// A slot is filled by `pack`.
fn check_slot(value: ValueRef<'_>, role: Role, pack: Option<&Graph>) -> Result<(), String> {
    if role != Role::Slot {
        return Ok(());
    }
    let filled: FxHashSet<&str> =
        pack.into_iter().flat_map(Graph::outputs).map(|output| &*output.name).collect();
    if value.name().is_some_and(|name| filled.contains(&**name)) {
        return Ok(());
    }
    Err("no graph @pack fills it: `hoist-adapter` makes one".to_owned())
}
