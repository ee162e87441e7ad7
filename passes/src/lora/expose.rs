//! Makes the weights of low-rank adapters inputs of the graph: beside each adapted layer comes a branch
//! `up(gain * down(x))`, and its result is added to the layer's, behind the bias.
//!
//! A site is a module path and the layers that the module became: several, where a module is called more than once.
//! Each site has three inputs, bound when an adapter is chosen, in the layout in which PEFT stores adapters, padded to a
//! common rank, and in `f32` whatever the graph computes in:
//!
//! * `<module path>.lora_A`: `[rank, in]`, or `[rank, in, kernel..]` beside a convolution;
//! * `<module path>.lora_B`: `[out, rank]`;
//! * `<module path>.lora_scale`: `[rank]`, what each rank is multiplied with: alpha over rank, times the strength.
//!
//! What is between these and the products depends on the adapter alone: transposes, scaling, the cast to the layer's
//! element type. [`hoist-adapter`](super::hoist) moves it out of the graph. With zeros for all inputs the graph computes
//! what it computed before.
//!
//! The branch of a convolution takes its kernel, strides, pads and dilations on the way down, and is a convolution by one
//! on the way up. The one of a grouped convolution is not grouped.
//!
//! Options: `layers` are the sites, `path=value` with spaces between, where `value` is the name of the layer's result and
//! may be left out when it is the path; `rank` is the common rank. `strength=fold` multiplies the scale into `lora_B`
//! when the adapter is chosen; `strength=input` keeps it an input that each run multiplies with. `form=rank-normalized`
//! divides each row of `lora_A` and each column of `lora_B` by its largest magnitude and multiplies the scale with both,
//! so that one quantization of factors fits every adapter; what each rank is multiplied with is then an input too.
//!
//! Before `expose-lora{layers="fc=y",rank=2}`:
//! ```quad
//! graph @main(%x: f32[5, 3]) {
//!   %w = weight [1.0, 2.0, -1.0, 0.5, 0.25, -2.0, 1.5, 1.0, 3.0, 0.5, 2.0, -1.0] : f32[3, 4]
//!   %y = matmul(%x, %w) : f32[5, 4]
//!   return "y" = %y
//! }
//! ```
//! After:
//! ```quad
//! graph @main(%x: f32[5, 3], %fc.lora_A: f32[2, 3] adapter, %fc.lora_B: f32[4, 2] adapter, %fc.lora_scale: f32[2] adapter) {
//!   %w = weight [1.0, 2.0, -1.0, 0.5, 0.25, -2.0, 1.5, 1.0, 3.0, 0.5, 2.0, -1.0] : f32[3, 4]
//!   %0 = matmul(%x, %w) : f32[5, 4]
//!   %1 = mul(%fc.lora_B, %fc.lora_scale) : f32[4, 2]
//!   %2 = transpose(%fc.lora_A) {perm = [1, 0]} : f32[3, 2]
//!   %3 = transpose(%1) {perm = [1, 0]} : f32[2, 4]
//!   %4 = matmul(%x, %2) : f32[5, 2]
//!   %5 = matmul(%4, %3) : f32[5, 4]
//!   %y = add(%0, %5) : f32[5, 4]
//!   return "y" = %y
//! }
//! ```

use quad_ir::attr::{AttrError, AttrVisitor};
use quad_ir::dtype::DType;
use quad_ir::graph::{AddError, Graph, NodeId, Patch, ValueId};
use quad_ir::ops::source::Binding;
use quad_ir::ops::{Abs, Add, Cast, Conv, Div, MatMul, Max, Mul, ReduceMax};
use quad_ir::types::TensorType;

use super::interface::{LORA_A, LORA_B, LORA_SCALE};
use super::layer::{Layer, LayerKind};
use crate::context::{Context, Place};
use crate::emit::Emit;
use crate::invariants::refuse_quantized;
use crate::pass::{Pass, PassError, PassInfo};

