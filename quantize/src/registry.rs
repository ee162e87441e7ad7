//! The passes of this crate by name.

use quad_passes::registry::Registry;

use crate::insert::InsertQuant;

/// `registry` and the passes of this crate.
#[must_use]
pub fn with_passes(registry: Registry) -> Registry {
    registry.with::<InsertQuant>("quantize")
}
