//! Clean-ups that every pipeline runs between other passes.

pub mod canonicalize;
pub mod constant_fold;
pub mod cse;
pub mod dce;
pub mod name_values;
