//! Operations that targets lack, in terms of others.

pub mod convert_floats;
pub mod specialize;
