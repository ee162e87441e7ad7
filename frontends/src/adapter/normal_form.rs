//! The form that all dialects are brought into.

use std::fmt;
use std::path::PathBuf;

use quad_ir::tensor::Tensor;

/// A LoRA adapter: low-rank branches and the layers they stand beside.
///
/// A layer with weight `W` and input `x` becomes `Wx + scale * lora_b(lora_a(x))`. The names are PEFT's. Papers, among
/// them the one on QUAD, write `W + AB` and mean by `A` what is `lora_b` here.
#[derive(Clone, Debug)]
pub struct Adapter {
    /// The file's or folder's name without its ending.
    pub name: String,
    /// The file or folder it was read from.
    pub source: PathBuf,
    /// How the file was written.
    pub dialect: Dialect,
    /// The layers it adapts, ordered by component and path; each is there once.
    pub sites: Vec<AdapterSite>,
    /// What is odd about the file but can be read in one way only, or has a documented reading.
    pub warnings: Vec<Warning>,
}

/// A layer and the branch beside it.
#[derive(Clone, Debug)]
pub struct AdapterSite {
    /// The part of the pipeline that the layer is in.
    pub component: Component,
    /// Where in that part the layer is.
    pub path: ModulePath,
    /// What kind of layer it is, as far as the shapes tell.
    pub kind: SiteKind,
    /// The factor that reduces to the rank: `[rank, in]`, or `[rank, in, kernel..]` for a convolution.
    pub lora_a: Tensor,
    /// The factor that leads back to the layer's channels: `[out, rank]`, for convolutions too.
    pub lora_b: Tensor,
    /// What the branch is multiplied with: the dialect's alpha rule, resolved.
    pub scale: f64,
    /// The alpha that the file gives, where it gives one.
    pub alpha: Option<f64>,
    /// How the file had the branch.
    pub form: Form,
    /// The groups of a convolution that the file has `lora_b` for, written out here; 1 where it is stored whole. Only a
    /// layer with as many groups has such a branch.
    pub groups: usize,
}

/// The kinds of adapted layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SiteKind {
    /// A matrix product.
    Linear,
    /// A convolution. `lora_a` has its kernel and takes its strides and pads; `lora_b` is a convolution by one.
    Conv,
}

impl SiteKind {
    /// The kind in a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Conv => "conv",
        }
    }
}

/// How a file says what a branch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// Its two factors.
    Lora,
    /// A convolution of three factors: the kernel in the middle, between channels reduced on both sides.
    Tucker,
    /// The elementwise product of two low-rank matrices, whose rank is the product of theirs.
    LoHa,
    /// The Kronecker product of two matrices, whose rank is the product of theirs.
    LoKr,
}

impl Form {
    /// The name that its users know.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lora => "LoRA",
            Self::Tucker => "LoCon with a middle factor",
            Self::LoHa => "LoHa",
            Self::LoKr => "LoKr",
        }
    }
}

/// The ways in which tools name tensors and store scales.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dialect {
    /// PEFT: a folder with `adapter_config.json`; `base_model.model.<path>.lora_A.weight`.
    Peft,
    /// diffusers: `<component>.<path>.lora_A.weight`, with or without PEFT's configuration in the header.
    Diffusers,
    /// diffusers before it used PEFT: `<component>.<path>.lora.down.weight`.
    DiffusersOld,
    /// The first diffusers: `<component>.<path>.processor.to_q_lora.down.weight`.
    AttentionProcessor,
    /// kohya's scripts, LyCORIS and most files on sharing sites: `lora_unet_<path with underscores>.lora_down.weight`.
    Kohya,
}

impl Dialect {
    /// All dialects.
    pub const ALL: [Self; 5] =
        [Self::Peft, Self::Diffusers, Self::DiffusersOld, Self::AttentionProcessor, Self::Kohya];

    /// The dialect in a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Peft => "peft",
            Self::Diffusers => "diffusers",
            Self::DiffusersOld => "diffusers-old",
            Self::AttentionProcessor => "attention-processor",
            Self::Kohya => "kohya",
        }
    }
}

/// The parts of a pipeline, by the names of their folders in diffusers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// The file does not say: paths are those of whatever model it was trained on.
    #[default]
    Unnamed,
    /// The denoising UNet.
    Unet,
    /// The denoising transformer.
    Transformer,
    /// The only or first text encoder.
    TextEncoder,
    /// The second text encoder.
    TextEncoder2,
    /// The third text encoder.
    TextEncoder3,
    /// The model that makes image embeddings of text embeddings.
    Prior,
    /// The text encoder in front of the prior.
    PriorTextEncoder,
}

impl Component {
    /// All components that have a name.
    pub const NAMED: [Self; 7] = [
        Self::Unet,
        Self::Transformer,
        Self::TextEncoder,
        Self::TextEncoder2,
        Self::TextEncoder3,
        Self::Prior,
        Self::PriorTextEncoder,
    ];

