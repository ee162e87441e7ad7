//! The commands, each in a file or folder of its own.

pub(crate) mod adapter;
pub(crate) mod bisect;
pub(crate) mod build;
pub(crate) mod bundle;
pub(crate) mod calibrate;
pub(crate) mod check;
pub(crate) mod compare;
pub(crate) mod completions;
pub(crate) mod conformance;
pub(crate) mod convert;
pub(crate) mod explain;
pub(crate) mod inspect;
pub(crate) mod lora;
pub(crate) mod man;
pub(crate) mod new;
pub(crate) mod opt;
pub(crate) mod passes;
mod pipeline;
pub(crate) mod profile;
pub(crate) mod qss;
pub(crate) mod quantize;
pub(crate) mod reduce;
pub(crate) mod run;
pub(crate) mod sweep;
