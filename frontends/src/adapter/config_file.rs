//! Where configurations are: in a file beside the tensors, or in their header.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::AdapterError;
use super::config::{Config, ConfigError};
use super::normal_form::{Component, Dialect};
use crate::data::ordered::{Json, Ordered};
use crate::data::safetensors::SafeTensorsFile;

/// Bytes of a configuration beyond which it is refused.
const MAX_CONFIG: u64 = 16 << 20;

/// The configurations by component that `file` comes with; `beside` is PEFT's file in its folder, if there is one.
pub(super) fn configs(
    dialect: Dialect,
    file: &SafeTensorsFile,
    beside: Option<&Path>,
) -> Result<BTreeMap<Component, Config>, AdapterError> {
    match (dialect, beside) {
        (Dialect::Peft, Some(path)) => {
            let config = read_config(path, &config_fields(path)?)?;
            Ok(BTreeMap::from([(Component::Unnamed, config)]))
        }
        (Dialect::Peft, None) => Err(AdapterError::NoAdapter {
            path: file.path().to_owned(),
            found: "its names are PEFT's, and there is no `adapter_config.json` beside it, which says what alpha is"
                .to_owned(),
        }),
        (Dialect::Diffusers, _) => header_configs(file),
        _ => Ok(BTreeMap::new()),
    }
}

/// The fields of the configuration at `path`.
fn config_fields(path: &Path) -> Result<Vec<(String, Json)>, AdapterError> {
    let unreadable = |error| AdapterError::Unreadable { path: path.to_owned(), error };
    let wrong = |found: String| AdapterError::Configuration { path: path.to_owned(), found };
    let length = fs::metadata(path).map_err(unreadable)?.len();
    if length > MAX_CONFIG {
        return Err(wrong(format!("it has {length} bytes; more than {MAX_CONFIG} are refused")));
    }
    let text = fs::read(path).map_err(unreadable)?;
    let fields: Ordered<Json> = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
    Ok(fields.0)
}

fn read_config(path: &Path, fields: &[(String, Json)]) -> Result<Config, AdapterError> {
    let path = path.to_owned();
    Config::read(fields).map_err(|error| match error {
        ConfigError::Wrong(found) => AdapterError::Configuration { path, found },
        ConfigError::Unsupported(field, what) => {
            AdapterError::Unsupported { path, place: format!("configuration `{field}`"), what }
        }
    })
}

/// The configurations in the header of a file of diffusers: one object whose fields begin with the component.
fn header_configs(file: &SafeTensorsFile) -> Result<BTreeMap<Component, Config>, AdapterError> {
    let Some(text) = file.metadata().get("lora_adapter_metadata") else { return Ok(BTreeMap::new()) };
    let fields: Ordered<Json> = serde_json::from_str(text).map_err(|error| AdapterError::Configuration {
        path: file.path().to_owned(),
        found: format!("`lora_adapter_metadata` in the header: {error}"),
    })?;
    let mut by_component: BTreeMap<Component, Vec<(String, Json)>> = BTreeMap::new();
    for (field, value) in fields.0 {
        let split =
            field.split_once('.').and_then(|(first, rest)| Some((Component::of(first)?, rest.to_owned())));
        let (component, field) = split.unwrap_or((Component::Unnamed, field));
        by_component.entry(component).or_default().push((field, value));
    }
    let read = |(component, fields): (Component, Vec<(String, Json)>)| {
        Ok((component, read_config(file.path(), &fields)?))
    };
    by_component.into_iter().map(read).collect()
}
