//! The commands, one file or folder for each.

pub(crate) mod conformance;
