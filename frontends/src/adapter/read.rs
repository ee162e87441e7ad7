//! Reads an adapter of any dialect.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use super::config_file::configs;
use super::grouping::groups;
use super::names::{self, Modules};
use super::normal_form::{Adapter, Dialect};
use super::sites::Sites;
use super::{AdapterError, unsupported};
use crate::data::safetensors::SafeTensorsFile;

/// What a caller decides about reading.
#[derive(Clone, Debug, Default)]
pub struct ReadOptions {
    /// The model's modules. Without them, names with underscores stay as they are ([`ModulePath::Mangled`]).
    pub modules: Option<Modules>,
    /// The dialect to read from a file that mixes several; tensors in others are left out.
    pub dialect: Option<Dialect>,
    /// What an alpha of zero means.
    pub zero_alpha: ZeroAlpha,
}

/// What an alpha of zero means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ZeroAlpha {
    /// It is an error.
    #[default]
    Refused,
    /// The scale is 0, as ComfyUI, A1111 and diffusers have it: the adapter does nothing there.
    Zero,
    /// The scale is 1, as kohya's scripts and LyCORIS have it.
    One,
}

/// Reads the adapter at `path`: a safetensors file, or a folder with one as PEFT and diffusers write them.
///
/// Every tensor of the file becomes part of a site, or is an error. Factors that are stored as such stay views of the
/// mapped file.
pub fn read(path: &Path, options: &ReadOptions) -> Result<Adapter, AdapterError> {
    let found = locate(path)?;
    let file = SafeTensorsFile::open(&found.tensors)?;
    let (dialect, groups) = groups(&file, options.dialect)?;
    let configs = configs(dialect, &file, found.config.as_deref())?;
    let elements = file.tensors().iter().map(|(_, tensor)| tensor.len()).sum();
    let mut sites = Sites::new(&found.tensors, elements, configs, options.zero_alpha);
    for ((component, path), parts) in groups {
        sites.add(component, path, &parts)?;
    }
    let (sites, warnings) = sites.finish();
    let mut adapter = Adapter { name: found.name, source: path.to_owned(), dialect, sites, warnings };
    if let Some(modules) = &options.modules {
        names::resolve(&mut adapter, modules)?;
    }
    Ok(adapter)
}

/// The files of an adapter.
struct Found {
    name: String,
    tensors: PathBuf,
    /// PEFT's configuration beside the tensors.
    config: Option<PathBuf>,
}

/// Names that tools give the file in a folder.
const TENSOR_FILES: &[&str] = &["adapter_model.safetensors", "pytorch_lora_weights.safetensors"];

/// What of `folder` may be meant.
fn others(folder: &Path) -> String {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_file = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "safetensors");
    let mut files: Vec<PathBuf> = entries.filter(is_file).collect();
    files.sort();
    match files.as_slice() {
        [] => ", and no other .safetensors file".to_owned(),
        [only] => format!("; name the file in it: `{}`", only.display()),
        [first, rest @ ..] => {
            format!("; name one of the files in it: `{}`, or one of {} more", first.display(), rest.len())
        }
    }
}

fn locate(path: &Path) -> Result<Found, AdapterError> {
    let unreadable = |error| AdapterError::Unreadable { path: path.to_owned(), error };
    let name = |name: Option<&OsStr>| name.unwrap_or_default().to_string_lossy().into_owned();
    let beside =
        |tensors: &Path| Some(tensors.with_file_name("adapter_config.json")).filter(|path| path.is_file());
    if fs::metadata(path).map_err(unreadable)?.is_dir() {
        let tensors = TENSOR_FILES.iter().map(|file| path.join(file)).find(|file| file.is_file());
        let tensors = tensors.ok_or_else(|| AdapterError::NoAdapter {
            path: path.to_owned(),
            found: format!("the folder has neither `{}`{}", TENSOR_FILES.join("` nor `"), others(path)),
        })?;
        return Ok(Found { name: name(path.file_name()), config: beside(&tensors), tensors });
    }
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    if matches!(ending, "bin" | "pt" | "pth" | "ckpt") {
        let place = "the whole file".to_owned();
        return Err(AdapterError::Unsupported { path: path.to_owned(), place, what: unsupported::PICKLE });
    }
    Ok(Found { name: name(path.file_stem()), tensors: path.to_owned(), config: beside(path) })
}
