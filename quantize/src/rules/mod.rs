//! What a target asks of encodings: which codes, which encodings are fixed, which values share one.
//!
//! [`Rules`] are data, with a preset for each target; `docs/profile.md` says where each rule comes from, and so does
//! [`Rules::stated`]. [`plan`](plan::plan) applies them to a graph.

pub mod graph;
pub mod islands;
pub mod layers;
pub mod plan;
mod presets;
pub mod ties;

use std::fmt;

use quad_ir::dtype::DType;
use quad_ir::ops::OpKind;

use crate::encoding::Codes;

pub use presets::{PRESETS, UnknownRules};

/// What a target asks of encodings.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// The name of the preset.
    pub name: &'static str,
    /// Codes of activations, by bits.
    pub activations: &'static [Codes],
    /// Codes of activations that are the second operand of a product of two, by bits; empty where they are like all others.
    pub second_operands: &'static [Codes],
    /// Codes of constants of layers, by bits.
    pub weights: &'static [Codes],
    /// Codes of slots that are operands of layers, by bits. A precision with more bits than the most here gets the most.
    pub slots: &'static [Codes],
    /// Codes of slots, by bits, where all layers that read one mix the channels of each position, with activations of as many
    /// bits and no bias; such a slot with bits that are not here is as others.
    pub slots_of_products: &'static [Codes],
    /// Results whose encoding the operation determines.
    pub fixed: &'static [Fixed],
    /// Operations that only move elements, or choose some: operand and result share an encoding.
    pub movers: &'static [OpKind],
    /// Biases of layers: the element type by the bits of activations.
    pub biases: &'static [(u32, DType)],
    /// What else is asked.
    pub asks: Asks,
    /// What each rule says, and where that comes from.
    pub stated: &'static [Stated],
}

bitflags::bitflags! {
    /// Rules that a target has or has not.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Asks: u8 {
        /// The parts of a concat share the encoding of the whole.
        const CONCAT = 1;
        /// The result of a layer that only a `relu` or `clip` reads has the encoding of what that makes of it.
        const FUSED_CLAMPS = 1 << 1;
        /// Constants that are added to or multiplied with activations have encodings: those of activations of their bits.
        const CONSTANTS = 1 << 2;
        /// The last values of a float island have encodings, so that what reads them computes with integers.
        const ISLAND_ENDS = 1 << 3;
        /// An encoding of signed 8-bit activations must not have its zero point at 0.
        const NONZERO_ZERO_POINTS = 1 << 4;
        /// A constant that is the first factor of a product has one scale: scales may differ along columns alone.
        const SECOND_CHANNELS = 1 << 5;
    }
}

/// An encoding that an operation determines.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fixed {
    /// The operation.
    pub op: OpKind,
    /// The stored type for which this is the encoding.
    pub stored: DType,
    /// Its scale.
    pub scale: f32,
    /// Its zero point.
    pub zero_point: i32,
}

/// A rule in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stated {
    /// What it says.
    pub rule: &'static str,
    /// Where that comes from, or how it was found.
    pub source: &'static str,
}

impl Rules {
    /// The preset called `name`.
    pub fn preset(name: &str) -> Result<Self, UnknownRules> {
        PRESETS.iter().find(|rules| rules.name == name).cloned().ok_or_else(|| UnknownRules(name.to_owned()))
    }

    /// The codes of activations of `bits`.
    pub fn activation(&self, bits: u32) -> Option<Codes> {
        of_bits(self.activations, bits)
    }

    /// The codes of a constant of a layer of `bits`.
    pub fn weight(&self, bits: u32) -> Option<Codes> {
        of_bits(self.weights, bits)
    }

    /// The codes of a slot of `bits`, or of as many as slots may have.
    pub fn slot(&self, bits: u32) -> Option<Codes> {
        let most = self.slots.iter().map(|codes| codes.stored.bits()).max()?;
        of_bits(self.slots, bits.min(most))
    }

    /// The codes of a slot of `bits` that only products with activations of `activations` bits read.
    pub fn slot_of_products(&self, bits: u32, activations: u32) -> Option<Codes> {
        let beside = of_bits(self.slots_of_products, bits).filter(|_| bits == activations);
        beside.or_else(|| self.slot(bits))
    }

    /// The encoding that `op` determines for results stored as `stored`.
    pub fn fixed(&self, op: OpKind, stored: DType) -> Option<Fixed> {
        self.fixed.iter().copied().find(|fixed| fixed.op == op && fixed.stored == stored)
    }

    /// The element type of biases beside activations of `bits`; `None` where biases stay floats.
    pub fn bias(&self, bits: u32) -> Option<DType> {
        self.biases.iter().find(|(of, _)| *of == bits).map(|(_, dtype)| *dtype)
    }
}

/// The first of `codes` with `bits`.
fn of_bits(codes: &[Codes], bits: u32) -> Option<Codes> {
    codes.iter().copied().find(|codes| codes.stored.bits() == bits)
}

/// Writes a line for each rule.
impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Stated { rule, source } in self.stated {
            writeln!(f, "{rule} ({source})")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
