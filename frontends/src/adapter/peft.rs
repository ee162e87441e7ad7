//! PEFT: a folder with `adapter_config.json` and `adapter_model.safetensors`, whose tensors are
//! `base_model.model.<path>.lora_A.weight` and `..lora_B.weight`.
//!
//! **Alpha rule.** `scale = alpha / r`, or `alpha / sqrt(r)` with `use_rslora`, where `alpha` is that of the first entry
//! of `alpha_pattern` that fits the path, else `lora_alpha`. See [`config`](super::config).

use super::key::{self, Key, Reading};
use super::normal_form::{Component, Dialect, ModulePath};
use super::unsupported;

/// What stands before every path. Early scripts for diffusers added a component.
const PREFIXES: &[&str] = &["base_model.model.", "unet.base_model.model."];

/// Reads a name.
pub(super) fn read(name: &str) -> Option<Reading> {
    let rest = PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix))?;
    let refused = |what| Some(Reading::Refused(Dialect::Peft, what));
    if let Some(what) = key::refused_by_peft(rest) {
        return refused(what);
    }
    let (module, leaf, adapter) = if let Some(plain) = key::split_plain(rest) {
        plain
    } else if let Some((module, leaf)) = key::split_lycoris(rest) {
        match leaf {
            Ok(leaf) => (module, leaf, None),
            Err(what) => return refused(what),
        }
    } else {
        // A parameter of the model itself. PEFT stores biases this way when it trains them.
        return match rest.rsplit_once('.')?.1 {
            "weight" => refused(unsupported::MODULES_TO_SAVE),
            "bias" => refused(unsupported::BIAS),
            _ => None,
        };
    };
    Some(Reading::Part(Key {
        dialect: Dialect::Peft,
        component: Component::Unnamed,
        path: ModulePath::Dotted(module.to_owned()),
        leaf,
        adapter: adapter.map(str::to_owned),
    }))
}
