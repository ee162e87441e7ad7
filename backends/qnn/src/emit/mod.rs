//! Files made of a lowered graph.

pub mod ep_context;
pub mod net_json;
pub mod package;
