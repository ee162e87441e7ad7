//! Loops over elements that several operations share.

pub(crate) mod broadcast;
