//! What two profiles differ in: heads, values that only one of them quantizes, and encodings in percent and steps.

use std::collections::BTreeSet;
use std::fmt::Display;

use serde::Serialize;

use super::file::form_word;
use super::{Entry, Profile};
use crate::encoding::Codes;

/// What two profiles differ in.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Difference {
    /// Of what is said once for the whole profile.
    pub head: Vec<Fact>,
    /// Values that only the left one has an encoding for.
    pub only_left: Vec<String>,
    /// Values that only the right one has an encoding for.
    pub only_right: Vec<String>,
    /// Values of which the two do not say the same reason to stay floats.
    pub floats: Vec<FloatChange>,
    /// Encodings that differ, those first whose scales do most.
    pub changed: Vec<Change>,
    /// How many encodings are the same.
    pub same: usize,
    /// How many of these were made for another range.
    pub other_ranges: usize,
}

/// A fact that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fact {
    /// What it says.
    pub key: &'static str,
    /// On the left.
    pub left: String,
    /// On the right.
    pub right: String,
}

/// A value that stays a float on one side, or for different reasons.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FloatChange {
    /// The value.
    pub name: String,
    /// Why it is a float on the left; `None` where the left one does not list it.
    pub left: Option<String>,
    /// The same on the right.
    pub right: Option<String>,
}

/// An encoding that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// The value.
    pub name: String,
    /// Type, granularity and limit on the left and on the right, such as `u16` and `i8 x 48`, where they differ.
    pub stored: Option<(String, String)>,
    /// What else differs: role, axis, block, and the type of real numbers.
    pub facts: Vec<Fact>,
    /// How much larger the scale on the right is, in percent of that on the left: of all channels the largest change; of
    /// different granularities or axes that of the largest scales.
    pub scale_percent: f64,
    /// How many steps the zero point on the right is further up, of the channel where it moves most.
    pub zero_point_steps: i64,
}

impl Difference {
    /// What `left` and `right` differ in.
    pub fn of(left: &Profile, right: &Profile) -> Self {
        let mut difference = Self { head: heads(left, right), ..Self::default() };
        for (name, entry) in &left.entries {
            match right.entries.get(name) {
                None => difference.only_left.push(name.clone()),
                Some(other)
                    if (other.role, &other.encoding, other.limit)
                        == (entry.role, &entry.encoding, entry.limit) =>
                {
                    difference.same += 1;
                    difference.other_ranges += usize::from(other.range != entry.range);
                }
                Some(other) => difference.changed.push(change(name, entry, other)),
            }
        }
        let only_right = right.entries.keys().filter(|name| !left.entries.contains_key(*name));
        difference.only_right = only_right.cloned().collect();
        difference.floats = floats(left, right);
        difference.changed.sort_by(|a, b| {
            b.scale_percent.abs().total_cmp(&a.scale_percent.abs()).then_with(|| a.name.cmp(&b.name))
        });
        difference
    }

    /// Whether there is none, but perhaps in the ranges that the same encodings were made for.
    pub fn is_empty(&self) -> bool {
        self.head.is_empty()
            && self.only_left.is_empty()
            && self.only_right.is_empty()
            && self.floats.is_empty()
            && self.changed.is_empty()
    }
}

/// Collects the facts of a list that differ.
#[derive(Default)]
struct Facts(Vec<Fact>);

impl Facts {
    fn compare(&mut self, key: &'static str, left: &dyn Display, right: &dyn Display) {
        let (left, right) = (left.to_string(), right.to_string());
        if left != right {
            self.0.push(Fact { key, left, right });
        }
    }
}

fn floats(left: &Profile, right: &Profile) -> Vec<FloatChange> {
    let names: BTreeSet<&String> = left.floats.keys().chain(right.floats.keys()).collect();
    let change = |name: &String| {
        let [left, right] = [left, right].map(|profile| profile.floats.get(name).cloned());
        (left != right).then(|| FloatChange { name: name.clone(), left, right })
    };
    names.into_iter().filter_map(change).collect()
}

