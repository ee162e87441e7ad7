//! Operations that targets lack, in terms of others.

pub mod convert_floats;
pub mod decompose;
pub mod linear_to_conv;
pub mod rank4;
pub mod specialize;
pub mod timesteps;
