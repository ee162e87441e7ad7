//! Precision: how many bits weights, activations and slots get, for the whole graph and for parts of it.
//!
//! A [`Precision`] is written `w8a16`, or with the bits of LoRA slots `w8a16-slots8`. Without them slots have the bits of
//! activations: an adapter in `w8a16` has 16 bits, which is the paper's choice. [`Mixed`] gives parts of the graph another
//! one: by patterns on names of values and paths of modules, and by lists of names, which is how a search for a share of
//! lower precision says what it chose.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use regex::Regex;
use serde::{Deserialize, Serialize};

/// Bits of weights, activations and slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Precision {
    /// Bits of constants of layers: 4, 8 or 16.
    pub weights: u32,
    /// Bits of activations: 8 or 16.
    pub activations: u32,
    /// Bits of the slots that an adapter fills: 4, 8 or 16.
    pub slots: u32,
}

/// A text is no precision.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no precision: expected wNaM or wNaM-slotsK, with N and K of 4, 8 and 16 and M of 8 and 16, such as w8a16 or \
     w8a16-slots8"
)]
pub struct UnknownPrecision(pub String);

impl Precision {
    /// 8 bits for weights, 16 for activations and slots.
    pub const W8A16: Self = Self { weights: 8, activations: 16, slots: 16 };
    /// 8 bits for all.
    pub const W8A8: Self = Self { weights: 8, activations: 8, slots: 8 };
}

impl Default for Precision {
    fn default() -> Self {
        Self::W8A16
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "w{}a{}", self.weights, self.activations)?;
        if self.slots == self.activations { Ok(()) } else { write!(f, "-slots{}", self.slots) }
    }
}

impl FromStr for Precision {
    type Err = UnknownPrecision;

    fn from_str(text: &str) -> Result<Self, UnknownPrecision> {
        let bits = |text: &str, allowed: &[u32]| {
            text.parse().ok().filter(|bits| allowed.contains(bits) && bits.to_string() == text)
        };
        let parse = || {
            let (activations, slots) = text.strip_prefix('w')?.split_once('a').map(|(_, rest)| {
                rest.split_once("-slots").map_or((rest, rest), |(activations, slots)| (activations, slots))
            })?;
            let weights = text.strip_prefix('w')?.split_once('a')?.0;
            Some(Self {
                weights: bits(weights, &[4, 8, 16])?,
                activations: bits(activations, &[8, 16])?,
                slots: bits(slots, &[4, 8, 16])?,
            })
        };
        parse().ok_or_else(|| UnknownPrecision(text.to_owned()))
    }
}

impl Serialize for Precision {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Precision {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A pattern on names, in which `*` stands for any characters.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    /// `None` where the text is the name of one value, whatever characters it has.
    regex: Option<Regex>,
}

/// A text is too long for a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no pattern on names: it is too long or too complicated")]
pub struct BadPattern(pub String);

impl FromStr for Pattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        let parts: Vec<String> = text.split('*').map(regex::escape).collect();
        let regex =
            Regex::new(&format!("(?s)^{}$", parts.join(".*"))).map_err(|_| BadPattern(text.to_owned()))?;
        Ok(Self { text: text.to_owned(), regex: Some(regex) })
    }
}

impl Pattern {
    /// Fits the value called `name` and nothing else: no module of that path, and `*` is a character as any other.
    pub fn exactly(name: &str) -> Self {
        Self { text: name.to_owned(), regex: None }
    }

    /// The pattern as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it fits the name of a value, or the path of the module that the value is of.
    pub fn fits(&self, name: &str, path: Option<&str>) -> bool {
        match &self.regex {
            Some(regex) => regex.is_match(name) || path.is_some_and(|path| regex.is_match(path)),
            None => self.text == name,
        }
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.regex.is_some() == other.regex.is_some()
    }
}

