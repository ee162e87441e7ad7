//! What every backend shares: legality with reasons, tables of operations, partitions, the support page.
//!
//! A backend attaches a table to operations ([`table::OpTable`]): each row says what an operation becomes, what is asked of
//! a node, and how it is emitted, side by side, so that a check and an emission cannot drift apart. An operation without a
//! row is not supported; nothing falls back in silence.
//!
//! A [`target::Target`] is a backend as a program sees it that checks models: a name, the pipeline that makes graphs legal,
//! and a verdict for each node with all reasons. [`report`] makes of verdicts what people and scripts read, with the
//! [partitions](partition) that a compiler would cut the graph into.

pub mod legality;
pub mod partition;
pub mod report;
pub mod support;
pub mod table;
pub mod target;
