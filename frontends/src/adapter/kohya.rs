//! kohya's scripts, LyCORIS and what sharing sites hold: `lora_unet_<module with underscores>.lora_down.weight`.
//!
//! Dots separate the module from the rest and never occur in it. Which underscores were dots, only the modules of a
//! model tell; see [`names`](super::names).
//!
//! **Alpha rule.** `scale = alpha / lora_down.shape[0]`, and 1 for a module without an alpha.

use super::key::{self, Key, Leaf, Reading};
use super::normal_form::{Component, Dialect, ModulePath};
use super::unsupported;

/// Beginnings of names and the components they stand for. A longer one comes before those it begins with.
const PREFIXES: &[(&str, Component)] = &[
    ("lora_unet_", Component::Unet),
    ("lora_te1_", Component::TextEncoder),
    ("lora_te2_", Component::TextEncoder2),
    ("lora_te3_", Component::TextEncoder3),
    ("lora_te_", Component::TextEncoder),
    ("lora_transformer_", Component::Transformer),
    ("lora_prior_unet_", Component::Prior),
    ("lora_prior_te_", Component::PriorTextEncoder),
    ("lycoris_", Component::Unnamed),
];

/// Beginnings of modules of transformers' original code, where one module is several layers elsewhere.
const FUSED: &[&str] = &["double_blocks_", "single_blocks_", "joint_blocks_"];

/// Reads a name.
pub(super) fn read(name: &str) -> Option<Reading> {
    let (token, leaf) = name.split_once('.')?;
    if token.starts_with("oft_unet_") {
        return Some(Reading::Refused(Dialect::Kohya, unsupported::OFT));
    }
    let known =
        PREFIXES.iter().find_map(|(prefix, component)| Some((token.strip_prefix(prefix)?, *component)));
    let (module, component) = known?;
    if FUSED.iter().any(|fused| module.starts_with(fused)) {
        return Some(Reading::Refused(Dialect::Kohya, unsupported::FUSED));
    }
    let leaf = match leaf {
        "lora_down.weight" => Leaf::Down,
        "lora_up.weight" => Leaf::Up,
        "lora_mid.weight" => Leaf::Mid,
        // IA3 stores nothing but this and `on_input`.
        "weight" => return Some(Reading::Refused(Dialect::Kohya, unsupported::IA3)),
        _ => match key::lycoris_leaf(leaf)? {
            Ok(leaf) => leaf,
            Err(what) => return Some(Reading::Refused(Dialect::Kohya, what)),
        },
    };
    let path = ModulePath::Mangled(module.to_owned());
    Some(Reading::Part(Key { dialect: Dialect::Kohya, component, path, leaf, adapter: None }))
}
