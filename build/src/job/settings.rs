//! The parts of a job that are about one thing each. Their names in the file are these, with dashes.

use quad_passes::lora::expose::{self, Form, Strength};
use quad_quantize::precision::{Mixed, Pattern, Precision};
use quad_quantize::ranges::Method;
use quad_quantize::ranges::weights::WeightMethod;
use quad_quantize::sensitivity::bench::View;
use quad_quantize::sensitivity::choice::MARGIN;
use quad_quantize::sensitivity::divergence::Divergence;
use serde::{Deserialize, Serialize};

use super::words::{Text, Word};
use crate::adapters::Rank;

/// How layers take adapters.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Expose {
    /// The rank that adapters are padded to.
    pub rank: RankWord,
    /// Whether factors reach the products as they are, or with each rank divided by its largest magnitude.
    pub form: Text<Word<Form>>,
    /// Whether strengths are multiplied into the weights when an adapter is packed, or stay an input.
    pub strength: Text<Word<Strength>>,
    /// Patterns of sites of adapters that the model may lack.
    pub allow_unused: Vec<String>,
}

impl Expose {
    /// The form of branches.
    pub fn options(&self) -> expose::Options {
        expose::Options { strength: self.strength.value.0, form: self.form.value.0 }
    }
}

/// A rank: a number, `largest` for room for any one adapter, or `sum` for room for all together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RankText")]
pub enum RankWord {
    /// Room for any one of the adapters.
    #[default]
    Largest,
    /// Room for all together.
    Sum,
    /// So much.
    Fixed(u64),
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a rank: a number above 0, \"largest\" or \"sum\"")]
enum RankText {
    Number(u64),
    Word(String),
}

impl TryFrom<RankText> for RankWord {
    type Error = &'static str;

    fn try_from(text: RankText) -> Result<Self, Self::Error> {
        match text {
            RankText::Number(rank) if rank > 0 => Ok(Self::Fixed(rank)),
            RankText::Word(word) if word == "largest" => Ok(Self::Largest),
            RankText::Word(word) if word == "sum" => Ok(Self::Sum),
            _ => Err("expected a rank: a number above 0, \"largest\" or \"sum\""),
        }
    }
}

impl From<RankWord> for Rank {
    fn from(word: RankWord) -> Self {
        match word {
            RankWord::Largest => Self::Largest,
            RankWord::Sum => Self::Sum,
            RankWord::Fixed(rank) => Self::Fixed(rank),
        }
    }
}

/// What is run to learn what values are like.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Calibration {
    /// The first so many samples of each adapter; all where nothing is said.
    pub samples: Option<usize>,
    /// Arrays in the data that are no inputs.
    pub ignore: Vec<Text<Pattern>>,
}

impl Calibration {
    /// The patterns of arrays that are no inputs.
    pub fn ignored(&self) -> Vec<Pattern> {
        self.ignore.iter().map(|pattern| pattern.value.clone()).collect()
    }
}

/// Bits, and how encodings are found.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct PrecisionSettings {
    /// Bits of weights, activations and slots, such as `w8a16`.
    pub default: Text<Precision>,
    /// Other bits for values or modules that a pattern fits; the last that fits decides.
    pub mixed: Vec<Mix>,
    /// Values or modules that stay floats.
    pub float: Vec<Text<Pattern>>,
    /// How ranges of activations are found.
    pub method: Text<Method>,
    /// How scales of weights are found.
    pub weights: Text<WeightMethod>,
    /// One scale for both factors of a site and the weight beside them.
    pub site_scales: bool,
}

/// A pattern with its own bits.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Mix {
    /// Names of values or paths of modules, with * for any text.
    pub pattern: Text<Pattern>,
    /// The bits.
    pub precision: Text<Precision>,
}

impl PrecisionSettings {
    /// The bits of every value.
    pub fn mixed(&self) -> Mixed {
        let patterns = self.mixed.iter().map(|mix| (mix.pattern.value.clone(), mix.precision.value));
        Mixed { patterns: patterns.collect(), ..Mixed::uniform(self.default.value) }
    }
}

/// Whose encodings all share.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct AnchorSettings {
    /// An adapter, `unified`, `qss` or `auto`.
    pub policy: String,
    /// With `qss`: scores within this part of the highest count as equal.
    pub margin: f64,
    /// Samples of each adapter that scores are measured on, spread over all.
    pub samples: Option<usize>,
    /// What the score is.
    pub divergence: Text<Divergence>,
}

impl Default for AnchorSettings {
    fn default() -> Self {
        Self { policy: "unified".to_owned(), margin: MARGIN, samples: Some(8), divergence: Text::default() }
    }
}

/// What is run to compare the quantized graphs with the model.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Verification {
    /// Samples of each adapter, spread over all.
    pub samples: usize,
    /// The spread that outputs can have: 2 for images in [-1, 1]. Without it, the spread that those of the adapter have.
    pub peak: Option<f64>,
    /// Blocks of N x N pixels lie in neighbouring channels.
    pub shuffle: u32,
    /// The least quality that an adapter may have on a target, in decibels.
    pub min_psnr: Option<f64>,
}

impl Default for Verification {
    fn default() -> Self {
        Self { samples: 4, peak: None, shuffle: 1, min_psnr: None }
    }
}

impl Verification {
    /// How outputs are looked at.
    pub fn view(&self, divergence: Divergence) -> View {
        View { peak: self.peak, block: self.shuffle as usize, divergence }
    }
}

/// Types of inputs and outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IoTypes {
    /// As they are.
    Keep,
    /// 64-bit integers in 32 bits.
    I32,
    /// As `i32`, and what is stored integers inside is so at the border, too.
    Quantized,
}

/// Where channels of images lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IoLayout {
    /// Where they are in the model.
    #[default]
    Keep,
    /// After all other axes.
    Nhwc,
}
