//! Clean-ups that every pipeline runs between other passes.

pub mod dce;
