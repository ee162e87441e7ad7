//! Several operations recognized as one.

mod affine;
pub mod conv_batch_norm;
pub mod conv_bias;
pub mod gelu;
pub mod group_norm;
pub mod layer_norm;
mod narrow;
pub mod pad;
pub mod resize;
pub mod rms_norm;
pub mod silu;
pub mod softmax;
pub mod split_projections;
mod standardized;
