//! Several operations recognized as one.

mod affine;
pub mod gelu;
pub mod group_norm;
pub mod layer_norm;
pub mod rms_norm;
pub mod silu;
mod standardized;
