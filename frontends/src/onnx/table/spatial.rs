//! Resampling, attention, recurrent and signal operations.

mod attention;
mod causal_conv;
mod flex_attention;
mod resample;

use quad_ir::ops::{Attention, LinearAttention, Resize, RotaryEmbedding};

use super::{Row, import, op};

pub(super) const ROWS: &[Row] = &[
    op::<Attention>("Attention").reading(attention::read).writing(attention::write).newer(attention::opset),
    op::<Resize>("Resize").reading(resample::resize).since(19),
    op::<LinearAttention>("LinearAttention").reading(attention::read_linear).since(27),
    op::<RotaryEmbedding>("RotaryEmbedding").since(23),
    import("FlexAttention", flex_attention::read).of("ai.onnx.preview"),
    import("CausalConvWithState", causal_conv::read),
    import("Upsample", resample::upsample),
];
