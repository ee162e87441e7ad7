//! Resampling, attention, recurrent and signal operations.

mod attention;
mod causal_conv;
mod flex_attention;
mod resample;
mod sampling;

use quad_ir::ops::{
    AffineGrid, Attention, Col2Im, DeformConv, Det, GridSample, LinearAttention, Resize, RoiAlign,
    RotaryEmbedding,
};

use super::{Row, bf16_since_22, import, op};

pub(super) const ROWS: &[Row] = &[
    op::<Attention>("Attention").reading(attention::read).writing(attention::write).newer(attention::opset),
    op::<Resize>("Resize").reading(resample::resize).since(19),
    op::<LinearAttention>("LinearAttention").reading(attention::read_linear).since(27),
    op::<RotaryEmbedding>("RotaryEmbedding").since(23),
    import("FlexAttention", flex_attention::read).of("ai.onnx.preview"),
    import("CausalConvWithState", causal_conv::read),
    op::<AffineGrid>("AffineGrid").since(20),
    op::<GridSample>("GridSample").reading(sampling::grid_sample).since(20).newer(bf16_since_22),
    op::<RoiAlign>("RoiAlign").reading(sampling::roi_align).newer(bf16_since_22),
    op::<DeformConv>("DeformConv").reading(sampling::deform_conv).since(19).newer(bf16_since_22),
    op::<Col2Im>("Col2Im"),
    op::<Det>("Det").newer(bf16_since_22),
    import("Upsample", resample::upsample),
];
