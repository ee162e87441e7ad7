//! Sensitivity: how much quantization costs each adapter and each layer, and which adapter the encodings are taken from.

pub mod bench;
pub mod choice;
pub mod divergence;
pub mod layers;
pub mod matrix;

#[cfg(test)]
mod tests;
