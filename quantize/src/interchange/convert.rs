//! From a profile to what another tool reads, and back, with a report of what the form has no place for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use quad_ir::dtype::DType;
use quad_ir::graph::Graph;
use quad_ir::types::Quant;
use quad_passes::lora::expose::Form;

use super::{Arguments, Encodings, Format, Integer, Stored, TensorEncoding};
use crate::encoding::Encoding;
use crate::precision::{Mixed, Precision};
use crate::profile::{Anchor, Entry, Profile, Role, limits};
use crate::rules::Rules;
use crate::rules::plan::{self, Plan, PlanError};
use crate::statistics::Statistics;

/// What got lost on the way.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// What, and of which values.
    pub losses: Vec<Loss>,
}

/// One thing that got lost.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Loss {
    /// What it is.
    pub what: String,
    /// The values it concerns; none where it concerns the profile as a whole.
    pub names: Vec<String>,
}

impl Report {
    /// Adds a loss, unless it concerns nothing.
    fn add(&mut self, what: impl Into<String>, names: Vec<String>) {
        if !names.is_empty() {
            self.losses.push(Loss { what: what.into(), names });
        }
    }
}

/// Names that are shown of each loss.
const SHOWN: usize = 3;

/// Writes a line for each loss.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Loss { what, names } in &self.losses {
            let shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
            let rest = if names.len() > SHOWN { ", .." } else { "" };
            match names.len() {
                0 => writeln!(f, "{what}")?,
                count => writeln!(f, "{what}: {count}, {}{rest}", shown.join(", "))?,
            }
        }
        Ok(())
    }
}

/// What `profile` is in `format`, and what that has no place for.
pub fn export(profile: &Profile, format: Format) -> (Encodings, Report) {
    let mut encodings = Encodings { arguments: arguments(profile), ..Encodings::default() };
    let mut report = Report::default();
    let is_typed = format == Format::Aimet200;
    let (mut wide, mut unsigned, mut no_axis) = (Vec::new(), Vec::new(), Vec::new());
    for (name, entry) in &profile.entries {
        if entry.encoding.stored.bits() > 32 || entry.encoding.quant.block.is_some() {
            wide.push(name.clone());
            continue;
        }
        let is_parameter = entry.role != Role::Activation;
        let integer = integer(&entry.encoding);
        if !is_typed && !is_parameter && integer.is_signed == Some(true) {
            unsigned.push(name.clone());
        }
        if !is_typed && integer.axis.is_some() {
            no_axis.push(name.clone());
        }
        let tensor = TensorEncoding { is_parameter: Some(is_parameter), stored: Stored::Integer(integer) };
        encodings.tensors.insert(name.clone(), tensor);
    }
    let of_role = |roles: &[Role]| -> Vec<String> {
        let entries = profile.entries.iter().filter(|(_, entry)| roles.contains(&entry.role));
        entries.map(|(name, _)| name.clone()).collect()
    };
    report.losses.push(Loss {
        what: "which model, rules, precision and anchor the encodings are of".to_owned(),
        names: Vec::new(),
    });
    report.add("encodings that the format cannot say (64 bits, or blocks)", wide);
    report.add("that stored numbers are signed: offsets are written as if they were not", unsigned);
    report.add("the axis along which scales differ", no_axis);
    report.add("values that stay floats: they are left out", profile.floats.keys().cloned().collect());
    if is_typed {
        report.add(
            "which tensors are weights, slots and biases",
            of_role(&[Role::Weight, Role::Slot, Role::Bias]),
        );
    } else {
        report.add("which parameters are slots and biases", of_role(&[Role::Slot, Role::Bias]));
    }
    let asked = profile.entries.iter().filter(|(_, entry)| entry.range != entry.encoding.reach());
    report.add("the ranges that encodings were made for", asked.map(|(name, _)| name.clone()).collect());
    (encodings, report)
}

