//! Adapters: what low-rank adapters look like inside a model.
//!
//! * [`branches`]: finds the adapters that a model was exported with, left beside its layers.

pub mod branches;
