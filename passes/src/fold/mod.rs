//! Constants merged into their neighbours.

pub mod equalize;
pub mod fold_scales;
