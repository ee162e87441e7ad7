//! diffusers, in the three ways it has written adapters:
//!
//! * `<component>.<path>.lora_A.weight`, the present one ([`Dialect::Diffusers`]);
//! * `<component>.<path>.lora.down.weight`, and `..lora_linear_layer.down.weight` in text encoders
//!   ([`Dialect::DiffusersOld`]);
//! * `<component>.<path>.processor.to_q_lora.down.weight` for the projections of attention
//!   ([`Dialect::AttentionProcessor`]).
//!
//! Names without a component are read too: scripts that save the denoiser alone write them, and `state_dict()` with the
//! adapter's name between factor and `weight`.
//!
//! **Alpha rule.** With PEFT's configuration in the header (`lora_adapter_metadata`, fields prefixed by the component)
//! its rule. Without it `alpha / lora_A.shape[0]` where a module has a tensor `alpha`, else 1, as diffusers does, which
//! is reported: the alpha of training is lost.

use super::key::{self, Key, Leaf, Reading};
use super::normal_form::{Component, Dialect, ModulePath};
use super::unsupported;

/// Projections of attention by the names that processors gave them.
const OF_PROCESSOR: &[(&str, &str)] =
    &[("to_q_lora", "to_q"), ("to_k_lora", "to_k"), ("to_v_lora", "to_v"), ("to_out_lora", "to_out.0")];

/// The same in text encoders, where the modules are called otherwise.
const OF_TEXT_ENCODER: &[(&str, &str)] =
    &[("to_q_lora", "q_proj"), ("to_k_lora", "k_proj"), ("to_v_lora", "v_proj"), ("to_out_lora", "out_proj")];

/// Reads a name.
pub(super) fn read(name: &str) -> Option<Reading> {
    let (component, rest) = split_component(name);
    if is_fused(rest) {
        return Some(Reading::Refused(Dialect::Diffusers, unsupported::FUSED));
    }
    if let Some(what) = key::refused_by_peft(rest) {
        return Some(Reading::Refused(Dialect::Diffusers, what));
    }
    let part = |dialect, module: &str, leaf, adapter: Option<&str>| {
        let path = ModulePath::Dotted(module.to_owned());
        Some(Reading::Part(Key { dialect, component, path, leaf, adapter: adapter.map(str::to_owned) }))
    };
    if let Some((module, leaf, adapter)) = key::split_plain(rest) {
        return part(Dialect::Diffusers, module, leaf, adapter);
    }
    if let Some((module, leaf)) = split_down_up(rest) {
        let (dialect, module) = old_module(component, module)?;
        return part(dialect, &module, leaf, None);
    }
    match key::split_lycoris(rest)? {
        (module, Ok(leaf)) => part(Dialect::Diffusers, module, leaf, None),
        (_, Err(what)) => Some(Reading::Refused(Dialect::Diffusers, what)),
    }
}

/// The component that a name begins with, and the rest.
fn split_component(name: &str) -> (Component, &str) {
    let split = name.split_once('.').and_then(|(first, rest)| Some((Component::of(first)?, rest)));
    split.unwrap_or((Component::Unnamed, name))
}

/// Whether a path is one of a transformer's original code.
fn is_fused(path: &str) -> bool {
    let path = path.strip_prefix("diffusion_model.").unwrap_or(path);
    ["double_blocks.", "single_blocks.", "joint_blocks."].iter().any(|blocks| path.starts_with(blocks))
}

/// What comes before `.down.weight` or `.up.weight`.
fn split_down_up(name: &str) -> Option<(&str, Leaf)> {
    let down = name.strip_suffix(".down.weight").map(|stem| (stem, Leaf::Down));
    down.or_else(|| name.strip_suffix(".up.weight").map(|stem| (stem, Leaf::Up)))
}

/// Dialect and path of the module that `stem` names in one of the older ways.
fn old_module(component: Component, stem: &str) -> Option<(Dialect, String)> {
    for ending in [".lora", ".lora_linear_layer"] {
        if let Some(module) = stem.strip_suffix(ending) {
            return Some((Dialect::DiffusersOld, module.to_owned()));
        }
    }
    let (parent, projection) = stem.rsplit_once('.')?;
    let (table, dialect, parent) = match parent.strip_suffix(".processor") {
        Some(parent) => (OF_PROCESSOR, Dialect::AttentionProcessor, parent),
        None if component.is_text_encoder() => (OF_TEXT_ENCODER, Dialect::DiffusersOld, parent),
        None => return None,
    };
    let (_, module) = table.iter().find(|(name, _)| *name == projection)?;
    Some((dialect, format!("{parent}.{module}")))
}
