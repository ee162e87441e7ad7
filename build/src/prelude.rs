//! What a program that builds bundles needs: `use quad_build::prelude::*`.

pub use crate::bundle::{self, Manifest, add_adapter};
pub use crate::job::{self, Job};
pub use crate::stages::{BuildError, Built, Observer, Options, StageName, Unobserved, build};
