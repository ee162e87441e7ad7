//! From the tensors of each site to the site: its factors, and its scale by the rule of the dialect.

use std::collections::BTreeMap;
use std::path::Path;

use quad_ir::tensor::{Tensor, TensorError};

use super::config::{Config, Scaling};
use super::factors::{self, Factors, Fault, Parts};
use super::key::Leaf;
use super::normal_form::{AdapterSite, Component, Form, ModulePath, Warning};
use super::read::ZeroAlpha;
use super::{AdapterError, elements};

/// The sites of a file, as they are made.
pub(super) struct Sites<'r> {
    path: &'r Path,
    configs: BTreeMap<Component, Config>,
    zero_alpha: ZeroAlpha,
    /// Elements that may still be written out.
    budget: usize,
    /// Sites without an alpha, by component.
    unknown_alpha: BTreeMap<Component, usize>,
    made: Vec<AdapterSite>,
    warnings: Vec<Warning>,
}

/// Elements that all sites of a file together may have written out for each that the file stores. Kronecker products
/// of large models come to some fifty.
const MAX_GROWTH: usize = 256;

/// Elements that may be written out however small the file is.
const MIN_BUDGET: usize = 1 << 20;

/// Elements beyond which no file is written out.
const MAX_BUDGET: usize = 1 << 28;

/// What a file says of a site's scale.
struct Stated {
    alpha: f64,
    scale: f64,
    /// Where alpha stands.
    place: String,
}

impl<'r> Sites<'r> {
    /// No sites yet of the file at `path`, which has so many `elements`.
    pub(super) fn new(
        path: &'r Path,
        elements: usize,
        configs: BTreeMap<Component, Config>,
        zero_alpha: ZeroAlpha,
    ) -> Self {
        let budget = elements.saturating_mul(MAX_GROWTH).saturating_add(MIN_BUDGET).min(MAX_BUDGET);
        let unknown = configs.values().flat_map(|config| &config.unknown);
        let warnings = unknown.map(|field| Warning::UnknownField { field: field.clone() }).collect();
        Self { path, configs, zero_alpha, budget, unknown_alpha: BTreeMap::new(), made: Vec::new(), warnings }
    }

    /// The sites and what is odd about them.
    pub(super) fn finish(mut self) -> (Vec<AdapterSite>, Vec<Warning>) {
        let is_used = |component| self.made.iter().any(|site| site.component == component);
        for component in self.configs.keys().filter(|component| !is_used(**component)) {
            let component = component.name().to_owned();
            self.warnings.push(Warning::ConfigurationElsewhere { component });
        }
        for (component, sites) in self.unknown_alpha {
            self.warnings.push(Warning::AlphaUnknown { component, sites });
        }
        (self.made, self.warnings)
    }

    /// Adds the site that `parts` make.
    pub(super) fn add(
        &mut self,
        component: Component,
        path: ModulePath,
        parts: &Parts,
    ) -> Result<(), AdapterError> {
        let factors = || parts.iter().filter(|(leaf, _)| **leaf != Leaf::Alpha).map(|(_, part)| part);
        if let Some((name, tensor)) = factors().find(|(_, tensor)| !tensor.dtype().is_float()) {
            let (path, found) = (self.path.to_owned(), tensor.dtype());
            return Err(AdapterError::DType { path, tensor: name.clone(), found });
        }
        let made = factors::assemble(parts).map_err(|fault| self.fault(fault))?;
        let written = made.written_elements();
        self.budget = self.budget.checked_sub(written).ok_or_else(|| {
            let found =
                format!("written out as two factors it has {written} elements, too many for its file");
            self.fault(Fault { tensor: path.to_string(), found })
        })?;
        let Factors { kind, lora_a, lora_b, form, stored_rank, groups } = made;
        let (alpha, scale) = self.scaling((component, &path), parts, form, stored_rank)?;
        let site = AdapterSite { component, path, kind, lora_a, lora_b, scale, alpha, form, groups };
        if groups > 1 {
            self.warnings.push(Warning::Grouped { site: site.full_name(), groups });
        }
        for (name, tensor) in factors() {
            if self.check_elements(name, tensor)? {
                self.warnings.push(Warning::ZeroFactor { site: site.full_name(), tensor: name.clone() });
            }
        }
        self.made.push(site);
        Ok(())
    }

    /// Alpha, where there is one, and the scale.
    fn scaling(
        &mut self,
        site: (Component, &ModulePath),
        parts: &Parts,
        form: Form,
        stored_rank: Option<usize>,
    ) -> Result<(Option<f64>, f64), AdapterError> {
        let Some(Stated { alpha, scale, place }) = self.stated(site, parts, form, stored_rank)? else {
            // A Kronecker product of whole matrices needs no alpha.
            if stored_rank.is_some() {
                *self.unknown_alpha.entry(site.0).or_default() += 1;
            }
            return Ok((None, 1.0));
        };
        // An alpha of zero is none where alpha does not count.
        if scale != 0.0 {
            return Ok((Some(alpha), scale));
        }
        let scale = match self.zero_alpha {
            ZeroAlpha::Refused => {
                return Err(AdapterError::AlphaZero { path: self.path.to_owned(), tensor: place });
            }
            ZeroAlpha::Zero => 0.0,
            ZeroAlpha::One => 1.0,
        };
        self.warnings.push(Warning::AlphaZero { site: site.1.to_string(), scale });
        Ok((Some(alpha), scale))
    }

    /// What configuration or tensors say of the scale; `None` where neither does.
    fn stated(
        &mut self,
        (component, path): (Component, &ModulePath),
        parts: &Parts,
        form: Form,
        stored_rank: Option<usize>,
    ) -> Result<Option<Stated>, AdapterError> {
        if let Some(config) = self.configs.get(&component) {
            // The configured rank of a Kronecker product is not that of its tensors.
            let scaling = config.scaling(path.as_str(), stored_rank.filter(|_| form != Form::LoKr));
            let Scaling { alpha, scale, warnings } =
                scaling.map_err(|found| self.fault(Fault { tensor: path.to_string(), found }))?;
            self.warnings.extend(warnings);
            self.check_alpha_tensor(parts, stored_rank, scale)?;
            return Ok(Some(Stated { alpha, scale, place: "lora_alpha".to_owned() }));
        }
        self.stored_alpha(parts, stored_rank)
    }

    /// An alpha that is stored beside a configuration must say the same `scale`.
    fn check_alpha_tensor(
        &self,
        parts: &Parts,
        stored_rank: Option<usize>,
        scale: f64,
    ) -> Result<(), AdapterError> {
        let Some(stored) = self.stored_alpha(parts, stored_rank)? else { return Ok(()) };
        // The tensor may be in 16 bits.
        if (stored.scale - scale).abs() <= 1e-3 * scale.abs() {
            return Ok(());
        }
        let found = format!(
            "it makes the scale {}, the configuration makes it {scale}; remove the one that is wrong",
            stored.scale
        );
        Err(self.fault(Fault { tensor: stored.place, found }))
    }

    /// What the tensor with alpha says of the scale, if there is one.
    fn stored_alpha(
        &self,
        parts: &Parts,
        stored_rank: Option<usize>,
    ) -> Result<Option<Stated>, AdapterError> {
        let Some((name, tensor)) = factors::optional(parts, Leaf::Alpha) else { return Ok(None) };
        let alpha = alpha_of(tensor).map_err(|found| self.fault(Fault::new(name, found)))?;
        let scale = stored_rank.map_or(1.0, |rank| alpha / rank as f64);
        Ok(Some(Stated { alpha, scale, place: name.to_owned() }))
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
