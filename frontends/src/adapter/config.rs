//! PEFT's configuration of an adapter: a file of its own, or fields in the header of diffusers' files.
//!
//! Tensors tell which layers are adapted and with which rank; the configuration tells alpha. What else it sets is
//! checked, because some of it changes what the tensors mean.

use regex::{Regex, RegexBuilder};

use super::normal_form::Warning;
use super::unsupported::{self, Unsupported};
use crate::data::ordered::Json;
use crate::data::shown;

/// Patterns beyond which a configuration is refused, and bytes that one may take compiled.
const MAX_PATTERNS: usize = 512;
const MAX_COMPILED: usize = 128 << 10;

/// What a configuration says of the scale.
#[derive(Clone, Debug)]
pub(super) struct Config {
    rank: f64,
    alpha: f64,
    rank_patterns: Vec<Pattern>,
    alpha_patterns: Vec<Pattern>,
    use_rslora: bool,
    /// Fields that are set and not known.
    pub(super) unknown: Vec<String>,
}

/// A number for the modules whose paths a regular expression fits.
#[derive(Clone, Debug)]
struct Pattern {
    key: String,
    regex: Regex,
    value: f64,
}

/// A configuration cannot be used.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ConfigError {
    /// A field is wrong.
    Wrong(String),
    /// A field sets something that is refused.
    Unsupported(String, Unsupported),
}

/// What the configuration says of one module.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scaling {
    pub(super) alpha: f64,
    pub(super) scale: f64,
    pub(super) warnings: Vec<Warning>,
}

/// Fields that change nothing in how a finished adapter is read.
const HARMLESS: &[&str] = &[
    "alpha_dropout",
    "auto_mapping",
    "base_model_name_or_path",
    "decompose_both",
    "decompose_factor",
    "ensure_weight_tying",
    "eva_config",
    "exclude_modules",
    // The base weight lies transposed; the adapter does not.
    "fan_in_fan_out",
    "inference_mode",
    "init_weights",
    "layers_pattern",
    "layers_to_transform",
    "lora_dropout",
    "megatron_core",
    "module_dropout",
    "peft_version",
    "qalora_group_size",
    "rank_dropout",
    "rank_dropout_scale",
    "revision",
    "runtime_config",
    "target_modules",
    "task_type",
    "use_effective_conv2d",
];

/// Fields that are read.
const READ: &[&str] = &[
    "peft_type",
    "r",
    "lora_alpha",
    "alpha",
    "rank_pattern",
    "alpha_pattern",
    "use_rslora",
    "bias",
    "init_lora_weights",
];

/// Fields that, when set, change what the tensors mean.
const REFUSED: &[(&str, Unsupported)] = &[
    ("use_dora", unsupported::DORA),
    ("lora_bias", unsupported::LORA_BIAS),
    ("modules_to_save", unsupported::MODULES_TO_SAVE),
    ("trainable_token_indices", unsupported::EMBEDDING),
    ("loftq_config", unsupported::INITIALIZATION),
    ("corda_config", unsupported::INITIALIZATION),
    ("lora_ga_config", unsupported::INITIALIZATION),
];

/// As [`REFUSED`], for variants without a name of their own here.
const VARIANTS: &[&str] = &[
    "use_qalora",
    "alora_invocation_tokens",
    "use_bdlora",
    "arrow_config",
    "kasa_config",
    "monteclora_config",
    "velora_config",
    "layer_replication",
    "target_parameters",
    "megatron_config",
];

impl Config {
    /// Reads the fields of a configuration.
    pub(super) fn read(fields: &[(String, Json)]) -> Result<Self, ConfigError> {
        check_type(find(fields, "peft_type"))?;
        check_refused(fields)?;
        check_initialization(find(fields, "init_lora_weights"))?;
        let alpha = number(fields, "lora_alpha")?.or(number(fields, "alpha")?);
        let unknown = fields.iter().filter(|(name, value)| {
            let listed = [READ, HARMLESS].iter().any(|list| list.contains(&name.as_str()));
            value.is_truthy() && !listed
        });
        Ok(Self {
            rank: number(fields, "r")?.unwrap_or(8.0),
            alpha: alpha.unwrap_or(8.0),
            rank_patterns: patterns(fields, "rank_pattern")?,
            alpha_patterns: patterns(fields, "alpha_pattern")?,
            use_rslora: find(fields, "use_rslora").is_some_and(Json::is_truthy),
            unknown: unknown.map(|(name, _)| name.clone()).collect(),
        })
    }

    /// Alpha and scale of the module at `path`. `rank` is that of its tensors, which must be what the configuration
    /// says; `None` where they have none, and the configured one counts.
    pub(super) fn scaling(&self, path: &str, rank: Option<usize>) -> Result<Scaling, String> {
        let mut warnings = Vec::new();
        let configured = first_match(&self.rank_patterns, path, "rank_pattern", &mut warnings);
        let configured = configured.unwrap_or(self.rank);
        if let Some(rank) = rank.filter(|rank| *rank as f64 != configured) {
            return Err(format!(
                "the configuration gives it rank {configured}, its tensors have rank {rank}"
            ));
        }
        let alpha = first_match(&self.alpha_patterns, path, "alpha_pattern", &mut warnings);
        let alpha = alpha.unwrap_or(self.alpha);
        let divisor = if self.use_rslora { configured.sqrt() } else { configured };
        Ok(Scaling { alpha, scale: alpha / divisor, warnings })
    }
}

