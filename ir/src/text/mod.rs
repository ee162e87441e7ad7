//! The text form of modules: what is printed can be parsed back, and means the same.
//!
//! `docs/text-format.md` has the grammar. One printer and one parser serve all operations, through the description that
//! each gives of its attributes. Weights of more than 16 elements are named by digest; a [`WeightSource`] has their
//! bytes. [`write_files`] puts them into a safetensors file beside the text, [`read_files`] maps that file.
//!
//! ```
//! use quad_ir::text::{NoWeights, parse, print};
//!
//! let text = "\
//! quad 1
//!
//! graph @main(%x: f32[batch, 2]) {
//!   %half = weight 0.5 : f32[]
//!   %y = mul(%x, %half) : f32[batch, 2]
//!   return \"y\" = %y
//! }
//! ";
//! let module = parse(text, &NoWeights)?;
//! assert_eq!(print(&module)?, text);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod cursor;
mod digests;
mod error;
mod files;
mod lex;
mod literal;
mod parse;
mod parse_attr;
mod parse_node;
mod parse_type;
mod print;
mod sidecar;
mod source;
mod spelling;

pub use error::{ParseError, ParseErrorKind};
pub use files::{ReadError, WriteError, read_files, write_files};
pub use parse::parse;
pub(crate) use print::LinePrinter;
pub use print::{print, print_graph, print_nodes};
pub use sidecar::{Sidecar, SidecarError};
pub use source::{MemoryWeights, NoWeights, Stored, WeightSource};
pub use spelling::spell_attr;
