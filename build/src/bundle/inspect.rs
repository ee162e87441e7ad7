//! Whether a bundle is what its page says.

use std::fs;
use std::path::Path;

use quad_frontends::data::safetensors::SafeTensorsFile;
use serde::Serialize;

use super::{BundleError, MANIFEST, Manifest, at};
use crate::cache;
use crate::packed;

/// Something that is not as the page says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The file, by its path in the bundle.
    pub file: String,
    /// What is wrong with it.
    pub what: String,
}

/// Everything in the bundle at `folder` that is not as `manifest` says.
pub fn verify(folder: &Path, manifest: &Manifest) -> Result<Vec<Fault>, BundleError> {
    let mut faults = Vec::new();
    let mut fault = |file: &str, what: String| faults.push(Fault { file: file.to_owned(), what });
    for (file, entry) in &manifest.files {
        let path = folder.join(file);
        match fs::metadata(&path) {
            Err(error) => fault(file, error.to_string()),
            Ok(meta) if meta.len() != entry.bytes => {
                fault(file, format!("has {} bytes instead of {}", meta.len(), entry.bytes));
            }
            Ok(_) => {
                let found = cache::hash(&path).map_err(at(&path))?;
                if found != entry.digest {
                    fault(file, format!("has other contents: {found} instead of {}", entry.digest));
                }
            }
        }
    }
    for file in cache::files(folder).map_err(at(folder))?.into_keys() {
        if file != MANIFEST && !manifest.files.contains_key(&file) {
            fault(&file, "is not of the bundle".to_owned());
        }
    }
    for (name, target) in &manifest.targets {
        for (adapter, page) in &target.adapters {
            let file = SafeTensorsFile::open(&folder.join(&page.file));
            let slots = file.map_err(|error| error.to_string()).and_then(|file| {
                packed::slots_for(&file, &target.facts.model).map_err(|error| error.to_string())
            });
            match slots {
                Err(error) => fault(&page.file, format!("cannot be bound on {name}: {error}")),
                Ok(slots) => {
                    let missing = target.facts.slots.iter().find(|slot| !slots.contains_key(&slot.name));
                    if let Some(slot) = missing {
                        fault(&page.file, format!("adapter {adapter} lacks slot {}", slot.name));
                    }
                }
            }
        }
    }
    Ok(faults)
}