/// The value of the first pattern that fits `path`: as Python's `re.match(r"(.*\.)?(KEY)$", path)` has it.
fn first_match(
    patterns: &[Pattern],
    path: &str,
    field: &'static str,
    warnings: &mut Vec<Warning>,
) -> Option<f64> {
    let starts = || std::iter::once(0).chain(path.match_indices('.').map(|(dot, _)| dot + 1));
    let fits = |pattern: &&Pattern| starts().any(|start| pattern.regex.is_match(&path[start..]));
    let fitting: Vec<&Pattern> = patterns.iter().filter(fits).collect();
    let first = fitting.first()?;
    if fitting.iter().any(|pattern| pattern.value != first.value) {
        let patterns = fitting.iter().map(|pattern| pattern.key.clone()).collect();
        warnings.push(Warning::SeveralPatterns { path: path.to_owned(), field, patterns });
    }
    Some(first.value)
}

fn find<'f>(fields: &'f [(String, Json)], name: &str) -> Option<&'f Json> {
    fields.iter().find(|(field, _)| field == name).map(|(_, value)| value)
}

/// A field that is a positive number or absent. Alpha may be zero, which is for the caller to refuse.
fn number(fields: &[(String, Json)], name: &str) -> Result<Option<f64>, ConfigError> {
    match find(fields, name) {
        None | Some(Json::Null) => Ok(None),
        Some(value) => positive(value, name).map(Some),
    }
}

fn positive(value: &Json, name: &str) -> Result<f64, ConfigError> {
    let is_rank = matches!(name, "r" | "rank_pattern");
    match value {
        Json::Number(number) if number.is_finite() && (*number > 0.0 || (!is_rank && *number == 0.0)) => {
            Ok(*number)
        }
        _ => Err(ConfigError::Wrong(format!("`{name}` is {value:?}, expected a positive number"))),
    }
}

fn patterns(fields: &[(String, Json)], name: &str) -> Result<Vec<Pattern>, ConfigError> {
    let entries = match find(fields, name) {
        None | Some(Json::Null) => return Ok(Vec::new()),
        Some(Json::Object(entries)) => entries,
        Some(_) => return Err(ConfigError::Wrong(format!("`{name}` is no object of patterns and numbers"))),
    };
    if entries.len() > MAX_PATTERNS {
        return Err(ConfigError::Wrong(format!("`{name}` has more than {MAX_PATTERNS} patterns")));
    }
    let pattern = |(key, value): &(String, Json)| {
        let regex = RegexBuilder::new(&format!("^(?:{key})$")).size_limit(MAX_COMPILED).build();
        let regex = regex.map_err(|error| {
            // The last line of the message says what is wrong; those before show the pattern.
            let why = error.to_string();
            let why = why.lines().last().unwrap_or_default().to_owned();
            ConfigError::Wrong(format!("pattern `{}` of `{name}` cannot be read: {why}", shown(key)))
        })?;
        Ok(Pattern { key: key.clone(), regex, value: positive(value, name)? })
    };
    entries.iter().map(pattern).collect()
}

fn check_type(value: Option<&Json>) -> Result<(), ConfigError> {
    let name = match value {
        None | Some(Json::Null) => return Ok(()),
        Some(Json::Text(name)) => name.as_str(),
        Some(_) => return Err(ConfigError::Wrong("`peft_type` is no text".to_owned())),
    };
    let what = match name {
        "LORA" | "LOHA" | "LOKR" => return Ok(()),
        "ADALORA" => unsupported::ADALORA,
        "IA3" => unsupported::IA3,
        "OFT" | "BOFT" | "HRA" => unsupported::OFT,
        "VERA" => unsupported::VERA,
        _ => {
            let found = format!("`peft_type` is `{}`, expected LORA, LOHA or LOKR", shown(name));
            return Err(ConfigError::Wrong(found));
        }
    };
    Err(ConfigError::Unsupported("peft_type".to_owned(), what))
}

fn check_refused(fields: &[(String, Json)]) -> Result<(), ConfigError> {
    for (name, value) in fields.iter().filter(|(_, value)| value.is_truthy()) {
        if let Some((_, what)) = REFUSED.iter().find(|(field, _)| field == name) {
            return Err(ConfigError::Unsupported(name.clone(), *what));
        }
        if VARIANTS.contains(&name.as_str()) {
            let found = format!("`{name}` is set, a variant that is more than a branch beside a layer");
            return Err(ConfigError::Wrong(found));
        }
        let trains_bias = matches!(value, Json::Text(bias) if bias != "none");
        if name == "bias" && trains_bias {
            return Err(ConfigError::Unsupported(name.clone(), unsupported::BIAS));
        }
    }
    Ok(())
}