quad_ir::attr_enum! {
    /// When the scale of an adapter takes effect.
    pub enum Strength {
        /// When the adapter is chosen: it is multiplied into `lora_B`.
        #[default]
        Fold = "fold",
        /// At each run: it stays an input.
        Input = "input",
    }
}

quad_ir::attr_enum! {
    /// How the factors reach the products.
    pub enum Form {
        /// As they are.
        #[default]
        Plain = "plain",
        /// Each rank divided by its largest magnitudes, which become part of the scale.
        RankNormalized = "rank-normalized",
    }
}

/// See the [module](self). Sites as text; [`expose`] takes them as nodes.
#[derive(Clone, Debug)]
pub struct ExposeLora {
    /// `path=value` with spaces between.
    pub layers: String,
    /// The rank that adapters are padded to.
    pub rank: u64,
    /// When the scale takes effect.
    pub strength: Strength,
    /// How the factors reach the products.
    pub form: Form,
}

impl Default for ExposeLora {
    fn default() -> Self {
        Self { layers: String::new(), rank: 16, strength: Strength::Fold, form: Form::Plain }
    }
}

/// How branches are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// When the scale takes effect.
    pub strength: Strength,
    /// How the factors reach the products.
    pub form: Form,
}

/// A module and the layers of the graph that it became.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// The module's path: what its inputs are called after.
    pub path: String,
    /// Its products with the weight: one for each time that the module is called.
    pub layers: Vec<NodeId>,
    /// The rank that adapters are padded to.
    pub rank: u64,
}

/// A site cannot have a branch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("site `{path}`{place}: {found}")]
pub struct SiteError {
    path: String,
    place: String,
    found: String,
}

/// Ranks beyond which a branch is more work than any layer is worth.
const MAX_RANK: u64 = 1 << 16;

const INFO: PassInfo = PassInfo { name: "expose-lora", source: include_str!("expose.rs") };

impl Pass for ExposeLora {
    fn info(&self) -> &'static PassInfo {
        &INFO
    }

    fn options(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("layers", &mut self.layers)?;
        visitor.attr("rank", &mut self.rank)?;
        visitor.attr("strength", &mut self.strength)?;
        visitor.attr("form", &mut self.form)
    }

    fn run(&self, graph: &mut Graph, cx: &mut Context) -> Result<(), PassError> {
        let sites: Result<Vec<Site>, SiteError> =
            self.layers.split_whitespace().map(|word| self.site(graph, word)).collect();
        let (sites, options) = (sites?, Options { strength: self.strength, form: self.form });
        if !sites.is_empty() {
            refuse_quantized(graph, INFO.name)?;
        }
        expose(graph, &sites, options, cx)
    }
}

impl ExposeLora {
    fn site(&self, graph: &Graph, word: &str) -> Result<Site, SiteError> {
        let (path, value) = word.split_once('=').unwrap_or((word, word));
        let layer = graph.find(value).map(|value| value.producer().id());
        let layer = layer.ok_or_else(|| site_error(path, None, format!("there is no value %{value}")))?;
        Ok(Site { path: path.to_owned(), layers: vec![layer], rank: self.rank })
    }
}

impl From<SiteError> for PassError {
    fn from(error: SiteError) -> Self {
        Self::Refused(error.to_string())
    }
}

fn site_error(path: &str, place: Option<Place>, found: String) -> SiteError {
    let place = place.map_or_else(String::new, |place| format!(", {place} from {}", place.loc));
    SiteError { path: path.to_owned(), place, found }
}

