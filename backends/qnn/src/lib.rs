//! Graphs for Qualcomm's neural processors (HTP): from the IR to QNN, and from there to what runs.
//!
//! [`table`] lowers a graph. [`model`] is a QNN graph as plain data, and [`mod@raise`] says one in operations of the IR
//! again, for ONNX and the interpreter. [`native`] hands one to Qualcomm's libraries, which are found at run time,
//! never linked and never shipped, in a process of its own. `ffi` is what the two agree on in memory, and the only
//! `unsafe` code. `faults` is about what their compiler gets wrong.

pub mod emit;
mod faults;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod ffi;
pub mod model;
pub mod native;
pub mod raise;
pub mod soc;
pub mod table;
pub mod target;
mod version;

pub use version::Version;
