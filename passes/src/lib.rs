//! Transformations of tensor graphs: rules, passes, pipelines, and the bench that proves them.
//!
//! A [`Rule`](rule::Rule) looks at one node and proposes a [`Patch`](quad_ir::graph::Patch). A [`Pass`](pass::Pass) is a
//! transformation of a whole graph, most often a list of rules. A [`Pipeline`](pipeline::Pipeline) is a list of passes,
//! written `canonicalize,fuse-gelu,(cse,dce)*`. [`runner::run`] runs one: it verifies, counts, times and compacts, and
//! tells observers, of which [`check::Checker`] runs the interpreter before and after every pass.
//!
//! Passes are found by name in a [`Registry`](registry::Registry), which is an explicit list.

pub mod algebra;
pub mod bench;
pub mod check;
pub mod context;
pub mod emit;
pub mod invariants;
pub mod pass;
pub mod pattern;
pub mod pipeline;
pub mod pipelines;
mod rebuild;
pub mod registry;
pub mod rule;
pub mod runner;
pub mod witness;

pub mod attention;
pub mod clean;
pub mod egraph;
pub mod fold;
pub mod fuse;
pub mod layout;
pub mod lora;
pub mod lower;
pub mod quant;
