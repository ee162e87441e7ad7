//! Adapters: LoRA files of every common dialect in one form, and what adapters look like inside a model.
//!
//! * [`read()`] reads a file or folder into an [`Adapter`]: for each adapted layer its path, two factors and a scale;
//! * [`resolve`] turns names with underscores into paths, by the modules of a model;
//! * [`matching`] finds the layers of a graph that adapters are for;
//! * [`branches`] finds the adapters that a model was exported with, left beside its layers.
//!
//! The factors keep PEFT's names: a branch is `scale * lora_b(lora_a(x))`. Papers, among them the one on QUAD, call the
//! second one `A` and the first one `B`.
//!
//! One file of this module reads one dialect and states its alpha rule. Nothing is skipped: a tensor that is no part of
//! a branch is an error that says what it is.

pub mod branches;
pub mod matching;

mod config;
mod config_file;
mod diffusers;
mod elements;
mod error;
mod factors;
mod grouping;
mod key;
mod kohya;
mod loha;
mod lokr;
mod matrix;
mod names;
mod normal_form;
mod peft;
mod read;
mod sgm;
mod sites;
mod unsupported;

pub use error::AdapterError;
pub use names::{Modules, resolve};
pub use normal_form::{Adapter, AdapterSite, Component, Dialect, Form, ModulePath, SiteKind, Warning};
pub use read::{ReadOptions, ZeroAlpha, read};
pub use unsupported::Unsupported;
