//! Why an adapter could not be read.

use std::io;
use std::path::PathBuf;

use quad_ir::dtype::DType;

use super::normal_form::Dialect;
use super::unsupported::Unsupported;
use crate::data::safetensors::SafeTensorsError;
use crate::data::shown;

/// An adapter could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdapterError {
    /// The system did not let the file or folder be read.
    #[error("`{}` cannot be read: {error}", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The file with the tensors is damaged.
    #[error(transparent)]
    File(#[from] SafeTensorsError),
    /// There is no adapter at the path.
    #[error("`{}` holds no adapter: {found}", path.display())]
    NoAdapter {
        /// The file or folder.
        path: PathBuf,
        /// What was found and what was expected.
        found: String,
    },
    /// The configuration cannot be read or says what cannot be.
    #[error("`{}`, configuration: {found}", path.display())]
    Configuration {
        /// The file that holds it.
        path: PathBuf,
        /// What was found and what was expected.
        found: String,
    },
    /// It is something other than a low-rank branch.
    #[error("`{}`, {}: {} is not supported: {}", path.display(), shown(place), what.name, what.why)]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The tensor, or the field of the configuration.
        place: String,
        /// What it is and why it is refused.
        what: Unsupported,
    },
    /// Names of tensors are in no dialect.
    #[error("`{}`: {} that belong to no known kind of adapter: {}", path.display(), tensors(*count), list(names))]
    Unknown {
        /// The file.
        path: PathBuf,
        /// How many.
        count: usize,
        /// Names of the first.
        names: Vec<String>,
    },
    /// Names of tensors are in several dialects.
    #[error(
        "`{}` mixes dialects: `{}` is {}, `{}` is {}; choose one of them",
        path.display(), shown(&first.1), first.0.name(), shown(&second.1), second.0.name()
    )]
    Mixed {
        /// The file.
        path: PathBuf,
        /// A dialect and a tensor in it.
        first: (Dialect, String),
        /// Another.
        second: (Dialect, String),
    },
    /// The tensors of a site do not make a branch.
    #[error("`{}`, tensor `{}`: {found}", path.display(), shown(tensor))]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor, or the one that is missing.
        tensor: String,
        /// What was found and what was expected.
        found: String,
    },
    /// Elements of a tensor are of a type that no adapter has.
    #[error("`{}`, tensor `{}`: elements are {found}, expected floating-point numbers", path.display(), shown(tensor))]
    DType {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// What they are.
        found: DType,
    },
    /// An element is no number.
    #[error("`{}`, tensor `{}`: element {index} is {value}", path.display(), shown(tensor))]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Where in row-major order.
        index: usize,
        /// What it is.
        value: f32,
    },
    /// Alpha is zero, which tools read in two ways.
    #[error(
        "`{}`, tensor `{}`: alpha is 0, which some tools read as a scale of 0 and others as a scale of 1; say which",
        path.display(), shown(tensor)
    )]
    AlphaZero {
        /// The file.
        path: PathBuf,
        /// The tensor, or the field of the configuration.
        tensor: String,
    },
    /// Names with underscores fit no module of the model, or several.
    #[error("`{}`: {found}", path.display())]
    Names {
        /// The file.
        path: PathBuf,
        /// What was found and what was expected.
        found: String,
    },
}

fn tensors(count: usize) -> String {
    if count == 1 { "1 tensor".to_owned() } else { format!("{count} tensors") }
}

/// Names in quotes, with commas between them.
fn list(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{}`", shown(name))).collect();
    quoted.join(", ")
}
