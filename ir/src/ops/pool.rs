//! What the pooling operations share: attributes of the window, shape of the result, and the walk over planes.
//!
//! `x` is `[n, channels, spatial..]`. Along each spatial axis the result has one element for each place of a window of
//! `kernel_shape` taps over the padded axis. With `layout = "nhwc"` both are `[n, spatial.., channels]`.

use super::window::{Sliding, sized};
use super::{EvalError, InferError, Operands};
use crate::kernels::pool::PoolWindow;
use crate::kernels::window::Spatial;
use crate::tensor::Tensor;
use crate::types::{Dim, Shape};

/// The attributes that every pooling operation has, by name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PoolAttrs<'a> {
    pub(crate) kernel_shape: &'a [u64],
    pub(crate) strides: &'a [u64],
    pub(crate) pads: &'a [u64],
    pub(crate) dilations: &'a [u64],
    pub(crate) ceil_mode: bool,
}

/// A pooling window over a tensor that exists.
#[derive(Clone, Debug)]
pub(crate) struct Pool<'a> {
    /// How the window slides.
    pub(crate) sliding: Sliding,
    kernel: Spatial,
    input: &'a [usize],
    output: &'a [usize],
}

impl PoolAttrs<'_> {
    /// The shape of the result for the operand at 0.
    pub(crate) fn shape(&self, operands: &Operands<'_>) -> Result<Shape, InferError> {
        let x = &operands.ty(0)?.shape;
        if x.rank() < 3 {
            return Err(operands.mismatch(0, "batch, channels and at least one spatial axis"));
        }
        let (sliding, kernel) = self.resolve(x.rank() - 2)?;
        let place = |axis: usize| {
            let taps = Dim::Known(kernel[axis] as u64);
            sliding.places(operands, axis, [&x[axis + 2], &taps], self.ceil_mode)
        };
        let leading = x[..2].iter().cloned().map(Ok);
        leading.chain((0..kernel.len()).map(place)).collect()
    }

    /// The window between `x` and a result of `sizes`.
    pub(crate) fn over<'a>(&self, x: &'a Tensor, sizes: &'a [usize]) -> Result<Pool<'a>, EvalError> {
        let (input, output) = (&x.sizes()[2..], &sizes[2..]);
        let (sliding, kernel) = self.resolve(input.len())?;
        Ok(Pool { sliding, kernel, input, output })
    }

    fn resolve(&self, axes: usize) -> Result<(Sliding, Spatial), InferError> {
        let sliding = Sliding::new(axes, self.strides, self.pads, self.dilations)?;
        Ok((sliding, kernel_shape(self.kernel_shape, axes)?))
    }
}

/// The numbers of taps over `axes` spatial axes; unlike other lists, this one may not be left out.
pub(crate) fn kernel_shape(given: &[u64], axes: usize) -> Result<Spatial, InferError> {
    if given.is_empty() {
        let expected = format!("{axes} entries");
        return Err(InferError::Attribute { attr: "kernel_shape", found: "nothing".to_owned(), expected });
    }
    sized("kernel_shape", given, axes, 1)
}

impl Pool<'_> {
    /// The geometry of the window.
    pub(crate) fn window(&self) -> PoolWindow<'_> {
        PoolWindow {
            input: self.input,
            output: self.output,
            kernel: &self.kernel,
            strides: &self.sliding.strides,
            dilations: &self.sliding.dilations,
            pads_begin: &self.sliding.pads_begin,
        }
    }

    /// Number of elements in one plane of the operand.
    pub(crate) fn input_plane(&self) -> usize {
        self.input.iter().product()
    }

    /// Number of elements in one plane of the result.
    pub(crate) fn output_plane(&self) -> usize {
        self.output.iter().product()
    }
}

/// Declares a pooling operation with the attributes that all have, and some of its own.
macro_rules! pool_op {
    (
        $(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $ty:ty = $default:expr,)* }
        $($item:item)*
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name {
            /// Taps of the window along each spatial axis.
            pub kernel_shape: Vec<u64>,
            /// Elements between one place of the window and the next, per spatial axis; empty for 1.
            pub strides: Vec<u64>,
            /// Padding before each spatial axis, then after each; empty for none.
            pub pads: Vec<u64>,
            /// Elements between taps of the window, per spatial axis; empty for 1.
            pub dilations: Vec<u64>,
            /// Whether a last window may reach over the end.
            pub ceil_mode: bool,
            $($(#[$field_doc])* pub $field: $ty,)*
            /// Where channels lie.
            pub layout: $crate::ops::layout::DataLayout,
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    kernel_shape: Vec::new(),
                    strides: Vec::new(),
                    pads: Vec::new(),
                    dilations: Vec::new(),
                    ceil_mode: false,
                    $($field: $default,)*
                    layout: $crate::ops::layout::DataLayout::Nchw,
                }
            }
        }

        impl $name {
            fn pool(&self) -> $crate::ops::pool::PoolAttrs<'_> {
                $crate::ops::pool::PoolAttrs {
                    kernel_shape: &self.kernel_shape,
                    strides: &self.strides,
                    pads: &self.pads,
                    dilations: &self.dilations,
                    ceil_mode: self.ceil_mode,
                }
            }
        }

        impl $crate::ops::OpDef for $name {
            $($item)*

            fn attrs(
                &mut self,
                visitor: &mut dyn $crate::attr::AttrVisitor,
            ) -> Result<(), $crate::attr::AttrError> {
                visitor.attr("kernel_shape", &mut self.kernel_shape)?;
                visitor.attr("strides", &mut self.strides)?;
                visitor.attr("pads", &mut self.pads)?;
                visitor.attr("dilations", &mut self.dilations)?;
                visitor.attr("ceil_mode", &mut self.ceil_mode)?;
                $(visitor.attr(stringify!($field), &mut self.$field)?;)*
                visitor.attr("layout", &mut self.layout)
            }
        }
    };
}
pub(crate) use pool_op;
