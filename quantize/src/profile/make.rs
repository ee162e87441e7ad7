//! A profile made of statistics: ranges of the anchor, by the rules of a target, in a precision.

use std::collections::BTreeMap;

use quad_ir::dtype::DType;
use quad_ir::graph::Graph;
use quad_ir::types::Quant;
use quad_passes::lora::expose::Form;
use rayon::prelude::*;

use super::scores::UNIFIED;
use super::{Anchor, Entry, Profile, Role};
use crate::encoding::{Codes, Encoding, EncodingError, Range};
use crate::precision::{Mixed, Pattern};
use crate::ranges::Method;
use crate::ranges::weights::WeightMethod;
use crate::rules::graph::{self, GraphError};
use crate::rules::plan::{self, Bias, Constant, Plan, PlanError, Shared};
use crate::rules::{Asks, Rules, layers};
use crate::statistics::{AdapterStatistics, Statistics, TensorStatistics, ValueStatistics};

/// What a profile is to be like.
#[derive(Clone, Debug)]
pub struct Options {
    /// The rules of the target.
    pub rules: Rules,
    /// The bits.
    pub mixed: Mixed,
    /// Values that stay floats.
    pub floats: Vec<Pattern>,
    /// How ranges of activations are found.
    pub method: Method,
    /// How ranges of weights are found.
    pub weights: WeightMethod,
    /// How the factors of adapters reach the slots.
    pub slots: Form,
    /// Whether both factors of a site and the weight beside them have one scale, as the paper can be read.
    pub site_scales: bool,
}

impl Options {
    /// Everything as it is unless something else is asked for, but for rules and bits.
    pub fn new(rules: Rules, mixed: Mixed) -> Self {
        Self {
            rules,
            mixed,
            floats: Vec::new(),
            method: Method::default(),
            weights: WeightMethod::default(),
            slots: Form::default(),
            site_scales: false,
        }
    }
}

/// A profile, and what is worth knowing of how it was made.
#[derive(Clone, Debug, PartialEq)]
pub struct Made {
    /// The profile.
    pub profile: Profile,
    /// What could not be as the rules ask, or was filled in.
    pub notes: Vec<String>,
}

/// No profile can be made.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// The graph in the statistics cannot be read.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// Rules, graph and precision do not go together.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A range has no encoding.
    #[error("`{name}`")]
    Encoding {
        /// The value.
        name: String,
        /// Why.
        source: EncodingError,
    },
    /// There are no statistics of the anchor, or none at all.
    #[error("there are no statistics of `{0}`: calibrate with the adapters that the profile is for")]
    NoAdapter(String),
    /// The statistics lack a value of the graph.
    #[error(
        "the statistics have nothing of `{0}`, which the rules ask an encoding for: calibrate again with this version"
    )]
    NoStatistics(String),
    /// A slot is not what rank-normalized factors are.
    #[error(
        "slot `{slot}` of adapter `{adapter}` reaches {magnitude}, and factors that are normalized by rank reach 1: expose \
         the model with `quad lora expose --form rank-normalized`, and calibrate that"
    )]
    NotNormalized {
        /// The slot.
        slot: String,
        /// The adapter.
        adapter: String,
        /// Its largest magnitude.
        magnitude: f32,
    },
}

/// Magnitudes of the end of an island beyond which it stays a float: it is a mask, and not a number to compute with.
const MASK: f32 = 1e6;

/// Makes a profile of `statistics`, with the encodings of `anchor`.
pub fn make(statistics: &Statistics, anchor: &Anchor, options: &Options) -> Result<Made, MakeError> {
    let graph = graph::read(&statistics.model.text)?;
    make_for(&graph, statistics, anchor, options)
}