/// Puts a branch beside every layer of `sites`. All are checked before the graph is changed.
pub fn expose(
    graph: &mut Graph,
    sites: &[Site],
    options: Options,
    cx: &mut Context,
) -> Result<(), PassError> {
    check(graph, sites)?;
    for site in sites {
        let mut factors = None;
        for layer in &site.layers {
            let layer = layer_of(graph, site, *layer)?;
            let place = Place::of(layer.node);
            let mut patch = Patch::new(graph, INFO.name);
            let made = match factors {
                Some(made) => made,
                None => Factors::expose(&mut patch, site, &layer, options)?,
            };
            let branch = made.branch(&mut patch, &layer)?;
            let joint = layer.joint().id();
            let sum = patch.add_value(Add, &[joint, branch])?;
            patch.replace(joint, sum)?;
            let edit = patch.finish()?;
            if !cx.apply(graph, edit, INFO.name, place)? {
                return Ok(());
            }
            // Values have in the graph the ids that they had in the patch.
            factors = Some(made);
        }
    }
    Ok(())
}

fn check(graph: &Graph, sites: &[Site]) -> Result<(), SiteError> {
    let mut paths: Vec<&str> = sites.iter().map(|site| site.path.as_str()).collect();
    paths.sort_unstable();
    if let Some(twice) = paths.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(site_error(twice[0], None, "it is listed twice".to_owned()));
    }
    for site in sites {
        if !(1..=MAX_RANK).contains(&site.rank) {
            let found = format!("the rank is {}, expected 1 to {MAX_RANK}", site.rank);
            return Err(site_error(&site.path, None, found));
        }
        let taken = [LORA_A, LORA_B, LORA_SCALE].map(|part| format!("{}.{part}", site.path));
        if let Some(name) = taken.iter().find(|name| graph.find(name).is_some()) {
            return Err(site_error(&site.path, None, format!("there is a value %{name} already")));
        }
        let mut layers = site.layers.iter().map(|layer| layer_of(graph, site, *layer));
        let Some(first) = layers.next().transpose()? else {
            return Err(site_error(&site.path, None, "it has no layer".to_owned()));
        };
        for layer in layers {
            let layer = layer?;
            if shape(&layer) != shape(&first) {
                let found = "its layers have different shapes, expected calls of one module".to_owned();
                return Err(site_error(&site.path, Some(Place::of(layer.node)), found));
            }
        }
    }
    Ok(())
}

/// What the factors of a layer's branch must fit.
fn shape<'l>(layer: &'l Layer<'_>) -> (u64, u64, &'l [u64], DType) {
    (layer.channels_in, layer.channels_out, layer.kind.kernel(), layer.node.result().ty().dtype)
}

fn layer_of<'g>(graph: &'g Graph, site: &Site, layer: NodeId) -> Result<Layer<'g>, SiteError> {
    if !graph.contains(layer) {
        return Err(site_error(&site.path, None, format!("{layer} is not in graph @{}", graph.name())));
    }
    let node = graph.node(layer);
    Layer::of(node).map_err(|found| site_error(&site.path, Some(Place::of(node)), found))
}

/// The factors of a branch, as its products read them.
#[derive(Clone, Copy)]
struct Factors {
    down: ValueId,
    up: ValueId,
    /// What each rank is multiplied with in between; `None` where that is in `up`.
    gain: Option<ValueId>,
}

impl Factors {
    /// Adds the inputs of `site`, and what makes factors of them for `layer`.
    fn expose(
        patch: &mut Patch<'_>,
        site: &Site,
        layer: &Layer<'_>,
        options: Options,
    ) -> Result<Self, AddError> {
        let mut input = |part: &str, sizes: &[u64]| {
            let ty = TensorType::known(DType::F32, sizes);
            patch.add_input(&format!("{}.{part}", site.path), ty, Binding::Adapter)
        };
        let kernel = layer.kind.kernel();
        let a = input(LORA_A, &[&[site.rank, layer.channels_in], kernel].concat())?;
        let b = input(LORA_B, &[layer.channels_out, site.rank])?;
        let scale = input(LORA_SCALE, &[site.rank])?;
        let factors = match (options.form, options.strength) {
            (Form::Plain, Strength::Fold) => {
                Self { down: a, up: patch.add_value(Mul, &[b, scale])?, gain: None }
            }
            (Form::Plain, Strength::Input) => Self { down: a, up: b, gain: Some(scale) },
            (Form::RankNormalized, _) => Self::normalized(patch, [a, b, scale], kernel.len())?,
        };
        factors.cast(patch, layer.node.result().ty().dtype)?.laid_out(patch, layer, site.rank)
    }

