//! The file of a profile: JSON, sorted by name, one line for each entry, with a hash of what it says.
//!
//! The hash is over the text as this module writes it, without the line of the hash. Another layout of the same JSON is
//! read; other numbers are not, because nobody would know any more what the encodings come from.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use quad_ir::attr::{Attr, AttrValue};
use quad_ir::dtype::{DType, UnknownDType};
use quad_ir::types::Quant;
use quad_ir::whole_file::WholeFile;
use quad_passes::lora::expose::Form;
use serde::{Deserialize, Serialize};

use super::{Anchor, Entry, Profile, Role, limits};
use crate::encoding::{Encoding, Range};
use crate::precision::Precision;

/// What the file calls itself.
pub const FORMAT: &str = "quad-profile";
/// The version of the format that is written, and the only one that is read.
pub const VERSION: u32 = 1;

/// A profile cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file system says no.
    #[error("`{}`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The text says no profile.
    #[error("`{}` is no profile", path.display())]
    Profile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ProfileError,
    },
}

/// A text says no profile.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// It is not JSON, or not of a profile.
    #[error("line {line}, column {column}: {reason}")]
    Json {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What is wrong there.
        reason: String,
    },
    /// It is of another kind or version.
    #[error("it is `{format}` version {version}; this program reads {FORMAT} version {VERSION}")]
    Version {
        /// What it calls itself.
        format: String,
        /// The version.
        version: u32,
    },
    /// An entry makes no sense.
    #[error("entry `{name}`: {reason}")]
    Entry {
        /// The value.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A word of the head is not known.
    #[error("`{key}` is `{found}`: expected {expected}")]
    Word {
        /// The key.
        key: &'static str,
        /// What is there.
        found: String,
        /// What may be there.
        expected: String,
    },
    /// The hash is another one.
    #[error(
        "it was changed after it was written: its hash is {stated}, that of what it says is {computed}; make the profile you \
         want with `quad profile make` and its options (--mixed, --float, --rules), not by hand"
    )]
    Hash {
        /// The hash in the file.
        stated: String,
        /// The hash of the rest.
        computed: String,
    },
}

/// The file as it is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "format")]
    _format: String,
    #[serde(rename = "version")]
    _version: u32,
    graph: String,
    pipeline: String,
    rules: String,
    precision: Precision,
    mixed: Vec<(String, Precision)>,
    method: String,
    weights: String,
    slots: String,
    anchor: Anchor,
    floats: BTreeMap<String, String>,
    entries: BTreeMap<String, Line>,
    blake3: String,
}

/// What tells which format a file is in.
#[derive(Debug, Deserialize)]
struct Head {
    format: String,
    version: u32,
}

/// An entry as it is written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    role: Role,
    stored: String,
    scale: OneOrMany<f32>,
    zero_point: OneOrMany<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    axis: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    block: Option<u32>,
    /// The floating-point type of the real numbers, where it is not `f32`.
    #[serde(skip_serializing_if = "Option::is_none")]
    of: Option<String>,
    min: f32,
    max: f32,
    /// How far from the middle codes go, where that is not what the rules ask.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<i32>,
}

/// A number, or one for each channel.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl Profile {
    /// The profile as text.
    pub fn to_text(&self) -> String {
        let body = self.body();
        let hash = hash(&body);
        format!("{{\n{body}\"blake3\": \"{hash}\"\n}}\n")
    }

    /// The hash of what the profile says, which its file ends with.
    pub fn hash(&self) -> String {
        hash(&self.body())
    }

    /// Everything between the first line and that of the hash.
    fn body(&self) -> String {
        let mut text = String::new();
        line(&mut text, "format", &FORMAT);
        line(&mut text, "version", &VERSION);
        line(&mut text, "graph", &self.graph);
        line(&mut text, "pipeline", &self.pipeline);
        line(&mut text, "rules", &self.rules);
        line(&mut text, "precision", &self.precision);
        line(&mut text, "mixed", &self.mixed);
        line(&mut text, "method", &self.method);
        line(&mut text, "weights", &self.weights);
        line(&mut text, "slots", &form_word(self.slots));
        line(&mut text, "anchor", &self.anchor);
        lines(&mut text, "floats", self.floats.iter());
        let entries = self.entries.iter().map(|(name, entry)| (name, Line::of(entry, &self.rules)));
        lines(&mut text, "entries", entries);
        text
    }

    /// The profile that `text` says.
    pub fn from_text(text: &str) -> Result<Self, ProfileError> {
        let head: Head = serde_json::from_str(text).map_err(|error| json_error(&error))?;
        if head.format != FORMAT || head.version != VERSION {
            return Err(ProfileError::Version { format: head.format, version: head.version });
        }
        let document: Document = serde_json::from_str(text).map_err(|error| json_error(&error))?;
        let stated = document.blake3.clone();
        let profile = document.into_profile()?;
        let computed = profile.hash();
        if stated == computed { Ok(profile) } else { Err(ProfileError::Hash { stated, computed }) }
    }

    /// Reads the profile at `path`.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let text =
            fs::read_to_string(path).map_err(|source| FileError::Io { path: path.to_owned(), source })?;
        Self::from_text(&text).map_err(|source| FileError::Profile { path: path.to_owned(), source })
    }

    /// Writes the profile to `path`, whole or not at all.
    pub fn write(&self, path: &Path) -> Result<(), FileError> {
        let write = || {
            let mut file = WholeFile::create(path)?;
            file.write_all(self.to_text().as_bytes())?;
            file.publish()
        };
        write().map_err(|source| FileError::Io { path: path.to_owned(), source })
    }
}

