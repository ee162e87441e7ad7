//! The profile: one encoding for each activation, weight, slot and bias of a graph, whatever the adapter.
//!
//! It is made of statistics ([`make`]), kept in a file that people can read and compare ([`file`]), and put into effect by
//! the passes that insert quantization. A value without an entry stays a float.

pub mod anchor;
pub mod diff;
pub mod file;
pub(crate) mod limits;
pub mod make;
pub mod scores;

use std::collections::BTreeMap;

use quad_ir::dtype::DType;
use quad_passes::lora::expose::Form;
use serde::{Deserialize, Serialize};

use crate::encoding::{Encoding, Range};
use crate::precision::Precision;

/// One encoding for each value of a graph that has one.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Digest of the text of the graph `@main` that the entries are of.
    pub graph: String,
    /// The passes that made the graph of the model.
    pub pipeline: String,
    /// The rules that the encodings follow, by name.
    pub rules: String,
    /// Bits of everything that `mixed` does not speak of.
    pub precision: Precision,
    /// Patterns with other bits, in order; what a search chose shows in the entries alone.
    pub mixed: Vec<(String, Precision)>,
    /// How ranges of activations were found, such as `min-max`.
    pub method: String,
    /// How ranges of weights were found, such as `per-channel`.
    pub weights: String,
    /// How the factors of adapters reach the slots.
    pub slots: Form,
    /// Of which adapter the encodings are, and why.
    pub anchor: Anchor,
    /// The encodings by the name of the value.
    pub entries: BTreeMap<String, Entry>,
    /// Values that stay floats on purpose, and why.
    pub floats: BTreeMap<String, String>,
}

/// Where the encodings of a profile come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anchor {
    /// The name of an adapter, or [`UNIFIED`](scores::UNIFIED) for all of them together.
    pub choice: String,
    /// Why that one, in a sentence.
    pub reason: String,
    /// All adapters that there were statistics of.
    pub adapters: Vec<String>,
}

/// What a value is to the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Computed at each run, or an input of the run.
    Activation,
    /// A constant that is not added to products.
    Weight,
    /// An input that an adapter fills.
    Slot,
    /// A constant that is added to products of integers.
    Bias,
}

/// How one value is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// What the value is to the graph.
    pub role: Role,
    /// Element type, scales and zero points.
    pub encoding: Encoding,
    /// The real numbers that the encoding was made for, over all channels: not those that its codes reach.
    pub range: Range,
    /// How far from the middle the codes of a weight or slot go: larger numbers are cut off there. `None` for all codes of
    /// the type.
    pub limit: Option<i32>,
}

impl Role {
    /// The types that values with this role are stored as.
    fn stored(self) -> &'static [DType] {
        const CODES: [DType; 6] = [DType::I8, DType::U8, DType::I16, DType::U16, DType::I4, DType::U4];
        match self {
            Self::Activation => &CODES[..4],
            Self::Weight | Self::Slot => &CODES,
            Self::Bias => &[DType::I32, DType::I64],
        }
    }

    /// What a value with this role is called, as in files.
    pub fn word(self) -> &'static str {
        match self {
            Self::Activation => "activation",
            Self::Weight => "weight",
            Self::Slot => "slot",
            Self::Bias => "bias",
        }
    }
}

impl Entry {
    /// Why no graph can be quantized as the entry says, whatever its value is, if none can.
    pub fn check(&self) -> Result<(), String> {
        let Encoding { stored, quant } = &self.encoding;
        if !self.role.stored().contains(stored) {
            let types: Vec<String> = self.role.stored().iter().map(ToString::to_string).collect();
            let role = self.role.word();
            return Err(format!("{stored} stores no {role}: expected one of {}", types.join(", ")));
        }
        quant.check().map_err(|error| error.to_string())?;
        let (low, high) = stored.integer_range().unwrap_or_default();
        if let Some(zero) = quant.zero_points.iter().find(|zero| !(low..=high).contains(&i128::from(**zero)))
        {
            return Err(format!("zero point {zero} is not between {low} and {high}, the codes of {stored}"));
        }
        if let Some(zero) = quant.zero_points.iter().find(|zero| self.role == Role::Bias && **zero != 0) {
            return Err(format!("zero point {zero}, and a bias has 0"));
        }
        self.range.check().map_err(|error| error.to_string())
    }
}

impl Profile {
    /// The encoding of the value called `name`.
    pub fn encoding(&self, name: &str) -> Option<&Encoding> {
        self.entries.get(name).map(|entry| &entry.encoding)
    }

    /// The entries of values with this role, by name.
    pub fn of_role(&self, role: Role) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries
            .iter()
            .filter(move |(_, entry)| entry.role == role)
            .map(|(name, entry)| (name.as_str(), entry))
    }
}

#[cfg(test)]
pub(crate) mod tests;