/// As [`make`], with the graph of the statistics already read: for those who make many.
pub fn make_for(
    graph: &Graph,
    statistics: &Statistics,
    anchor: &Anchor,
    options: &Options,
) -> Result<Made, MakeError> {
    let plan = plan::plan(graph, &options.rules, &options.mixed, &options.floats)?;
    let everyone: Vec<&AdapterStatistics> = statistics.adapters.values().collect();
    let chosen = match statistics.adapters.get(&anchor.choice) {
        Some(adapter) => vec![adapter],
        None if anchor.choice == UNIFIED && !everyone.is_empty() => everyone.clone(),
        None => return Err(MakeError::NoAdapter(anchor.choice.clone())),
    };
    let mut maker = Maker {
        statistics,
        options,
        everyone,
        chosen,
        entries: BTreeMap::new(),
        floats: plan.floats.clone(),
        notes: plan.notes.clone(),
    };
    maker.add_activations(&plan.activations)?;
    maker.add_weights(&plan.weights)?;
    maker.add_slots(&plan.slots)?;
    if options.site_scales {
        maker.unite_sites(&plan)?;
    }
    maker.add_biases(&plan.biases);
    let site_scales = if options.site_scales { ", one scale for each site" } else { "" };
    let patterns = options.mixed.patterns.iter();
    let profile = Profile {
        graph: statistics.model.digest.clone(),
        pipeline: statistics.model.pipeline.clone(),
        rules: options.rules.name.to_owned(),
        precision: options.mixed.base,
        mixed: patterns.map(|(pattern, precision)| (pattern.text().to_owned(), *precision)).collect(),
        method: options.method.to_string(),
        weights: format!("{}{site_scales}", options.weights),
        slots: options.slots,
        anchor: anchor.clone(),
        entries: maker.entries,
        floats: maker.floats,
    };
    Ok(Made { profile, notes: maker.notes })
}

/// A profile being made.
struct Maker<'s> {
    statistics: &'s Statistics,
    options: &'s Options,
    /// All adapters.
    everyone: Vec<&'s AdapterStatistics>,
    /// Those whose ranges count.
    chosen: Vec<&'s AdapterStatistics>,
    entries: BTreeMap<String, Entry>,
    floats: BTreeMap<String, String>,
    notes: Vec<String>,
}

/// What was found for activations that share an encoding.
enum Found {
    Encoding(Encoding, Range, bool),
    Float(&'static str),
}

impl Maker<'_> {
    fn add_activations(&mut self, activations: &[Shared]) -> Result<(), MakeError> {
        let found: Result<Vec<Found>, MakeError> =
            activations.par_iter().map(|shared| self.activation(shared)).collect();
        let mut filled = 0;
        for (shared, found) in activations.iter().zip(found?) {
            for member in &shared.members {
                match &found {
                    Found::Float(reason) => drop(self.floats.insert(member.clone(), (*reason).to_owned())),
                    Found::Encoding(encoding, range, _) => {
                        let encoding = encoding.clone();
                        let entry = Entry { role: Role::Activation, encoding, range: *range, limit: None };
                        self.entries.insert(member.clone(), entry);
                    }
                }
            }
            filled += usize::from(matches!(found, Found::Encoding(_, _, true)));
        }
        self.note_filled(filled, "activations");
        Ok(())
    }

    fn note_filled(&mut self, filled: usize, what: &str) {
        if filled > 0 {
            self.notes.push(format!(
                "{filled} {what} are all zero in the anchor: their ranges are those of all adapters"
            ));
        }
    }

    /// The encoding of some activations.
    fn activation(&self, shared: &Shared) -> Result<Found, MakeError> {
        let name = &shared.sources[0];
        let failed = |source| MakeError::Encoding { name: name.clone(), source };
        let range = |adapters: &[&AdapterStatistics]| {
            let parts: Vec<&ValueStatistics> = adapters
                .iter()
                .flat_map(|adapter| shared.sources.iter().filter_map(|source| adapter.values.get(source)))
                .collect();
            let found = self.options.method.range(shared.codes, &parts).map_err(failed)?;
            // A value without elements was seen, and has no range: any will do.
            let empty = Range { min: 0.0, max: 0.0 };
            let seen = !parts.is_empty();
            found.or(seen.then_some(empty)).ok_or_else(|| MakeError::NoStatistics(name.clone()))
        };
        let mut found = range(&self.chosen)?;
        let is_filled = found.magnitude() == 0.0 && self.chosen.len() < self.everyone.len();
        if is_filled {
            found = range(&self.everyone)?;
        }
        if shared.is_island_end && found.magnitude() > MASK {
            return Ok(Found::Float("a mask: its numbers are too large to compute with"));
        }
        let is_filled = is_filled && found.magnitude() > 0.0;
        let mut encoding = match shared.fixed {
            Some(fixed) => {
                Encoding::per_tensor(fixed.stored, fixed.scale, fixed.zero_point).map_err(EncodingError::from)
            }
            None => shared.codes.per_tensor(found),
        }
        .map_err(failed)?;
        if self.options.rules.asks.contains(Asks::NONZERO_ZERO_POINTS) && shared.fixed.is_none() {
            encoding = with_nonzero_zero_point(encoding, shared.codes, found).map_err(failed)?;
        }
        Ok(Found::Encoding(expressing(encoding, shared.expressed), found, is_filled))
    }