    /// The name of the component's folder; empty where the file does not say.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unnamed => "",
            Self::Unet => "unet",
            Self::Transformer => "transformer",
            Self::TextEncoder => "text_encoder",
            Self::TextEncoder2 => "text_encoder_2",
            Self::TextEncoder3 => "text_encoder_3",
            Self::Prior => "prior",
            Self::PriorTextEncoder => "prior_text_encoder",
        }
    }

    /// The component called `name`.
    pub fn of(name: &str) -> Option<Self> {
        Self::NAMED.into_iter().find(|component| component.name() == name)
    }

    /// Whether it is one of the text encoders.
    pub fn is_text_encoder(self) -> bool {
        matches!(self, Self::TextEncoder | Self::TextEncoder2 | Self::TextEncoder3 | Self::PriorTextEncoder)
    }
}

/// The path of a module from the root of its component.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ModulePath {
    /// As the model's own code spells it: `mid_block.attentions.0.proj_in`.
    Dotted(String),
    /// With underscores for dots, `mid_block_attentions_0_proj_in`: only the modules of a model tell which is which.
    Mangled(String),
}

impl ModulePath {
    /// The path as it is spelled.
    pub fn as_str(&self) -> &str {
        let (Self::Dotted(path) | Self::Mangled(path)) = self;
        path
    }
}

impl fmt::Display for ModulePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl AdapterSite {
    /// Channels between the two factors.
    pub fn rank(&self) -> usize {
        self.lora_a.sizes()[0]
    }

    /// The layer's channels: in and out. What goes in is counted over all places of the kernel where the file does not
    /// tell them apart, as LyCORIS does for some convolutions.
    pub fn channels(&self) -> (usize, usize) {
        (self.lora_a.sizes()[1], self.lora_b.sizes()[0])
    }

    /// Component and path in one, as messages and patterns name the site: `unet.mid_block.attentions.0.proj_in`.
    pub fn full_name(&self) -> String {
        match self.component {
            Component::Unnamed => self.path.to_string(),
            component => format!("{}.{}", component.name(), self.path),
        }
    }
}

/// What is odd about an adapter file that can be read nevertheless.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Warning {
    /// Nothing says what alpha is, so the scale is taken to be one, as diffusers does.
    AlphaUnknown {
        /// The component, with its name.
        component: Component,
        /// How many sites.
        sites: usize,
    },
    /// A factor is zero everywhere, so the branch does nothing.
    ZeroFactor {
        /// The site.
        site: String,
        /// The tensor.
        tensor: String,
    },
    /// Several patterns with different values fit a module; the first in the file is taken, as PEFT does.
    SeveralPatterns {
        /// The module.
        path: String,
        /// The field of the configuration.
        field: &'static str,
        /// The patterns in the order of the file.
        patterns: Vec<String>,
    },
    /// The configuration is for another component than any that the file has tensors of.
    ConfigurationElsewhere {
        /// The component that it is for.
        component: String,
    },
    /// A field of the configuration is set that is not known, and not taken into account.
    UnknownField {
        /// The field.
        field: String,
    },
    /// The branch of a grouped convolution: the second factor is written out over all groups.
    Grouped {
        /// The site.
        site: String,
        /// How many groups.
        groups: usize,
    },
    /// Alpha is zero, and the caller has said what that is to mean.
    AlphaZero {
        /// The site.
        site: String,
        /// The scale that it got.
        scale: f64,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlphaUnknown { component, sites } => {
                let of = if component.name().is_empty() { "" } else { " of " };
                write!(
                    f,
                    "alpha is not stored for {sites} sites{of}{}; the scale is taken to be 1, which is wrong if the \
                     adapter was trained with another",
                    component.name()
                )
            }
            Self::ZeroFactor { site, tensor } => {
                write!(f, "`{site}`: `{tensor}` is zero everywhere, so the branch does nothing")
            }
            Self::SeveralPatterns { path, field, patterns } => write!(
                f,
                "`{path}`: {field} has several patterns that fit, `{}`; the first in the file is taken",
                patterns.join("`, `")
            ),
            Self::ConfigurationElsewhere { component } => {
                write!(
                    f,
                    "the configuration in the header is for `{component}`, which the file has no tensors of"
                )
            }
            Self::UnknownField { field } => {
                write!(f, "the configuration sets `{field}`, which is not known and not taken into account")
            }
            Self::Grouped { site, groups } => {
                write!(f, "`{site}`: the branch of a convolution in {groups} groups becomes a dense one")
            }
            Self::AlphaZero { site, scale } => write!(f, "`{site}`: alpha is 0, read as a scale of {scale}"),
        }
    }
}
