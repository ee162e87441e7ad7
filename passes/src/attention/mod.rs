//! Attention: recognising it, splitting its heads, and lowering it for targets that do not have it.

mod axes;
mod cut;
mod form;
pub mod fuse_attention;
pub mod lower_attention;
pub mod separate_heads;
pub mod split_heads;
#[cfg(test)]
mod testing;