    /// Divides each rank of both factors by its largest magnitude, and multiplies the scale with both.
    fn normalized(
        patch: &mut Patch<'_>,
        [a, b, scale]: [ValueId; 3],
        kernel_axes: usize,
    ) -> Result<Self, AddError> {
        let (down, of_down) = unit_ranks(patch, a, &(1..=kernel_axes as i64 + 1).collect::<Vec<_>>())?;
        let (up, of_up) = unit_ranks(patch, b, &[0])?;
        let gain = patch.add_value(Mul, &[scale, of_down])?;
        let gain = patch.add_value(Mul, &[gain, of_up])?;
        Ok(Self { down, up, gain: Some(gain) })
    }

    /// The factors in the element type that the layer computes in.
    fn cast(self, patch: &mut Patch<'_>, to: DType) -> Result<Self, AddError> {
        if to == DType::F32 {
            return Ok(self);
        }
        let mut cast = |value| patch.add_value(Cast { to, ..Cast::default() }, &[value]);
        Ok(Self { down: cast(self.down)?, up: cast(self.up)?, gain: self.gain.map(cast).transpose()? })
    }

    /// The factors with their axes where the products want them.
    fn laid_out(self, patch: &mut Patch<'_>, layer: &Layer<'_>, rank: u64) -> Result<Self, AddError> {
        if layer.kind == LayerKind::Linear {
            let (down, up) = (patch.transpose(self.down, &[1, 0])?, patch.transpose(self.up, &[1, 0])?);
            return Ok(Self { down, up, gain: self.gain });
        }
        let ones = vec![1; layer.kind.kernel().len()];
        let up = patch.reshape(self.up, &[&[layer.channels_out as i64, rank as i64], &ones[..]].concat())?;
        let gain = self.gain.map(|gain| patch.reshape(gain, &[&[rank as i64], &ones[..]].concat()));
        Ok(Self { down: self.down, up, gain: gain.transpose()? })
    }

    /// `up(gain * down(x))` beside `layer`.
    fn branch(self, patch: &mut Patch<'_>, layer: &Layer<'_>) -> Result<ValueId, AddError> {
        let product = |patch: &mut Patch<'_>, conv: Option<Conv>, x, weight| match conv {
            None => patch.add_value(MatMul, &[x, weight]),
            Some(conv) => patch.add_value(conv, &[x, weight]),
        };
        let (down, up) = match &layer.kind {
            LayerKind::Linear => (None, None),
            LayerKind::Conv { op, .. } => (Some(op.clone()), Some(Conv::default())),
        };
        let mut hidden = product(patch, down, layer.x.id(), self.down)?;
        if let Some(gain) = self.gain {
            hidden = patch.add_value(Mul, &[hidden, gain])?;
        }
        product(patch, up, hidden, self.up)
    }
}

/// `factor` with every rank divided by its largest magnitude, and these magnitudes, one to a rank. `axes` are all axes but
/// the one of ranks. Ranks of zeros stay zeros.
fn unit_ranks(patch: &mut Patch<'_>, factor: ValueId, axes: &[i64]) -> Result<(ValueId, ValueId), AddError> {
    let magnitudes = patch.add_value(Abs, &[factor])?;
    let axes = patch.integers(axes)?;
    let largest =
        patch.add_value(ReduceMax { keepdims: true, ..ReduceMax::default() }, &[magnitudes, axes])?;
    let smallest = patch.scalar(DType::F32, f64::from(f32::MIN_POSITIVE))?;
    let divisor = patch.add_value(Max, &[largest, smallest])?;
    let unit = patch.add_value(Div, &[factor, divisor])?;
    Ok((unit, patch.reshape(largest, &[-1])?))
}

#[cfg(test)]
mod tests;
