//! The pipelines that have a name.

use crate::registry::NamedPipeline;

/// All of them.
pub const PIPELINES: &[NamedPipeline] = &[
    NamedPipeline {
        name: "clean",
        summary: "What every pipeline runs between other passes: constants folded, equal computations merged, one way \
                  of writing each thing.",
        text: "(constant-fold,canonicalize,cse,dce)*",
    },
    NamedPipeline {
        name: "float",
        summary: "Clean-ups and fusions in floats, for any target.",
        text: "clean,fuse-pad,normalize-resize,fuse-silu,fuse-gelu,fuse-group-norm,fuse-layer-norm,fuse-rms-norm,\
               fuse-softmax,fuse-attention,fuse-conv-batch-norm,fuse-conv-bias,fold-scales,clean",
    },
    NamedPipeline {
        name: "npu",
        summary: "What compilers for NPUs take: convolutions instead of products with constants, single heads, channels \
                  last, at most four axes.",
        // Heads are split while projections are products: results may then be added up, too. Convolutions would be
        // split as well, to the same graph. Attention of one head stays one operation; a target that has no such
        // operation lowers it. What depends on inputs that are bound earlier moves out twice: before, so that products
        // with factors are products with inputs, and after, with what became of the factors: kernels with channels last.
        text: "float,split-projections,split-heads,separate-heads,clean,hoist-adapter,linear-to-conv,fuse-conv-bias,clean,\
               layout,clean,rank4,clean,hoist-adapter,clean",
    },
    NamedPipeline {
        name: "frozen",
        summary: "The graph that is calibrated and quantized: what NPUs take, attention in single products, every value \
                  with a name.",
        text: "npu,lower-attention,clean,name-values",
    },
];
