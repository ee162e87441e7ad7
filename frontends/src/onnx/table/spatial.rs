//! Resampling, attention, recurrent and signal operations.

use super::Row;

pub(super) const ROWS: &[Row] = &[];
