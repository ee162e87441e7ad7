//! The pipelines that have a name.

use crate::registry::NamedPipeline;

/// All of them.
pub const PIPELINES: &[NamedPipeline] = &[];