/// A precision for the whole graph, and others for parts of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mixed {
    /// Of everything that nothing else speaks of.
    pub base: Precision,
    /// Of what a pattern fits; the last that fits decides.
    pub patterns: Vec<(Pattern, Precision)>,
    /// Of values by name, before patterns: what a search chose.
    pub named: BTreeMap<String, Precision>,
}

impl Mixed {
    /// The same precision for everything.
    pub fn uniform(base: Precision) -> Self {
        Self { base, ..Self::default() }
    }

    /// `base` for everything but the values called `names`, which get `other`.
    pub fn share(base: Precision, names: &BTreeSet<String>, other: Precision) -> Self {
        let named = names.iter().map(|name| (name.clone(), other)).collect();
        Self { base, patterns: Vec::new(), named }
    }

    /// The precision of the value called `name`, of the module at `path`.
    pub fn of(&self, name: &str, path: Option<&str>) -> Precision {
        if let Some(precision) = self.named.get(name) {
            return *precision;
        }
        let fitting = self.patterns.iter().rev().find(|(pattern, _)| pattern.fits(name, path));
        fitting.map_or(self.base, |(_, precision)| *precision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precisions_are_written_and_read() {
        for text in ["w8a16", "w8a8", "w4a16", "w8a16-slots8", "w8a8-slots16", "w4a8-slots4", "w16a16"] {
            assert_eq!(text.parse::<Precision>().expect("a precision").to_string(), text);
        }
        assert_eq!("w8a16".parse(), Ok(Precision::W8A16));
        assert_eq!("w8a8".parse(), Ok(Precision::W8A8));
        assert_eq!("w8a16-slots16".parse(), Ok(Precision::W8A16));
        for wrong in
            ["", "w8", "a16", "w8a4", "w3a16", "w8a16-slots", "w08a16", "W8A16", "w8a16-slots8-slots8"]
        {
            assert_eq!(wrong.parse::<Precision>(), Err(UnknownPrecision(wrong.to_owned())));
        }
    }

    #[test]
    fn the_last_pattern_and_the_name_decide() {
        let pattern = |text: &str| text.parse::<Pattern>().expect("a pattern");
        let (low, lower) = (Precision::W8A8, Precision { weights: 4, ..Precision::W8A8 });
        let mut mixed = Mixed::uniform(Precision::W8A16);
        mixed.patterns = vec![(pattern("up*"), low), (pattern("up.1.*"), lower)];
        assert_eq!(mixed.of("conv_in", None), Precision::W8A16);
        assert_eq!(mixed.of("up.0.conv", None), low);
        assert_eq!(mixed.of("up.1.conv", None), lower);
        // The path of the module counts as well as the name, and both count as a whole.
        assert_eq!(mixed.of("12", Some("up.1.conv")), lower);
        assert_eq!(mixed.of("12", Some("down.up.1.conv")), Precision::W8A16);
        mixed.named.insert("up.1.conv".to_owned(), Precision::W8A16);
        assert_eq!(mixed.of("up.1.conv", Some("up.1.conv")), Precision::W8A16);

        let names = BTreeSet::from(["x".to_owned()]);
        let share = Mixed::share(Precision::W8A16, &names, Precision::W8A8);
        assert_eq!((share.of("x", None), share.of("y", None)), (Precision::W8A8, Precision::W8A16));
    }
    #[test]
    fn a_star_stands_for_line_breaks_too() {
        let pattern: Pattern = "up*conv".parse().expect("a pattern");
        assert!(pattern.fits("up.0\nconv", None) && !pattern.fits("up.0\nconv\n", None));
    }
    #[test]
    fn an_exact_name_fits_no_module_and_no_other_name() {
        let pattern = Pattern::exactly("up.*");
        assert!(pattern.fits("up.*", None));
        assert!(!pattern.fits("up.0", None) && !pattern.fits("7", Some("up.*")));
        assert_ne!(pattern, "up.*".parse().expect("a pattern"));
    }
}