fn heads(left: &Profile, right: &Profile) -> Vec<Fact> {
    let mut facts = Facts::default();
    let mixed = |profile: &Profile| -> String {
        let patterns = profile.mixed.iter().map(|(pattern, precision)| format!("{pattern}={precision}"));
        patterns.collect::<Vec<_>>().join(" ")
    };
    facts.compare("graph", &left.graph, &right.graph);
    facts.compare("pipeline", &left.pipeline, &right.pipeline);
    facts.compare("rules", &left.rules, &right.rules);
    facts.compare("precision", &left.precision, &right.precision);
    facts.compare("mixed", &mixed(left), &mixed(right));
    facts.compare("method", &left.method, &right.method);
    facts.compare("weights", &left.weights, &right.weights);
    facts.compare("slots", &form_word(left.slots), &form_word(right.slots));
    facts.compare("anchor", &left.anchor.choice, &right.anchor.choice);
    facts.compare("reason", &left.anchor.reason, &right.anchor.reason);
    facts.compare("adapters", &left.anchor.adapters.join(" "), &right.anchor.adapters.join(" "));
    facts.0
}

fn change(name: &str, left: &Entry, right: &Entry) -> Change {
    let parameters = |entry: &Entry| entry.encoding.parameters().collect::<Vec<_>>();
    let (before, after) = (parameters(left), parameters(right));
    let percent = |before: f32, after: f32| (f64::from(after) / f64::from(before) - 1.0) * 100.0;
    let largest = |parameters: &[(f32, i32)]| parameters.iter().map(|(scale, _)| *scale).fold(0.0, f32::max);
    let further = |a: f64, b: f64| if b.abs() > a.abs() { b } else { a };
    let quants = (&left.encoding.quant, &right.encoding.quant);
    let is_alike = (quants.0.axis, quants.0.block) == (quants.1.axis, quants.1.block);
    let scale_percent = if is_alike && before.len() == after.len() {
        before.iter().zip(&after).map(|(a, b)| percent(a.0, b.0)).fold(0.0, further)
    } else {
        percent(largest(&before), largest(&after))
    };
    let steps = before.iter().zip(&after).map(|(a, b)| i64::from(b.1) - i64::from(a.1));
    let stored = (stored(left), stored(right));
    Change {
        name: name.to_owned(),
        stored: (stored.0 != stored.1).then_some(stored),
        facts: facts(left, right),
        scale_percent,
        zero_point_steps: steps.max_by_key(|steps| steps.abs()).unwrap_or(0),
    }
}

/// What `left` and `right` differ in beside numbers and stored types.
fn facts(left: &Entry, right: &Entry) -> Vec<Fact> {
    let number = |number: Option<u32>| number.map_or_else(|| "none".to_owned(), |number| number.to_string());
    let (of_left, of_right) = (&left.encoding.quant, &right.encoding.quant);
    let mut facts = Facts::default();
    facts.compare("role", &left.role.word(), &right.role.word());
    facts.compare("axis", &number(of_left.axis.map(Into::into)), &number(of_right.axis.map(Into::into)));
    facts.compare("block", &number(of_left.block), &number(of_right.block));
    facts.compare("of", &of_left.expressed, &of_right.expressed);
    facts.0
}

/// Type and granularity, such as `i8 x 48`, and a limit that the type alone does not have, as in `i16 to 32639`.
pub fn stored(entry: &Entry) -> String {
    let stored = entry.encoding.stored;
    let channels = match entry.encoding.quant.axis {
        Some(_) => format!(" x {}", entry.encoding.quant.scales.len()),
        None => String::new(),
    };
    let own = entry.limit.filter(|limit| Codes::symmetric(stored).symmetric != Some(*limit));
    let limit = own.map_or_else(String::new, |limit| format!(" to {limit}"));
    format!("{stored}{channels}{limit}")
}

#[cfg(test)]
mod tests {
    use quad_ir::dtype::DType;

    use super::super::Role;
    use super::super::make::{Options, make};
    use super::super::tests::{anchor, statistics};
    use super::*;
    use crate::encoding::Encoding;
    use crate::precision::{Mixed, Precision};
    use crate::rules::Rules;

