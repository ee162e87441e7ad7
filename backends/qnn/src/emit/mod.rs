//! Files made of a lowered graph.

pub mod dlc;
pub mod ep_context;
pub mod net_json;
pub mod package;