    fn add_weights(&mut self, weights: &BTreeMap<String, Constant>) -> Result<(), MakeError> {
        let encode = |(name, constant): (&String, &Constant)| {
            let statistics =
                self.statistics.weights.get(name).ok_or_else(|| MakeError::NoStatistics(name.clone()))?;
            let found = self.options.weights.encoding(statistics, constant.axis, constant.codes);
            let found = found.map_err(|source| MakeError::Encoding { name: name.clone(), source })?;
            Ok(found.map(|(encoding, range)| {
                let encoding = expressing(encoding, constant.expressed);
                let limit = constant.codes.symmetric;
                (name.clone(), Entry { role: Role::Weight, encoding, range, limit })
            }))
        };
        let found: Result<Vec<Option<(String, Entry)>>, MakeError> = weights.par_iter().map(encode).collect();
        self.entries.extend(found?.into_iter().flatten());
        Ok(())
    }

    fn add_slots(&mut self, slots: &BTreeMap<String, Constant>) -> Result<(), MakeError> {
        let mut filled = 0;
        let is_normalized = self.options.slots == Form::RankNormalized;
        if is_normalized {
            self.check_normalized()?;
        }
        for (name, slot) in slots {
            let range = |adapters: &[&AdapterStatistics]| {
                let of_adapter = |adapter: &&AdapterStatistics| adapter.slots.get(name)?.range;
                adapters.iter().filter_map(of_adapter).reduce(Range::union)
            };
            let mut found = range(&self.chosen).ok_or_else(|| MakeError::NoStatistics(name.clone()))?;
            if is_normalized && layers::site_of(name).is_some() {
                found = Range::symmetric(1.0);
            } else if found.magnitude() == 0.0 {
                found = range(&self.everyone).unwrap_or(found);
                filled += usize::from(found.magnitude() > 0.0);
            }
            let encoding = slot.codes.per_tensor(found);
            let encoding = encoding.map_err(|source| MakeError::Encoding { name: name.clone(), source })?;
            let encoding = expressing(encoding, slot.expressed);
            let limit = slot.codes.symmetric;
            self.entries.insert(name.clone(), Entry { role: Role::Slot, encoding, range: found, limit });
        }
        self.note_filled(filled, "slots");
        Ok(())
    }

    /// Whether the factors of all adapters are normalized by rank: each that is not all zero reaches 1.
    fn check_normalized(&self) -> Result<(), MakeError> {
        for (adapter, statistics) in &self.statistics.adapters {
            // A factor may be in several slots, of which not each has to reach 1.
            let mut factors: BTreeMap<(&str, &str), (f32, &String)> = BTreeMap::new();
            for (slot, statistics) in &statistics.slots {
                let Some(factor) = layers::site_of(slot) else { continue };
                let magnitude = statistics.range.map_or(0.0, Range::magnitude);
                let largest = factors.entry(factor).or_insert((magnitude, slot));
                *largest = if magnitude > largest.0 { (magnitude, slot) } else { *largest };
            }
            for (magnitude, slot) in factors.into_values() {
                if magnitude > 0.0 && (magnitude - 1.0).abs() > f32::EPSILON {
                    let (slot, adapter) = (slot.clone(), adapter.clone());
                    return Err(MakeError::NotNormalized { slot, adapter, magnitude });
                }
            }
        }
        Ok(())
    }