fn hash(body: &str) -> String {
    blake3::hash(body.as_bytes()).to_hex().to_string()
}

impl Document {
    fn into_profile(self) -> Result<Profile, ProfileError> {
        let entry = |(name, line): (String, Line)| match line.into_entry(&self.rules) {
            Ok(entry) => Ok((name, entry)),
            Err(reason) => Err(ProfileError::Entry { name, reason }),
        };
        let entries: Result<BTreeMap<String, Entry>, ProfileError> =
            self.entries.into_iter().map(entry).collect();
        Ok(Profile {
            graph: self.graph,
            pipeline: self.pipeline,
            rules: self.rules,
            precision: self.precision,
            mixed: self.mixed,
            method: self.method,
            weights: self.weights,
            slots: form(&self.slots)?,
            anchor: self.anchor,
            entries: entries?,
            floats: self.floats,
        })
    }
}

impl Line {
    /// The line of `entry` in a profile by the rules called `rules`.
    fn of(entry: &Entry, rules: &str) -> Self {
        let quant = &entry.encoding.quant;
        let scales: Vec<f32> = quant.scales.iter().map(|scale| scale.get()).collect();
        let same = quant.zero_points.iter().all(|zero_point| *zero_point == quant.zero_points[0]);
        Self {
            role: entry.role,
            stored: entry.encoding.stored.to_string(),
            scale: if quant.axis.is_none() { OneOrMany::One(scales[0]) } else { OneOrMany::Many(scales) },
            zero_point: if same {
                OneOrMany::One(quant.zero_points[0])
            } else {
                OneOrMany::Many(quant.zero_points.to_vec())
            },
            axis: quant.axis,
            block: quant.block,
            of: (quant.expressed != DType::F32).then(|| quant.expressed.to_string()),
            min: entry.range.min,
            max: entry.range.max,
            limit: (entry.limit != limits::usual(rules, entry.role, &entry.encoding))
                .then(|| entry.limit.unwrap_or_else(|| limits::of_all_codes(entry.encoding.stored))),
        }
    }

    fn into_entry(self, rules: &str) -> Result<Entry, String> {
        let stored: DType = self.stored.parse().map_err(|error| format!("{error}"))?;
        let expressed: Option<DType> =
            self.of.map(|of| of.parse()).transpose().map_err(|error: UnknownDType| error.to_string())?;
        let scales = match self.scale {
            OneOrMany::One(scale) => vec![scale],
            OneOrMany::Many(scales) => scales,
        };
        let zero_points = match self.zero_point {
            OneOrMany::One(zero_point) => vec![zero_point; scales.len()],
            OneOrMany::Many(zero_points) => zero_points,
        };
        let quant = Quant {
            axis: self.axis,
            block: self.block,
            scales: scales.into_iter().map(Into::into).collect(),
            zero_points: zero_points.into(),
            expressed: expressed.unwrap_or(DType::F32),
        };
        let range = Range { min: self.min, max: self.max };
        let encoding = Encoding { stored, quant };
        let all = limits::of_all_codes(stored);
        let limit = match self.limit {
            None => limits::usual(rules, self.role, &encoding),
            Some(limit) if (1..=all).contains(&limit) => (limit < all).then_some(limit),
            Some(limit) => {
                return Err(format!("its codes go {limit} from the middle, expected from 1 to {all}"));
            }
        };
        let entry = Entry { role: self.role, encoding, range, limit };
        entry.check().map(|()| entry)
    }
}

/// One line of the head.
fn line(text: &mut String, key: &str, value: &impl Serialize) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "\"{key}\": {},", json(value));
}

/// A list with a line for each item.
fn lines<'n, T: Serialize>(text: &mut String, key: &str, items: impl Iterator<Item = (&'n String, T)>) {
    let items: Vec<String> = items.map(|(name, item)| format!("\n{}: {}", json(name), json(&item))).collect();
    let end = if items.is_empty() { "" } else { "\n" };
    let _ = writeln!(text, "\"{key}\": {{{}{end}}},", items.join(","));
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("numbers and texts are JSON")
}

fn json_error(error: &serde_json::Error) -> ProfileError {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let reason = text.split(" at line ").next().unwrap_or(&text).to_owned();
    ProfileError::Json { line, column, reason }
}

/// The word for a form of slots.
pub(crate) fn form_word(form: Form) -> String {
    match form.to_attr() {
        Attr::Str(word) => word,
        _ => unreachable!("a form is a word"),
    }
}

fn form(word: &str) -> Result<Form, ProfileError> {
    let mut form = Form::default();
    let wrong = |expected| ProfileError::Word { key: "slots", found: word.to_owned(), expected };
    form.set_attr(&Attr::Str(word.to_owned())).map_err(wrong)?;
    Ok(form)
}

#[cfg(test)]
mod tests;