/// Some initializations move a part of the base weight into the factors, which then are no difference to it.
fn check_initialization(value: Option<&Json>) -> Result<(), ConfigError> {
    match value {
        Some(Json::Text(name)) if !matches!(name.as_str(), "gaussian" | "orthogonal" | "mica" | "eva") => {
            let place = format!("init_lora_weights = {}", shown(name));
            Err(ConfigError::Unsupported(place, unsupported::INITIALIZATION))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Result<Config, ConfigError> {
        match serde_json::from_str(text) {
            Ok(Json::Object(fields)) => Config::read(&fields),
            other => panic!("no object: {other:?}"),
        }
    }

    fn scale(text: &str, path: &str, rank: usize) -> f64 {
        config(text).expect("a sound configuration").scaling(path, Some(rank)).expect("a scale").scale
    }

    #[test]
    fn the_scale_is_alpha_over_rank() {
        assert_eq!(scale(r#"{"r": 8, "lora_alpha": 16}"#, "a.to_q", 8), 2.0);
        assert_eq!(scale(r#"{"r": 4, "lora_alpha": 2.5}"#, "a.to_q", 4), 0.625);
        assert_eq!(scale(r#"{"peft_type": "LOHA", "r": 8, "alpha": 4}"#, "a.to_q", 8), 0.5);
    }

    #[test]
    fn rank_stabilized_adapters_divide_by_the_root_of_the_rank() {
        assert_eq!(scale(r#"{"r": 4, "lora_alpha": 8, "use_rslora": true}"#, "a.to_q", 4), 4.0);
    }

    #[test]
    fn patterns_fit_whole_segments_at_the_end_of_a_path() {
        let text = r#"{"r": 4, "lora_alpha": 4, "rank_pattern": {"conv": 8}, "alpha_pattern": {"conv": 2}}"#;
        assert_eq!(scale(text, "down.0.conv", 8), 0.25);
        assert_eq!(scale(text, "conv", 8), 0.25);
        for other in ["down.0.conv1", "down.0.my_conv", "conv.0"] {
            assert_eq!(scale(text, other, 4), 1.0, "{other}");
        }
    }

    #[test]
    fn the_first_of_several_patterns_counts_and_is_reported() {
        let text = r#"{"r": 4, "lora_alpha": 4, "alpha_pattern": {"to_q": 8, "attn1.to_q": 2}}"#;
        let scaling = config(text).expect("sound").scaling("b.attn1.to_q", Some(4)).expect("a scale");
        assert_eq!(scaling.scale, 2.0);
        assert!(matches!(&scaling.warnings[..], [Warning::SeveralPatterns { patterns, .. }]
            if *patterns == ["to_q", "attn1.to_q"]));
        let one = config(text).expect("sound").scaling("b.attn2.to_q", Some(4)).expect("a scale");
        assert_eq!((one.scale, one.warnings.len()), (2.0, 0));
    }

    #[test]
    fn a_rank_that_tensors_do_not_have_is_an_error() {
        let error =
            config(r#"{"r": 8, "lora_alpha": 8}"#).expect("sound").scaling("a", Some(4)).expect_err("ranks");
        assert_eq!(error, "the configuration gives it rank 8, its tensors have rank 4");
    }

    #[test]
    fn what_changes_the_meaning_of_the_factors_is_refused() {
        for (text, field) in [
            (r#"{"use_dora": true}"#, "use_dora"),
            (r#"{"lora_bias": true}"#, "lora_bias"),
            (r#"{"bias": "lora_only"}"#, "bias"),
            (r#"{"modules_to_save": ["head"]}"#, "modules_to_save"),
            (r#"{"init_lora_weights": "pissa_niter_4"}"#, "init_lora_weights = pissa_niter_4"),
            (r#"{"init_lora_weights": "olora"}"#, "init_lora_weights = olora"),
            (r#"{"peft_type": "ADALORA"}"#, "peft_type"),
            (r#"{"peft_type": "BOFT"}"#, "peft_type"),
            (r#"{"peft_type": "IA3"}"#, "peft_type"),
        ] {
            assert!(
                matches!(config(text), Err(ConfigError::Unsupported(found, _)) if found == field),
                "{text}"
            );
        }
        for text in [
            r#"{"layer_replication": [[0, 4]]}"#,
            r#"{"peft_type": "PROMPT_TUNING"}"#,
            r#"{"r": 0}"#,
            r#"{"lora_alpha": "eight"}"#,
            r#"{"alpha_pattern": {"(": 1}}"#,
            r#"{"alpha_pattern": [1]}"#,
        ] {
            assert!(matches!(config(text), Err(ConfigError::Wrong(_))), "{text}");
        }
    }

    #[test]
    fn what_is_not_set_or_harmless_is_no_reason_to_refuse() {
        let text = r#"{"use_dora": false, "bias": "none", "loftq_config": {}, "init_lora_weights": "gaussian",
            "target_modules": ["to_q"], "lora_dropout": 0.1, "brand_new": 3, "brand_new_too": null}"#;
        assert_eq!(config(text).expect("sound").unknown, ["brand_new"]);
    }
}
