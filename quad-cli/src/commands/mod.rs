//! The commands, one file or folder for each.

pub(crate) mod compare;
pub(crate) mod conformance;
pub(crate) mod convert;
pub(crate) mod inspect;
pub(crate) mod run;
