//! Constants merged into their neighbours.

pub mod fold_scales;