fn arguments(profile: &Profile) -> Arguments {
    Arguments {
        activation_bits: profile.precision.activations,
        parameter_bits: profile.precision.weights,
        per_channel: profile.of_role(Role::Weight).any(|(_, entry)| entry.encoding.quant.axis.is_some()),
        scheme: profile.method.replace('-', "_"),
    }
}

/// An encoding in the words of files.
fn integer(encoding: &Encoding) -> Integer {
    let bits = encoding.stored.bits();
    let is_signed = encoding.stored.is_signed_integer();
    let shift = if is_signed { 1 << (bits - 1) } else { 0 };
    let quant = &encoding.quant;
    Integer {
        bits,
        is_signed: Some(is_signed),
        is_symmetric: encoding.is_symmetric(),
        scales: quant.scales.iter().map(|scale| f64::from(scale.get())).collect(),
        offsets: quant.zero_points.iter().map(|zero_point| -i64::from(*zero_point) - shift).collect(),
        axis: quant.axis,
        is_per_channel: quant.axis.is_some(),
    }
}

/// What profiles say in place of a method, before the format.
const READ: &str = "read from ";

/// Whether `method`, that of a profile, says that the encodings are those of another tool.
pub fn is_read(method: &str) -> bool {
    method.starts_with(READ)
}

/// A profile for the graph of `statistics` of what `encodings`, in `format`, say, and what of them has no place there.
/// The rules decide what the file does not say: which stored numbers are signed, and along which axis scales differ.
pub fn import(
    encodings: &Encodings,
    format: Format,
    graph: &Graph,
    statistics: &Statistics,
    rules: &Rules,
) -> Result<(Profile, Report), PlanError> {
    let plan = plan::plan(graph, rules, &Mixed::default(), &[])?;
    let places = places(&plan, graph, rules);
    let mut report = Report::default();
    let mut entries = BTreeMap::new();
    let (mut unknown, mut unplanned, mut floats) = (Vec::new(), Vec::new(), BTreeMap::new());
    let mut unfit: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, tensor) in &encodings.tensors {
        let Some(place) = places.get(name.as_str()) else {
            let list = if graph.find(name).is_some() { &mut unplanned } else { &mut unknown };
            list.push(name.clone());
            continue;
        };
        match &tensor.stored {
            Stored::Float(bits) => {
                floats.insert(name.clone(), format!("the file says float of {bits} bits"));
            }
            Stored::Integer(integer) => match entry(integer, place, rules) {
                Ok(entry) => drop(entries.insert(name.clone(), entry)),
                Err(why) => unfit.entry(why).or_default().push(name.clone()),
            },
        }
    }
    let absent = places.keys().filter(|name| !entries.contains_key(**name) && !floats.contains_key(**name));
    let planned: BTreeSet<&str> = plan.names().collect();
    let absent = absent.filter(|name| planned.contains(**name)).map(|name| (*name).to_owned()).collect();
    report.add("tensors that the model has not", unknown);
    report.add(format!("tensors that the rules `{}` give no encoding", rules.name), unplanned);
    for (why, names) in unfit {
        report.add(format!("encodings that do not fit ({why})"), names);
    }
    for (name, kind) in &encodings.unread {
        report.add(format!("{kind}, which are not read"), vec![name.clone()]);
    }
    report.add("values that the rules ask an encoding for, and the file has none: they stay floats", absent);
    let profile = Profile {
        graph: statistics.model.digest.clone(),
        pipeline: statistics.model.pipeline.clone(),
        rules: rules.name.to_owned(),
        precision: precision(&entries),
        mixed: Vec::new(),
        method: format!("{READ}{format}"),
        weights: format!("{READ}{format}"),
        slots: Form::Plain,
        anchor: Anchor {
            choice: "imported".to_owned(),
            reason: format!("read from a file in {format}"),
            adapters: statistics.adapters.keys().cloned().collect(),
        },
        entries,
        floats,
    };
    Ok((profile, report))
}

/// What a value of the graph is, for what files do not say.
struct Place {
    role: Role,
    /// Whether its codes are signed, by the rules.
    is_signed: bool,
    /// The axis of channels, where there is one.
    axis: Option<u8>,
    sizes: Option<Vec<u64>>,
    expressed: DType,
}

