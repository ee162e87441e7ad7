//! The chips that graphs are compiled for: the number QNN knows each by, and the generation of its tensor processor.
//!
//! Numbers and generations are those of Qualcomm's public table "Supported Snapdragon devices" (AI Engine Direct SDK,
//! overview); a library that does not know a number refuses it. A graph is never compiled without a chip: the library
//! would then take the oldest generation, whose arithmetic in 16 bits is less exact.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A chip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Soc {
    model: u32,
}

/// The generation of a tensor processor: 73 is "v73".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Arch(pub u32);

/// A row of the table of chips.
#[derive(Debug)]
struct Chip {
    model: u32,
    /// The part number, which `--soc` takes too.
    part: &'static str,
    name: &'static str,
    arch: Arch,
}

const CHIPS: &[Chip] = &[
    Chip { model: 30, part: "SM8350", name: "Snapdragon 888", arch: Arch(68) },
    Chip { model: 36, part: "SM8450", name: "Snapdragon 8 Gen 1", arch: Arch(69) },
    Chip { model: 43, part: "SM8550", name: "Snapdragon 8 Gen 2", arch: Arch(73) },
    Chip { model: 57, part: "SM8650", name: "Snapdragon 8 Gen 3", arch: Arch(75) },
    Chip { model: 60, part: "SC8380XP", name: "Snapdragon X Elite", arch: Arch(73) },
    Chip { model: 69, part: "SM8750", name: "Snapdragon 8 Elite", arch: Arch(79) },
    Chip { model: 87, part: "SM8850", name: "Snapdragon 8 Elite Gen 5", arch: Arch(81) },
];

/// The text names no chip of the table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no chip that QUAD knows; one of {known} is expected", known = known())]
pub struct UnknownSoc(pub String);

fn known() -> String {
    let all: Vec<String> = CHIPS.iter().map(|chip| format!("{} ({})", chip.part, chip.model)).collect();
    all.join(", ")
}

impl Soc {
    /// All chips of the table.
    pub fn all() -> impl Iterator<Item = Self> {
        CHIPS.iter().map(|chip| Self { model: chip.model })
    }

    /// The number that QNN knows it by, `soc_model`.
    pub fn model(self) -> u32 {
        self.model
    }

    /// The generation of its tensor processor.
    pub fn arch(self) -> Arch {
        self.chip().arch
    }

    /// The part number, such as `SM8750`.
    pub fn part(self) -> &'static str {
        self.chip().part
    }

    fn chip(self) -> &'static Chip {
        // `Soc` is only made of rows; one that was read from elsewhere with another number gets the oldest, which allows least.
        CHIPS.iter().find(|chip| chip.model == self.model).unwrap_or(&CHIPS[0])
    }
}

/// The newest chip of the table, for checks of models; nothing is compiled for a chip that nobody named.
impl Default for Soc {
    fn default() -> Self {
        Self { model: CHIPS[CHIPS.len() - 1].model }
    }
}

/// Takes a part number, in any case, or QNN's number.
impl FromStr for Soc {
    type Err = UnknownSoc;
    fn from_str(text: &str) -> Result<Self, UnknownSoc> {
        let found =
            CHIPS.iter().find(|chip| chip.part.eq_ignore_ascii_case(text) || chip.model.to_string() == text);
        found.map(|chip| Self { model: chip.model }).ok_or_else(|| UnknownSoc(text.to_owned()))
    }
}

/// Writes `SM8750 (Snapdragon 8 Elite, v79)`.
impl fmt::Display for Soc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Chip { part, name, arch, .. } = self.chip();
        write!(f, "{part} ({name}, {arch})")
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chip_is_named_by_part_or_number() {
        let elite: Soc = "sm8750".parse().expect("a part");
        assert_eq!(Ok(elite), "69".parse());
        assert_eq!(elite.to_string(), "SM8750 (Snapdragon 8 Elite, v79)");
        let error = "SM1".parse::<Soc>().expect_err("no such chip").to_string();
        assert!(error.contains("`SM1`") && error.contains("SM8650 (57)"), "{error}");
    }
}
