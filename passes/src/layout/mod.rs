//! Where channels are: layouts of images, and moving transposes.

pub mod assign;
mod carry;
pub mod move_transposes;
mod moves;
mod order;
mod plan;
mod view;

pub(crate) use carry::carry;
pub(crate) use plan::Settings;
