//! Passes by name: an explicit list, to which programs of others add their own.

use std::collections::BTreeMap;
use std::fmt;

use crate::pass::{Pass, PassInfo};

/// Makes a pass with its default options.
type Make = fn() -> Box<dyn Pass>;

/// The passes and the named pipelines that a program offers.
#[derive(Clone, Default)]
pub struct Registry {
    passes: BTreeMap<&'static str, Entry>,
    pipelines: BTreeMap<&'static str, NamedPipeline>,
}

/// A pass as the registry knows it.
#[derive(Clone, Copy)]
struct Entry {
    area: &'static str,
    make: Make,
}

/// A pipeline with a name, which stands for its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedPipeline {
    /// The name: a word that no pass has.
    pub name: &'static str,
    /// A sentence that says what it is for.
    pub summary: &'static str,
    /// The pipeline, as it is written.
    pub text: &'static str,
}

/// Lists the passes by area, which is a module of this crate: expands to the registry of all.
macro_rules! passes {
    ($($area:ident { $($module:ident => $pass:ident),* $(,)? })*) => {
        impl Registry {
            /// The passes of this crate, and its pipelines.
            pub fn standard() -> Self {
                Self::default()
                    $($(.with::<crate::$area::$module::$pass>(stringify!($area)))*)*
                    .with_pipelines(crate::pipelines::PIPELINES)
            }
        }
    };
}

passes! {
    clean {
        canonicalize => Canonicalize,
        constant_fold => ConstantFold,
        cse => Cse,
        dce => Dce,
        name_values => NameValues,
    }
    fuse {
        conv_batch_norm => FuseConvBatchNorm,
        conv_bias => FuseConvBias,
        gelu => FuseGelu,
        group_norm => FuseGroupNorm,
        layer_norm => FuseLayerNorm,
        pad => FusePad,
        resize => NormalizeResize,
        rms_norm => FuseRmsNorm,
        silu => FuseSilu,
        softmax => FuseSoftmax,
        split_projections => SplitProjections,
    }
    fold {
        equalize => Equalize,
        fold_scales => FoldScales,
    }
    attention {
        fuse_attention => FuseAttention,
        lower_attention => LowerAttention,
        separate_heads => SeparateHeads,
        split_heads => SplitHeads,
    }
    lower {
        convert_floats => ConvertFloats,
        decompose => Decompose,
        linear_to_conv => LinearToConv,
        rank4 => Rank4,
        specialize => Specialize,
        timesteps => TabulateTimesteps,
    }
    egraph {
        move_layouts => MoveLayouts,
        move_scales => MoveScales,
        simplify => Simplify,
    }
    lora {
        expose => ExposeLora,
        hoist => HoistAdapter,
    }
    quant {
        fold_quant => FoldQuant,
        unfold_quant => UnfoldQuant,
    }
    layout {
        assign => Layout,
        move_transposes => MoveTransposes,
    }
}

impl Registry {
    /// Adds a pass, in `area`: a word under which catalogues list it. A pass of the same name is replaced.
    #[must_use]
    pub fn with<P: Pass + Default + 'static>(mut self, area: &'static str) -> Self {
        let make: Make = || Box::new(P::default());
        self.passes.insert(make().info().name, Entry { area, make });
        self
    }

    /// Adds pipelines.
    #[must_use]
    pub fn with_pipelines(mut self, pipelines: &[NamedPipeline]) -> Self {
        self.pipelines.extend(pipelines.iter().map(|pipeline| (pipeline.name, *pipeline)));
        self
    }

    /// The pass `name` with its default options.
    pub fn pass(&self, name: &str) -> Option<Box<dyn Pass>> {
        self.passes.get(name).map(|entry| (entry.make)())
    }

    /// The pipeline `name`.
    pub fn pipeline(&self, name: &str) -> Option<&NamedPipeline> {
        self.pipelines.get(name)
    }

    /// All passes with their areas, by name.
    pub fn passes(&self) -> impl Iterator<Item = (&'static str, &'static PassInfo, Box<dyn Pass>)> + '_ {
        self.passes.values().map(|entry| {
            let pass = (entry.make)();
            (entry.area, pass.info(), pass)
        })
    }

    /// All pipelines, by name.
    pub fn pipelines(&self) -> impl Iterator<Item = &NamedPipeline> {
        self.pipelines.values()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.passes.keys()).entries(self.pipelines.keys()).finish()
    }
}