/// The values of the graph that may have an encoding.
fn places<'p>(plan: &'p Plan, graph: &Graph, rules: &Rules) -> BTreeMap<&'p str, Place> {
    let mut places = BTreeMap::new();
    let mut add = |name: &'p str, role, stored: DType, axis| {
        let Some(value) = graph.find(name) else { return };
        let sizes = value.ty().shape.as_known().map(|sizes| sizes.to_vec());
        let is_signed = stored.is_signed_integer();
        places.insert(name, Place { role, is_signed, axis, sizes, expressed: value.ty().dtype });
    };
    let activations = rules.activations.first().map_or(DType::U8, |codes| codes.stored);
    plan.floats.keys().for_each(|name| add(name, Role::Activation, activations, None));
    for shared in &plan.activations {
        shared.members.iter().for_each(|name| add(name, Role::Activation, shared.codes.stored, None));
    }
    for (role, constants) in [(Role::Weight, &plan.weights), (Role::Slot, &plan.slots)] {
        for (name, constant) in constants {
            add(name, role, constant.codes.stored, constant.axis);
        }
    }
    plan.biases.iter().for_each(|(name, bias)| add(name, Role::Bias, bias.stored, Some(0)));
    places
}

/// The entry that `integer` is at `place`, or why it does not fit there.
fn entry(integer: &Integer, place: &Place, rules: &Rules) -> Result<Entry, String> {
    let is_signed = integer.is_signed.unwrap_or(place.is_signed);
    let stored: DType = format!("{}{}", if is_signed { 'i' } else { 'u' }, integer.bits)
        .parse()
        .map_err(|_| format!("there is no type of {} bits", integer.bits))?;
    let shift = if is_signed { 1 << (integer.bits - 1) } else { 0 };
    let zero_point = |offset: &i64| {
        i32::try_from(-offset - shift).map_err(|_| format!("offset {offset} is no code of {stored}"))
    };
    let zero_points: Result<Vec<i32>, String> = integer.offsets.iter().map(zero_point).collect();
    let quant = Quant {
        axis: axis(integer, place)?,
        block: None,
        scales: integer.scales.iter().map(|scale| (*scale as f32).into()).collect(),
        zero_points: zero_points?.into(),
        expressed: place.expressed,
    };
    let encoding = Encoding { stored, quant };
    // The file says nothing of codes that are left out: those that the rules ask are.
    let limit = limits::usual(rules.name, place.role, &encoding);
    let entry = Entry { role: place.role, range: encoding.reach(), encoding, limit };
    entry.check().map(|()| entry)
}

/// The axis along which the scales of `integer` lie at `place`.
fn axis(integer: &Integer, place: &Place) -> Result<Option<u8>, String> {
    let count = integer.scales.len();
    let axis = integer.axis.or(if count > 1 { place.axis } else { None });
    let Some(axis) = axis else {
        let is_one = count == 1;
        return if is_one {
            Ok(None)
        } else {
            Err(format!("{count} scales, and nothing says along which axis"))
        };
    };
    let size = place.sizes.as_ref().map(|sizes| sizes.get(usize::from(axis)).copied().unwrap_or(0));
    match size.filter(|size| *size != count as u64) {
        Some(size) => Err(format!("{count} scales for the {size} places along axis {axis}")),
        None => Ok(Some(axis)),
    }
}

/// The bits that most entries of each role have.
fn precision(entries: &BTreeMap<String, Entry>) -> Precision {
    let most = |role: Role, otherwise: u32| {
        let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
        for entry in entries.values().filter(|entry| entry.role == role) {
            *counts.entry(entry.encoding.stored.bits()).or_default() += 1;
        }
        counts.into_iter().max_by_key(|(_, count)| *count).map_or(otherwise, |(bits, _)| bits)
    };
    let activations = most(Role::Activation, Precision::default().activations);
    Precision {
        activations,
        weights: most(Role::Weight, Precision::default().weights),
        slots: most(Role::Slot, activations),
    }
}
