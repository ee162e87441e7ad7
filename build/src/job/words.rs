//! Words in a job that mean something, and names that are almost right.

use std::fmt;
use std::str::FromStr;

use quad_ir::attr::{Attr, AttrValue};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A value with the text that it was read from.
#[derive(Clone, Debug)]
pub struct Text<T> {
    /// The text.
    pub text: String,
    /// What it means.
    pub value: T,
}

impl<T: FromStr> FromStr for Text<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        Ok(Self { text: text.to_owned(), value: text.parse()? })
    }
}

impl<T: Default + fmt::Display> Default for Text<T> {
    fn default() -> Self {
        let value = T::default();
        Self { text: value.to_string(), value }
    }
}

impl<T> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.text.serialize(serializer)
    }
}

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// One of the words that an attribute can be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Word<T>(pub T);

impl<T: AttrValue + Default> FromStr for Word<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut value = T::default();
        value.set_attr(&Attr::Str(text.to_owned())).map_err(|expected| format!("expected {expected}"))?;
        Ok(Self(value))
    }
}

impl<T: AttrValue> fmt::Display for Word<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.to_attr() {
            Attr::Str(word) => f.write_str(&word),
            other => write!(f, "{other:?}"),
        }
    }
}

/// The one of `known` that is most like `name`, when it is like it at all: a third of it may differ.
pub fn nearest<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let ranked = known.into_iter().map(|known| (strsim::damerau_levenshtein(name, known), known));
    let (distance, best) = ranked.min()?;
    (distance * 3 <= name.chars().count().max(best.chars().count()).max(3)).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_almost_right_is_nearest() {
        let known = ["model", "adapters", "targets"];
        assert_eq!(nearest("modle", known), Some("model"));
        assert_eq!(nearest("adapter", known), Some("adapters"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest("x", []), None);
    }
}
