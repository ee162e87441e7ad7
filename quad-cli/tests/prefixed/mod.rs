//! Arrays of an archive that several runs share, told apart by how their names begin.

use quad_frontends::data::DataError;
use quad_frontends::data::npz::Archive;
use quad_ir::interpret::NamedTensors;

/// The arrays whose names start with `prefix`, under what follows it.
pub(crate) fn with_prefix(io: &mut Archive, prefix: &str) -> Result<NamedTensors, DataError> {
    let names: Vec<String> =
        io.names().filter_map(|name| name.strip_prefix(prefix).map(str::to_owned)).collect();
    names.into_iter().map(|name| Ok((name.clone(), io.read(&format!("{prefix}{name}"), None)?))).collect()
}
