//! What is equal, by topic.

pub mod algebra;
mod reduction;
pub mod reshape;
pub mod scale;
pub mod transpose;
