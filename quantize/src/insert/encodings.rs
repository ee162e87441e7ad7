//! Encodings by the names of values: those of a profile, and those spelled in the option of a pass.

use std::collections::BTreeMap;
use std::str::FromStr;

use quad_ir::attr::F32Bits;
use quad_ir::dtype::DType;
use quad_ir::types::{Quant, QuantError};

use crate::encoding::{Codes, Encoding};
use crate::profile::{Entry, Profile, Role};

/// How values are to be stored, by their names.
pub type Encodings = BTreeMap<String, Wanted>;

/// How one value is to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Element type, scales and zero points.
    pub encoding: Encoding,
    /// How far from the middle stored numbers of weights and slots go; `None` for all that the type has.
    pub limit: Option<i32>,
    /// What the value is taken for, where that is said.
    pub role: Option<Role>,
}

/// The encodings of `profile`.
pub fn of_profile(profile: &Profile) -> Encodings {
    profile.entries.iter().map(|(name, entry)| (name.clone(), entry.into())).collect()
}

impl From<Encoding> for Wanted {
    fn from(encoding: Encoding) -> Self {
        let limit = is_symmetric(&encoding).then(|| most(encoding.stored));
        Self { encoding, limit, role: None }
    }
}

impl From<&Entry> for Wanted {
    fn from(entry: &Entry) -> Self {
        Self { encoding: entry.encoding.clone(), limit: entry.limit, role: Some(entry.role) }
    }
}

/// Whether 0 is the middle of what can be stored, so that there are as many negative numbers as positive ones.
fn is_symmetric(encoding: &Encoding) -> bool {
    let middle = middle(encoding.stored);
    encoding.quant.zero_points.iter().all(|zero| i128::from(*zero) == middle)
}

/// The middle of what `stored` can be: 0, or what stands for it in an unsigned type.
pub(super) fn middle(stored: DType) -> i128 {
    stored.integer_range().map_or(0, |(low, high)| (low + high + 1) / 2)
}

/// How far from the middle as many numbers are on both sides.
fn most(stored: DType) -> i32 {
    Codes::symmetric(stored).symmetric.unwrap_or(i32::MAX)
}

/// A text is not a list of encodings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodingsError {
    /// A word is spelled in another way.
    #[error(
        "`{word}` is not an encoding: {expected} is expected in a word such as `x=u8:0.02:128` or `w=i8:0.1,0.2@0`"
    )]
    Word {
        /// The word.
        word: String,
        /// What is expected in it.
        expected: &'static str,
    },
    /// The numbers do not fit together.
    #[error("`{word}`: {error}")]
    Quant {
        /// The word.
        word: String,
        /// Why.
        error: QuantError,
    },
}

/// Reads `name=type:scales:zero_points@axis`, words with spaces between.
pub fn parse(text: &str) -> Result<Encodings, EncodingsError> {
    text.split_whitespace().map(word).collect()
}

fn word(word: &str) -> Result<(String, Wanted), EncodingsError> {
    let wrong = |expected| EncodingsError::Word { word: word.to_owned(), expected };
    // Names may hold signs of all kinds, and what follows them cannot.
    let (name, rest) = word.rsplit_once('=').ok_or_else(|| wrong("`=`"))?;
    let (rest, axis) = match rest.rsplit_once('@') {
        Some((rest, axis)) => (rest, Some(axis.parse().map_err(|_| wrong("an axis behind `@`"))?)),
        None => (rest, None),
    };
    let mut parts = rest.split(':');
    let stored: DType = one(parts.next()).ok_or_else(|| wrong("the type of stored numbers"))?;
    let scales: Vec<f32> = list(parts.next()).ok_or_else(|| wrong("a list of scales"))?;
    let zero_points: Vec<i32> = match parts.next() {
        Some(text) => list(Some(text)).ok_or_else(|| wrong("a list of zero points"))?,
        None => vec![0; scales.len()],
    };
    if parts.next().is_some() {
        return Err(wrong("nothing behind zero points but `@`"));
    }
    let scales = scales.into_iter().map(F32Bits::from).collect();
    let quant = Quant { axis, block: None, scales, zero_points: zero_points.into(), expressed: DType::F32 };
    quant.check().map_err(|error| EncodingsError::Quant { word: word.to_owned(), error })?;
    Ok((name.to_owned(), Encoding { stored, quant }.into()))
}

fn one<T: FromStr>(text: Option<&str>) -> Option<T> {
    text?.parse().ok()
}

fn list<T: FromStr>(text: Option<&str>) -> Option<Vec<T>> {
    text?.split(',').map(|item| item.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read() {
        let found = parse("x=u8:0.5:128 a=b=i8:0.25,2@1").expect("two encodings");
        assert_eq!(found["x"].encoding, Encoding::per_tensor(DType::U8, 0.5, 128).expect("an encoding"));
        let per_channel = &found["a=b"].encoding;
        assert_eq!(per_channel.stored, DType::I8);
        assert_eq!((per_channel.quant.axis, &*per_channel.quant.zero_points), (Some(1), &[0, 0][..]));
    }

    #[test]
    fn symmetric_encodings_have_limits() {
        let limit = |text: &str| parse(text).expect("an encoding")["x"].limit;
        assert_eq!(limit("x=i8:1"), Some(127));
        assert_eq!(limit("x=u16:1:32768"), Some(32767));
        assert_eq!(limit("x=i8:1:3"), None);
        // Those of an entry are what it says, however far its range reaches.
        let range = crate::encoding::Range { min: -2.0, max: 1.0 };
        let encoding = Encoding::per_tensor(DType::I16, 1.0, 0).expect("an encoding");
        let limit =
            |limit| Wanted::from(&Entry { role: Role::Slot, encoding: encoding.clone(), range, limit }).limit;
        assert_eq!([limit(Some(32639)), limit(None)], [Some(32639), None]);
    }

    #[test]
    fn what_is_spelled_otherwise_is_refused() {
        let error = |text: &str| parse(text).expect_err("no encoding").to_string();
        assert!(error("x").contains("`=` is expected"));
        assert!(error("x=u9:1").contains("type of stored numbers"));
        assert!(error("x=u8").contains("list of scales"));
        assert!(error("x=u8:1:a").contains("list of zero points"));
        assert!(error("x=u8:1:2:3").contains("nothing behind"));
        assert!(error("x=u8:1:2@-1").contains("an axis"));
        assert!(error("x=u8:1,2").contains("need an axis"));
        assert!(error("x=u8:-1").contains("not a positive number"));
    }
}
