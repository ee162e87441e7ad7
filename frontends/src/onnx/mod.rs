//! ONNX models: read into typed graphs, and written back.
//!
//! The messages of the file format never leave this module.

mod channels_first;
mod context;
mod control_flow;
mod data_file;
mod error;
mod export;
pub(crate) mod external;
pub(crate) mod file;
mod functions;
mod header;
mod import;
mod origin;
mod proto;
mod recognize;
mod schema;
mod support;
mod survey;
mod table;
mod tensor;
mod wide_constants;
mod write_node;

#[cfg(test)]
mod fixtures;

pub use error::{ContentsError, ImportError, NodeError, UnsupportedOp};
pub use export::{WriteError, write};
pub use external::{Claim, ExternalError};
pub use file::ModelFileError;
pub use import::import;
pub use support::{Support, support};

pub(crate) use proto::TensorProto;
pub(crate) use tensor::{code_of_dtype, tensor_from_proto};
