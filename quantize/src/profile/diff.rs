//! What two profiles differ in: heads, values that only one of them quantizes, and encodings in percent and steps.

use std::fmt::Display;

use serde::Serialize;

use super::file::form_word;
use super::{Entry, Profile};
use crate::encoding::Codes;

/// What two profiles differ in.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Difference {
    /// Of what is said once for the whole profile.
    pub head: Vec<HeadChange>,
    /// Values that only the left one has an encoding for.
    pub only_left: Vec<String>,
    /// Values that only the right one has an encoding for.
    pub only_right: Vec<String>,
    /// Encodings that differ, those first whose scales do most.
    pub changed: Vec<Change>,
    /// How many encodings are the same.
    pub same: usize,
    /// How many of these were made for another range.
    pub other_ranges: usize,
}

/// A line of the head that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HeadChange {
    /// What it says.
    pub key: &'static str,
    /// On the left.
    pub left: String,
    /// On the right.
    pub right: String,
}

/// An encoding that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// The value.
    pub name: String,
    /// Type, granularity and limit on the left and on the right, such as `u16` and `i8 x 48`, where they differ.
    pub stored: Option<(String, String)>,
    /// How much larger the scale on the right is, in percent of that on the left: of all channels the largest change; of
    /// different granularities that of the largest scales.
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
            && self.changed.is_empty()
    }
}

fn heads(left: &Profile, right: &Profile) -> Vec<HeadChange> {
    let mut heads = Vec::new();
    let mut compare = |key, left: &dyn Display, right: &dyn Display| {
        let (left, right) = (left.to_string(), right.to_string());
        if left != right {
            heads.push(HeadChange { key, left, right });
        }
    };
    let mixed = |profile: &Profile| -> String {
        let patterns = profile.mixed.iter().map(|(pattern, precision)| format!("{pattern}={precision}"));
        patterns.collect::<Vec<_>>().join(" ")
    };
    compare("graph", &left.graph, &right.graph);
    compare("pipeline", &left.pipeline, &right.pipeline);
    compare("rules", &left.rules, &right.rules);
    compare("precision", &left.precision, &right.precision);
    compare("mixed", &mixed(left), &mixed(right));
    compare("method", &left.method, &right.method);
    compare("weights", &left.weights, &right.weights);
    compare("slots", &form_word(left.slots), &form_word(right.slots));
    compare("anchor", &left.anchor.choice, &right.anchor.choice);
    compare("reason", &left.anchor.reason, &right.anchor.reason);
    compare("adapters", &left.anchor.adapters.join(" "), &right.anchor.adapters.join(" "));
    heads
}

fn change(name: &str, left: &Entry, right: &Entry) -> Change {
    let parameters = |entry: &Entry| entry.encoding.parameters().collect::<Vec<_>>();
    let (before, after) = (parameters(left), parameters(right));
    let percent = |before: f32, after: f32| (f64::from(after) / f64::from(before) - 1.0) * 100.0;
    let largest = |parameters: &[(f32, i32)]| parameters.iter().map(|(scale, _)| *scale).fold(0.0, f32::max);
    let further = |a: f64, b: f64| if b.abs() > a.abs() { b } else { a };
    let scale_percent = if before.len() == after.len() {
        before.iter().zip(&after).map(|(a, b)| percent(a.0, b.0)).fold(0.0, further)
    } else {
        percent(largest(&before), largest(&after))
    };
    let steps = before.iter().zip(&after).map(|(a, b)| i64::from(b.1) - i64::from(a.1));
    let stored = (stored(left), stored(right));
    Change {
        name: name.to_owned(),
        stored: (stored.0 != stored.1).then_some(stored),
        scale_percent,
        zero_point_steps: steps.max_by_key(|steps| steps.abs()).unwrap_or(0),
    }
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
        assert_eq!(found.head, [HeadChange { key: "rules", left: "reference".into(), right: "qnn".into() }]);
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
}
