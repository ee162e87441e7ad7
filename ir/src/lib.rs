//! Typed tensor graphs.
