//! What the name of a tensor says: which site it belongs to and which part of its branch it is.

use super::normal_form::{Component, Dialect, ModulePath};
use super::unsupported::{self, Unsupported};

/// A name that is understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) dialect: Dialect,
    pub(super) component: Component,
    pub(super) path: ModulePath,
    pub(super) leaf: Leaf,
    /// The name of the adapter, where the file has one in its keys.
    pub(super) adapter: Option<String>,
}

/// A part of a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Leaf {
    /// The factor that reduces to the rank.
    Down,
    /// The factor that leads back.
    Up,
    /// The kernel between them.
    Mid,
    Alpha,
    /// The factors of LoHa: `w1 = w1_a w1_b`, `w2 = w2_a w2_b`, and kernels `t1`, `t2`.
    HadaW1A,
    HadaW1B,
    HadaW2A,
    HadaW2B,
    HadaT1,
    HadaT2,
    /// The factors of LoKr: `w1` or `w1_a w1_b`, `w2` or `w2_a w2_b`, and the kernel `t2`.
    LokrW1,
    LokrW1A,
    LokrW1B,
    LokrW2,
    LokrW2A,
    LokrW2B,
    LokrT2,
}

/// What a name turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// A part of a branch.
    Part(Key),
    /// Something that is refused, in a dialect.
    Refused(Dialect, Unsupported),
}

/// Reads a name; `None` when it is in no dialect.
pub(super) fn read(name: &str) -> Option<Reading> {
    if name.starts_with("bundle_emb.") {
        return Some(Reading::Refused(Dialect::Kohya, unsupported::TEXTUAL_INVERSION));
    }
    super::kohya::read(name).or_else(|| super::peft::read(name)).or_else(|| super::diffusers::read(name))
}

/// What the endings mean that LyCORIS gave names to; dialects other than its own took them over.
pub(super) fn lycoris_leaf(leaf: &str) -> Option<Result<Leaf, Unsupported>> {
    Some(Ok(match leaf {
        "alpha" => Leaf::Alpha,
        "hada_w1_a" => Leaf::HadaW1A,
        "hada_w1_b" => Leaf::HadaW1B,
        "hada_w2_a" => Leaf::HadaW2A,
        "hada_w2_b" => Leaf::HadaW2B,
        "hada_t1" => Leaf::HadaT1,
        "hada_t2" => Leaf::HadaT2,
        "lokr_w1" => Leaf::LokrW1,
        "lokr_w1_a" => Leaf::LokrW1A,
        "lokr_w1_b" => Leaf::LokrW1B,
        "lokr_w2" => Leaf::LokrW2,
        "lokr_w2_a" => Leaf::LokrW2A,
        "lokr_w2_b" => Leaf::LokrW2B,
        "lokr_t2" => Leaf::LokrT2,
        "dora_scale" => return Some(Err(unsupported::DORA)),
        "diff" | "diff_b" => return Some(Err(unsupported::DIFF)),
        "w_norm" | "b_norm" => return Some(Err(unsupported::NORM)),
        "on_input" => return Some(Err(unsupported::IA3)),
        "oft_blocks" | "oft_diag" | "rescale" => return Some(Err(unsupported::OFT)),
        "a1.weight" | "a2.weight" | "b1.weight" | "b2.weight" | "bm.weight" => {
            return Some(Err(unsupported::GLORA));
        }
        _ => return None,
    }))
}

/// The endings of a plain branch, longest first where one contains another.
const PLAIN: &[(&str, Leaf)] = &[
    (".lora_A.weight", Leaf::Down),
    (".lora_B.weight", Leaf::Up),
    (".lora_A", Leaf::Down),
    (".lora_B", Leaf::Up),
];

/// Splits a name that ends as PEFT names factors into module, leaf and the adapter's name between the two, if any:
/// `m.lora_A.weight`, `m.lora_A`, `m.lora_A.default.weight`.
pub(super) fn split_plain(name: &str) -> Option<(&str, Leaf, Option<&str>)> {
    for (ending, leaf) in PLAIN {
        if let Some(module) = name.strip_suffix(ending) {
            return Some((module, *leaf, None));
        }
    }
    let stem = name.strip_suffix(".weight")?;
    let (module, adapter) = stem.rsplit_once('.')?;
    let (module, factor) = module.rsplit_once('.')?;
    let leaf = match factor {
        "lora_A" => Leaf::Down,
        "lora_B" => Leaf::Up,
        _ => return None,
    };
    Some((module, leaf, Some(adapter)))
}

/// Splits a name into module and an ending of LyCORIS.
pub(super) fn split_lycoris(name: &str) -> Option<(&str, Result<Leaf, Unsupported>)> {
    // The last segment, or the last two where the ending has a dot itself.
    let (module, last) = name.rsplit_once('.')?;
    if let Some(leaf) = lycoris_leaf(last) {
        return Some((module, leaf));
    }
    let (module, before) = module.rsplit_once('.')?;
    lycoris_leaf(&format!("{before}.{last}")).map(|leaf| (module, leaf))
}

/// What PEFT's names mean that are refused wherever they occur.
pub(super) fn refused_by_peft(name: &str) -> Option<Unsupported> {
    let has = |part: &str| name.contains(part);
    if has(".lora_magnitude_vector") || name.ends_with(".dora_scale") {
        Some(unsupported::DORA)
    } else if has(".lora_embedding_A") || has(".lora_embedding_B") {
        Some(unsupported::EMBEDDING)
    } else if name.ends_with(".lora_E") || has(".lora_E.") || has(".ranknum") {
        Some(unsupported::ADALORA)
    } else if has(".vera_lambda_") {
        Some(unsupported::VERA)
    } else if has(".ia3_l") {
        Some(unsupported::IA3)
    } else if has(".oft_") || has(".boft_") {
        Some(unsupported::OFT)
    } else if has(".lora_A.") || has(".lora_B.") {
        (name.rsplit('.').next() == Some("bias")).then_some(unsupported::LORA_BIAS)
    } else {
        None
    }
}
