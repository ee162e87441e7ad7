//! Reads an adapter of any dialect.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use quad_ir::tensor::{Tensor, TensorError};

use super::config::{Config, ConfigError, Scaling};
use super::factors::{self, Factors, Fault, Parts};
use super::key::{self, Key, Leaf, Reading};
use super::names::{self, Modules};
use super::normal_form::{Adapter, AdapterSite, Component, Dialect, Form, ModulePath, Warning};
use super::{AdapterError, elements, unsupported};
use crate::data::ordered::{Json, Ordered};
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

/// Names of unknown tensors that an error lists.
const MAX_NAMES: usize = 5;

/// Bytes of a configuration beyond which it is refused.
const MAX_CONFIG: u64 = 16 << 20;

/// The sites of a file by component and path.
type Groups = BTreeMap<(Component, ModulePath), Parts>;

/// Reads the adapter at `path`: a safetensors file, or a folder with one as PEFT and diffusers write them.
///
/// Every tensor of the file becomes part of a site, or is an error. Factors that are stored as such stay views of the
/// mapped file.
pub fn read(path: &Path, options: &ReadOptions) -> Result<Adapter, AdapterError> {
    let found = locate(path)?;
    let file = SafeTensorsFile::open(&found.tensors)?;
    let (dialect, groups) = groups(&file, options.dialect)?;
    let mut reader = Reader {
        path: &found.tensors,
        configs: configs(dialect, &file, &found)?,
        zero_alpha: options.zero_alpha,
        unknown_alpha: BTreeMap::new(),
        warnings: Vec::new(),
    };
    reader.warn_of_configs(&groups);
    let sites: Result<Vec<AdapterSite>, AdapterError> =
        groups.into_iter().map(|((component, path), parts)| reader.site(component, path, &parts)).collect();
    let mut adapter = Adapter {
        name: found.name,
        source: path.to_owned(),
        dialect,
        sites: sites?,
        warnings: reader.into_warnings(),
    };
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

fn locate(path: &Path) -> Result<Found, AdapterError> {
    let unreadable = |error| AdapterError::Unreadable { path: path.to_owned(), error };
    let name = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let beside =
        |tensors: &Path| Some(tensors.with_file_name("adapter_config.json")).filter(|path| path.is_file());
    if fs::metadata(path).map_err(unreadable)?.is_dir() {
        let tensors = TENSOR_FILES.iter().map(|file| path.join(file)).find(|file| file.is_file());
        let tensors = tensors.ok_or_else(|| AdapterError::NoAdapter {
            path: path.to_owned(),
            found: format!("the folder has neither `{}`", TENSOR_FILES.join("` nor `")),
        })?;
        return Ok(Found { name: name(path), config: beside(&tensors), tensors });
    }
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    if matches!(ending, "bin" | "pt" | "pth" | "ckpt") {
        let place = "the whole file".to_owned();
        return Err(AdapterError::Unsupported { path: path.to_owned(), place, what: unsupported::PICKLE });
    }
    Ok(Found { name: name(path), tensors: path.to_owned(), config: beside(path) })
}

/// The dialect of `file` and its tensors by site.
fn groups(file: &SafeTensorsFile, wanted: Option<Dialect>) -> Result<(Dialect, Groups), AdapterError> {
    let path = || file.path().to_owned();
    let mut unknown = Vec::new();
    let mut keys: Vec<(Key, &str, &Tensor)> = Vec::new();
    for (name, tensor) in file.tensors() {
        match key::read(name) {
            None => unknown.push(name.clone()),
            Some(Reading::Refused(dialect, what)) => {
                if wanted.is_none_or(|wanted| wanted == dialect) {
                    return Err(AdapterError::Unsupported {
                        path: path(),
                        place: format!("tensor `{name}`"),
                        what,
                    });
                }
            }
            Some(Reading::Part(key)) => {
                if wanted.is_none_or(|wanted| is_of(key.dialect, wanted)) {
                    keys.push((key, name, tensor));
                }
            }
        }
    }
    if !unknown.is_empty() {
        let count = unknown.len();
        unknown.truncate(MAX_NAMES);
        return Err(AdapterError::Unknown { path: path(), count, names: unknown });
    }
    let dialect = one_dialect(file.path(), &keys)?;
    one_adapter(file.path(), &keys)?;
    let mut groups = Groups::new();
    for (key, name, tensor) in keys {
        let parts = groups.entry((key.component, key.path)).or_default();
        if let Some((first, _)) = parts.insert(key.leaf, (name.to_owned(), tensor.clone())) {
            let found = format!("it is the same part of the same layer as `{first}`");
            return Err(AdapterError::Tensor { path: path(), tensor: name.to_owned(), found });
        }
    }
    Ok((dialect, groups))
}

/// Whether a tensor in `dialect` is one of those to read when `wanted` is chosen. The two older ways of diffusers occur
/// together, as its scripts wrote text encoders in one and UNets in the other.
fn is_of(dialect: Dialect, wanted: Dialect) -> bool {
    let older = |dialect| matches!(dialect, Dialect::DiffusersOld | Dialect::AttentionProcessor);
    dialect == wanted || (older(dialect) && older(wanted))
}

fn one_dialect(path: &Path, keys: &[(Key, &str, &Tensor)]) -> Result<Dialect, AdapterError> {
    let Some((first, name, _)) = keys.first() else {
        let found = "it has no tensor of an adapter".to_owned();
        return Err(AdapterError::NoAdapter { path: path.to_owned(), found });
    };
    let mut dialect = first.dialect;
    for (key, other, _) in keys {
        if !is_of(key.dialect, dialect) {
            let (first, second) = ((first.dialect, (*name).to_owned()), (key.dialect, (*other).to_owned()));
            return Err(AdapterError::Mixed { path: path.to_owned(), first, second });
        }
        dialect = dialect.max(key.dialect);
    }
    Ok(dialect)
}

/// A file may hold the factors of one adapter only.
fn one_adapter(path: &Path, keys: &[(Key, &str, &Tensor)]) -> Result<(), AdapterError> {
    let mut names = keys.iter().filter_map(|(key, name, _)| Some((key.adapter.as_ref()?, *name)));
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

/// The configurations by component that a file comes with.
fn configs(
    dialect: Dialect,
    file: &SafeTensorsFile,
    found: &Found,
) -> Result<BTreeMap<Component, Config>, AdapterError> {
    match (dialect, &found.config) {
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

/// Makes sites of groups of tensors.
struct Reader<'r> {
    path: &'r Path,
    configs: BTreeMap<Component, Config>,
    zero_alpha: ZeroAlpha,
    /// Sites without an alpha, by component.
    unknown_alpha: BTreeMap<Component, usize>,
    warnings: Vec<Warning>,
}

impl Reader<'_> {
    fn warn_of_configs(&mut self, groups: &Groups) {
        for (component, config) in &self.configs {
            let is_used = groups.keys().any(|(other, _)| other == component);
            let unknown = config.unknown.iter().map(|field| Warning::UnknownField { field: field.clone() });
            self.warnings.extend(unknown);
            if !is_used {
                let component = component.name().to_owned();
                self.warnings.push(Warning::ConfigurationElsewhere { component });
            }
        }
    }

    fn into_warnings(mut self) -> Vec<Warning> {
        let unknown = self.unknown_alpha.iter();
        self.warnings.extend(
            unknown.map(|(component, sites)| Warning::AlphaUnknown { component: *component, sites: *sites }),
        );
        self.warnings
    }

    fn site(
        &mut self,
        component: Component,
        path: ModulePath,
        parts: &Parts,
    ) -> Result<AdapterSite, AdapterError> {
        for (name, tensor) in parts.iter().filter(|(leaf, _)| **leaf != Leaf::Alpha).map(|(_, part)| part) {
            let (path, found) = (self.path.to_owned(), tensor.dtype());
            if !found.is_float() {
                return Err(AdapterError::DType { path, tensor: name.clone(), found });
            }
        }
        let factors = factors::assemble(parts).map_err(|fault| self.fault(fault))?;
        let Factors { kind, lora_a, lora_b, form, stored_rank, groups } = factors;
        let (alpha, scale) = self.scaling(component, &path, parts, form, stored_rank)?;
        let site = AdapterSite { component, path, kind, lora_a, lora_b, scale, alpha, form };
        if groups > 1 {
            self.warnings.push(Warning::Grouped { site: site.full_name(), groups });
        }
        for (name, tensor) in parts.iter().filter(|(leaf, _)| **leaf != Leaf::Alpha).map(|(_, part)| part) {
            if self.check_elements(name, tensor)? {
                self.warnings.push(Warning::ZeroFactor { site: site.full_name(), tensor: name.clone() });
            }
        }
        Ok(site)
    }

    /// Alpha, where there is one, and the scale by the rule of the dialect.
    fn scaling(
        &mut self,
        component: Component,
        path: &ModulePath,
        parts: &Parts,
        form: Form,
        stored_rank: Option<usize>,
    ) -> Result<(Option<f64>, f64), AdapterError> {
        let (alpha, scale, place) = if let Some(config) = self.configs.get(&component) {
            // The configured rank of a Kronecker product is not that of its tensors.
            let rank = stored_rank.filter(|_| form != Form::LoKr);
            let scaling = config.scaling(path.as_str(), rank);
            let Scaling { alpha, scale, warnings } =
                scaling.map_err(|found| self.fault(Fault { tensor: path.to_string(), found }))?;
            self.warnings.extend(warnings);
            (alpha, scale, "lora_alpha")
        } else if let Some((name, tensor)) = factors::optional(parts, Leaf::Alpha) {
            let alpha = alpha_of(tensor).map_err(|found| self.fault(Fault::new(name, found)))?;
            let Some(rank) = stored_rank else { return Ok((Some(alpha), 1.0)) };
            (alpha, alpha / rank as f64, name)
        } else {
            // A Kronecker product of whole matrices needs none.
            if stored_rank.is_some() {
                *self.unknown_alpha.entry(component).or_default() += 1;
            }
            return Ok((None, 1.0));
        };
        if alpha != 0.0 {
            return Ok((Some(alpha), scale));
        }
        let scale = match self.zero_alpha {
            ZeroAlpha::Refused => {
                return Err(AdapterError::AlphaZero { path: self.path.to_owned(), tensor: place.to_owned() });
            }
            ZeroAlpha::Zero => 0.0,
            ZeroAlpha::One => 1.0,
        };
        let site = ModulePath::to_string(path);
        self.warnings.push(Warning::AlphaZero { site, scale });
        Ok((Some(alpha), scale))
    }

    /// Every element is a number. Whether all are zero.
    fn check_elements(&self, name: &str, tensor: &Tensor) -> Result<bool, AdapterError> {
        let mut is_zero = true;
        let checked = elements::visit(tensor, |start, piece| {
            is_zero &= piece.iter().all(|element| *element == 0.0);
            match piece.iter().position(|element| !element.is_finite()) {
                Some(at) => Err(Unsound::NotFinite { index: start + at, value: piece[at] }),
                None => Ok(()),
            }
        });
        match checked {
            Ok(()) => Ok(is_zero),
            Err(Unsound::NotFinite { index, value }) => {
                let (path, tensor) = (self.path.to_owned(), name.to_owned());
                Err(AdapterError::NotFinite { path, tensor, index, value })
            }
            Err(Unsound::Tensor(error)) => Err(self.fault(Fault::new(name, error.to_string()))),
        }
    }

    fn fault(&self, Fault { tensor, found }: Fault) -> AdapterError {
        AdapterError::Tensor { path: self.path.to_owned(), tensor, found }
    }
}

/// Why the elements of a factor are refused.
enum Unsound {
    NotFinite { index: usize, value: f32 },
    Tensor(TensorError),
}

impl From<TensorError> for Unsound {
    fn from(error: TensorError) -> Self {
        Self::Tensor(error)
    }
}

/// The number in a tensor `alpha`.
fn alpha_of(tensor: &Tensor) -> Result<f64, String> {
    let is_number = tensor.dtype().is_float() || tensor.dtype().is_integer();
    if tensor.rank() > 1 || tensor.len() != 1 || !is_number {
        return Err(format!("alpha is {}{:?}, expected one number", tensor.dtype(), tensor.sizes()));
    }
    match tensor.to_f64().map_err(|error| error.to_string())?.first() {
        Some(alpha) if alpha.is_finite() => Ok(*alpha),
        other => Err(format!("alpha is {other:?}, expected a finite number")),
    }
}
