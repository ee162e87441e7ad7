//! Resampling, attention, recurrent and signal operations.

mod attention;
mod resample;

use quad_ir::ops::{Attention, Resize};

use super::{Row, import, op};

pub(super) const ROWS: &[Row] = &[
    op::<Attention>("Attention").reading(attention::read).writing(attention::write).since(23),
    op::<Resize>("Resize").reading(resample::resize).since(19),
    import("Upsample", resample::upsample),
];
