//! A profile made of statistics: ranges of the anchor, by the rules of a target, in a precision.

mod biases;
mod error;

use std::collections::BTreeMap;

use quad_ir::dtype::DType;
use quad_ir::graph::Graph;
use quad_passes::lora::expose::Form;
use rayon::prelude::*;

use super::scores::UNIFIED;
use super::{Anchor, Entry, Profile, Role};
use crate::encoding::{Codes, Encoding, EncodingError, Range};
use crate::precision::{Mixed, Pattern};
use crate::ranges::Method;
use crate::ranges::weights::WeightMethod;
use crate::rules::graph;
use crate::rules::plan::{self, Constant, Plan, Shared};
use crate::rules::{Asks, Rules, layers};
use crate::statistics::{AdapterStatistics, Statistics, ValueStatistics};

pub use error::MakeError;

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

/// Magnitudes of an activation, or of a constant that it meets, beyond which they stay floats: they are masks, and beside
/// such numbers all others would be stored as 0.
const MASK: f32 = 1e6;

/// Makes a profile of `statistics`, with the encodings of `anchor`. All adapters together are those that the anchor lists.
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
    // All together are those that share a profile, which the anchor lists, and not all that there are statistics of.
    let is_listed = |name: &String| anchor.adapters.is_empty() || anchor.adapters.contains(name);
    let listed = statistics.adapters.iter().filter(|(name, _)| anchor.choice != UNIFIED || is_listed(name));
    let adapters: BTreeMap<&String, &AdapterStatistics> = listed.collect();
    let chosen = match adapters.get(&anchor.choice) {
        Some(adapter) => vec![*adapter],
        None if anchor.choice == UNIFIED && !adapters.is_empty() => adapters.values().copied().collect(),
        None => return Err(MakeError::NoAdapter(anchor.choice.clone())),
    };
    if let Some((name, _)) = adapters.iter().find(|(_, adapter)| adapter.samples.is_empty()) {
        return Err(MakeError::NoSamples((*name).clone()));
    }
    let mut maker = Maker {
        statistics,
        options,
        adapters,
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
    /// The adapters that ranges may be of.
    adapters: BTreeMap<&'s String, &'s AdapterStatistics>,
    /// Those whose ranges count.
    chosen: Vec<&'s AdapterStatistics>,
    entries: BTreeMap<String, Entry>,
    floats: BTreeMap<String, String>,
    notes: Vec<String>,
}

/// What was found for activations that share an encoding.
enum Found {
    Encoding(Encoding, Range, bool),
    Float(String),
}

/// Why what has numbers up to `magnitude` stays a float, when it is a mask.
fn mask(magnitude: f32) -> Option<String> {
    let reason = || format!("a mask: it reaches {magnitude:e}, and beside that no other number has a code");
    (magnitude > MASK).then(reason)
}

impl Maker<'_> {
    fn everyone(&self) -> Vec<&AdapterStatistics> {
        self.adapters.values().copied().collect()
    }

    fn add_activations(&mut self, activations: &[Shared]) -> Result<(), MakeError> {
        let found: Result<Vec<Found>, MakeError> =
            activations.par_iter().map(|shared| self.activation(shared)).collect();
        let mut filled = 0;
        for (shared, found) in activations.iter().zip(found?) {
            for member in &shared.members {
                match &found {
                    Found::Float(reason) => drop(self.floats.insert(member.clone(), reason.clone())),
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
            let parts = parts(adapters, shared);
            let found = self.options.method.range(shared.codes, &parts).map_err(failed)?;
            // A value without elements was seen, and has no range: any will do.
            let empty = Range { min: 0.0, max: 0.0 };
            let seen = !parts.is_empty();
            found.or(seen.then_some(empty)).ok_or_else(|| MakeError::NoStatistics(name.clone()))
        };
        let mut found = range(&self.chosen)?;
        let is_filled = found.magnitude() == 0.0 && self.chosen.len() < self.adapters.len();
        if is_filled {
            found = range(&self.everyone())?;
        }
        // Also what a method cuts off: without its large numbers a mask hides nothing.
        let seen = if is_filled { parts(&self.everyone(), shared) } else { parts(&self.chosen, shared) };
        let extremes = seen.iter().filter_map(|part| part.range()).reduce(Range::union);
        if let Some(reason) = extremes.and_then(|extremes| mask(extremes.magnitude())) {
            return Ok(Found::Float(reason));
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
            let reason = match self.statistics.weights.get(name) {
                None if constant.is_factor => return Err(MakeError::NotFinite { name: name.clone() }),
                None => Some("a constant that is not finite, which no encoding holds".to_owned()),
                Some(statistics) => {
                    let range = statistics.range.filter(|_| !constant.is_factor);
                    range.and_then(|range| mask(range.magnitude()))
                }
            };
            let found = match reason {
                Some(reason) => Some(Err(reason)),
                None => self.weight(name, constant)?.map(Ok),
            };
            Ok(found.map(|found| (name.clone(), found)))
        };
        let found: Result<Vec<_>, MakeError> = weights.par_iter().map(encode).collect();
        for (name, found) in found?.into_iter().flatten() {
            match found {
                Ok(entry) => drop(self.entries.insert(name, entry)),
                Err(reason) => drop(self.floats.insert(name, reason)),
            }
        }
        Ok(())
    }

    /// The entry of a constant; `None` for one without elements.
    fn weight(&self, name: &str, constant: &Constant) -> Result<Option<Entry>, MakeError> {
        let Some(statistics) = self.statistics.weights.get(name) else { return Ok(None) };
        let found = self.options.weights.encoding(statistics, constant.axis, constant.codes);
        let found = found.map_err(|source| MakeError::Encoding { name: name.to_owned(), source })?;
        Ok(found.map(|(encoding, range)| {
            let encoding = expressing(encoding, constant.expressed);
            Entry { role: Role::Weight, encoding, range, limit: constant.codes.symmetric }
        }))
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
                found = range(&self.everyone()).unwrap_or(found);
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
        for (adapter, statistics) in &self.adapters {
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
                    let (slot, adapter) = (slot.clone(), (*adapter).clone());
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
}

/// The statistics of the values in `adapters` whose numbers those of `shared` are.
fn parts<'s>(adapters: &[&'s AdapterStatistics], shared: &Shared) -> Vec<&'s ValueStatistics> {
    let of = |adapter: &&'s AdapterStatistics| {
        let values = &adapter.values;
        shared.sources.iter().filter_map(move |source| values.get(source)).collect::<Vec<_>>()
    };
    adapters.iter().flat_map(of).collect()
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

#[cfg(test)]
mod tests;