    #[test]
    fn differences_are_told_in_percent_and_steps() {
        let statistics = statistics(&[("a", &[])]);
        let options =
            Options::new(Rules::preset("reference").expect("a preset"), Mixed::uniform(Precision::W8A16));
        let left = make(&statistics, &anchor("a"), &options).expect("a profile").profile;
        assert!(Difference::of(&left, &left).is_empty());

        let mut right = left.clone();
        right.rules = "qnn".to_owned();
        right.entries.remove("sum");
        right.entries.insert("new".to_owned(), left.entries["x"].clone());
        let (scale, zero_point) = left.entries["x"].encoding.parameters().next().expect("one");
        let entry = right.entries.get_mut("x").expect("there");
        entry.encoding = Encoding::per_tensor(DType::U16, scale * 1.75, zero_point - 3).expect("encodes");
        let weight = right.entries.get_mut("conv.w").expect("there");
        let largest = weight.encoding.parameters().next().expect("one").0;
        weight.encoding = Encoding::per_tensor(DType::I8, largest * 0.5, 0).expect("encodes");
        right.entries.get_mut("timed").expect("there").range.max += 1.0;

        let found = Difference::of(&left, &right);
        assert_eq!(found.head, [Fact { key: "rules", left: "reference".into(), right: "qnn".into() }]);
        assert_eq!((found.only_left, found.only_right), (vec!["sum".to_owned()], vec!["new".to_owned()]));
        let x = &found.changed[0];
        assert_eq!((x.name.as_str(), x.stored.as_ref(), x.zero_point_steps), ("x", None, -3));
        assert!((x.scale_percent - 75.0).abs() < 1e-4);
        let mut limited = left.clone();
        limited.entries.get_mut("s.lora_A").expect("there").limit = Some(32639);
        let limited = Difference::of(&left, &limited).changed;
        assert_eq!(limited[0].stored, Some(("i16".to_owned(), "i16 to 32639".to_owned())));
        let weight = &found.changed[1];
        assert_eq!(weight.stored, Some(("i8 x 2".to_owned(), "i8".to_owned())));
        assert_eq!(weight.scale_percent, -50.0);
        assert_eq!((found.same, found.other_ranges), (left.entries.len() - 3, 1));
    }
    #[test]
    fn roles_axes_types_and_floats_are_compared() {
        let options =
            Options::new(Rules::preset("reference").expect("a preset"), Mixed::uniform(Precision::W8A16));
        let left = make(&statistics(&[("a", &[])]), &anchor("a"), &options).expect("a profile").profile;
        let mut right = left.clone();
        right.entries.get_mut("conv.w").expect("there").encoding.quant.axis = Some(3);
        right.entries.get_mut("s.lora_A").expect("there").role = Role::Weight;
        right.entries.get_mut("x").expect("there").encoding.quant.expressed = DType::F16;
        let found = Difference::of(&left, &right);
        let facts: Vec<(&str, &[Fact])> =
            found.changed.iter().map(|change| (change.name.as_str(), change.facts.as_slice())).collect();
        let fact = |key, left: &str, right: &str| [Fact { key, left: left.into(), right: right.into() }];
        let (axis, role, of) =
            (fact("axis", "0", "3"), fact("role", "slot", "weight"), fact("of", "f32", "f16"));
        assert_eq!(facts, [("conv.w", &axis[..]), ("s.lora_A", &role[..]), ("x", &of[..])]);
        assert!(found.changed.iter().all(|change| change.scale_percent == 0.0 && change.stored.is_none()));

        let mut other = left.clone();
        let sines = other.floats.remove("sines").expect("on an island");
        other.floats.insert("angles".to_owned(), "asked for".to_owned());
        let found = Difference::of(&left, &other);
        assert!(!found.is_empty());
        let names: Vec<(&str, bool, bool)> = found
            .floats
            .iter()
            .map(|float| (float.name.as_str(), float.left.is_some(), float.right.is_some()))
            .collect();
        assert_eq!(names, [("angles", true, true), ("sines", true, false)]);
        assert_eq!(found.floats[1].left, Some(sines));
    }
}
