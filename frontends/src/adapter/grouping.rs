//! The tensors of a file by the site they belong to.

use std::collections::BTreeMap;
use std::path::Path;

use quad_ir::tensor::Tensor;

use super::AdapterError;
use super::factors::Parts;
use super::key::{self, Key, Reading};
use super::normal_form::{Component, Dialect, ModulePath};
use crate::data::safetensors::SafeTensorsFile;

/// The sites of a file by component and path.
pub(super) type Groups = BTreeMap<(Component, ModulePath), Parts>;

/// Names of unknown tensors that an error lists.
const MAX_NAMES: usize = 5;

/// A tensor and what its name says.
struct Part<'f> {
    key: Key,
    name: &'f str,
    tensor: &'f Tensor,
}

/// The dialect of `file` and its tensors by site; only those in the dialect `wanted`, if there is one.
pub(super) fn groups(
    file: &SafeTensorsFile,
    wanted: Option<Dialect>,
) -> Result<(Dialect, Groups), AdapterError> {
    let parts = parts(file, wanted)?;
    let dialect = one_dialect(file.path(), &parts)?;
    one_adapter(file.path(), &parts)?;
    let mut groups = Groups::new();
    for Part { key, name, tensor } in parts {
        let parts = groups.entry((key.component, key.path)).or_default();
        if let Some((first, _)) = parts.insert(key.leaf, (name.to_owned(), tensor.clone())) {
            let found = format!("it is the same part of the same layer as `{first}`");
            return Err(AdapterError::Tensor {
                path: file.path().to_owned(),
                tensor: name.to_owned(),
                found,
            });
        }
    }
    Ok((dialect, groups))
}

/// The tensors whose names are understood, which must be all.
fn parts(file: &SafeTensorsFile, wanted: Option<Dialect>) -> Result<Vec<Part<'_>>, AdapterError> {
    let path = || file.path().to_owned();
    let (mut parts, mut unknown) = (Vec::new(), Vec::new());
    for (name, tensor) in file.tensors() {
        match key::read(name) {
            None => unknown.push(name.clone()),
            Some(Reading::Refused(dialect, what)) if wanted.is_none_or(|wanted| wanted == dialect) => {
                let place = format!("tensor `{name}`");
                return Err(AdapterError::Unsupported { path: path(), place, what });
            }
            Some(Reading::Part(key)) if wanted.is_none_or(|wanted| is_of(key.dialect, wanted)) => {
                parts.push(Part { key, name, tensor });
            }
            Some(_) => {}
        }
    }
    if unknown.is_empty() {
        return Ok(parts);
    }
    let count = unknown.len();
    unknown.truncate(MAX_NAMES);
    Err(AdapterError::Unknown { path: path(), count, names: unknown })
}

/// Whether a tensor in `dialect` is one of those to read when `wanted` is chosen. The two older ways of diffusers occur
/// together, as its scripts wrote text encoders in one and UNets in the other.
fn is_of(dialect: Dialect, wanted: Dialect) -> bool {
    let older = |dialect| matches!(dialect, Dialect::DiffusersOld | Dialect::AttentionProcessor);
    dialect == wanted || (older(dialect) && older(wanted))
}

fn one_dialect(path: &Path, parts: &[Part<'_>]) -> Result<Dialect, AdapterError> {
    let Some(first) = parts.first() else {
        let found = "it has no tensor of an adapter".to_owned();
        return Err(AdapterError::NoAdapter { path: path.to_owned(), found });
    };
    let mut dialect = first.key.dialect;
    for part in parts {
        if !is_of(part.key.dialect, dialect) {
            let [first, second] = [first, part].map(|part| (part.key.dialect, part.name.to_owned()));
            return Err(AdapterError::Mixed { path: path.to_owned(), first, second });
        }
        dialect = dialect.max(part.key.dialect);
    }
    Ok(dialect)
}

/// A file may hold the factors of one adapter only.
fn one_adapter(path: &Path, parts: &[Part<'_>]) -> Result<(), AdapterError> {
    let mut names = parts.iter().filter_map(|part| Some((part.key.adapter.as_ref()?, part.name)));
    let Some((first, _)) = names.next() else { return Ok(()) };
    match names.find(|(other, _)| *other != first) {
        Some((other, name)) => Err(AdapterError::Tensor {
            path: path.to_owned(),
            tensor: name.to_owned(),
            found: format!(
                "it is of adapter `{other}`, others are of adapter `{first}`; save each in a file of its own"
            ),
        }),
        None => Ok(()),
    }
}