    /// Gives the slots of each site and the weight beside them one scale: the least with which each of them fits.
    fn unite_sites(&mut self, plan: &Plan) -> Result<(), MakeError> {
        let codes = |name: &String| {
            let constant = plan.slots.get(name).or_else(|| plan.weights.get(name));
            constant.map(|constant| constant.codes)
        };
        for names in plan.sites.values() {
            let needed = names.iter().filter_map(|name| {
                let range = self.entries.get(name)?.range;
                Some((name, codes(name)?, range))
            });
            let mut scale: f32 = 0.0;
            for (name, codes, range) in needed {
                let failed = |source| MakeError::Encoding { name: name.clone(), source };
                scale = scale.max(codes.parameters(Range::symmetric(range.magnitude())).map_err(failed)?.0);
            }
            for name in names {
                let Some(entry) = self.entries.get_mut(name) else { continue };
                let (stored, expressed) = (entry.encoding.stored, entry.encoding.quant.expressed);
                let encoding = Encoding::per_tensor(stored, scale, 0);
                let failed = |source: quad_ir::types::QuantError| MakeError::Encoding {
                    name: name.clone(),
                    source: source.into(),
                };
                entry.encoding = expressing(encoding.map_err(failed)?, expressed);
            }
        }
        Ok(())
    }

    /// Biases: the product of both scales. One that the stored type cannot hold, or that is added to floats, stays a float.
    fn add_biases(&mut self, biases: &BTreeMap<String, Bias>) {
        for (name, bias) in biases {
            let (Some(x), Some(w)) = (self.entries.get(&bias.x), self.entries.get(&bias.w)) else { continue };
            let Some(statistics) = self.statistics.weights.get(name) else { continue };
            if let Some(entry) = bias_entry(bias, &x.encoding, &w.encoding, statistics) {
                self.entries.insert(name.clone(), entry);
            } else {
                let reason = format!("a bias that {} codes of the products' scale do not reach", bias.stored);
                self.floats.insert(name.clone(), reason);
            }
        }
    }
}

/// The entry of a bias beside `x` and `w`; `None` where it does not fit.
fn bias_entry(bias: &Bias, x: &Encoding, w: &Encoding, statistics: &TensorStatistics) -> Option<Entry> {
    let range = statistics.range?;
    let (x_scale, _) = x.parameters().next()?;
    let scales: Vec<f32> = w.parameters().map(|(scale, _)| x_scale * scale).collect();
    let largest = bias.stored.integer_range()?.1 as f64;
    let channels = statistics.axes.first()?;
    let fits = |(channel, range): (usize, &Range)| {
        let scale = scales[if scales.len() == 1 { 0 } else { channel }];
        scale.is_normal() && f64::from(range.magnitude()) / f64::from(scale) < largest
    };
    let matches = scales.len() == 1 || scales.len() == channels.len();
    if !matches || !channels.iter().enumerate().all(fits) {
        return None;
    }
    let quant = Quant {
        axis: (scales.len() > 1).then_some(0),
        block: None,
        zero_points: vec![0; scales.len()].into(),
        scales: scales.into_iter().map(Into::into).collect(),
        expressed: bias.expressed,
    };
    quant.check().ok()?;
    let encoding = Encoding { stored: bias.stored, quant };
    Some(Entry { role: Role::Bias, encoding, range, limit: None })
}

fn expressing(mut encoding: Encoding, expressed: DType) -> Encoding {
    encoding.quant.expressed = expressed;
    encoding
}

/// `encoding`, or where its zero point is 0 although it could be any, the finest one for `range` with the zero point a step off.
fn with_nonzero_zero_point(
    encoding: Encoding,
    codes: Codes,
    range: Range,
) -> Result<Encoding, EncodingError> {
    let at_zero = encoding.quant.zero_points.iter().all(|zero_point| *zero_point == 0);
    if codes != Codes::asymmetric(DType::I8) || !at_zero {
        return Ok(encoding);
    }
    let range = range.with_zero();
    let scale = |zero_point: i32| {
        let above = f64::from(range.max) / f64::from(127 - zero_point);
        let below = f64::from(-range.min) / f64::from(128 + zero_point);
        above.max(below)
    };
    let zero_point = if scale(-1) <= scale(1) { -1 } else { 1 };
    let scale = scale(zero_point) as f32;
    let scale = if scale > 0.0 { scale.max(f32::MIN_POSITIVE) } else { 1.0 };
    Ok(Encoding::per_tensor(DType::I8, scale, zero_point)?)
}
