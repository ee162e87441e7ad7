//! Windows that slide over spatial axes, as attributes describe them: convolutions and pooling share them.
//!
//! The list `pads` holds the padding before the first element of every axis, then the padding after the last of every
//! axis. An empty list stands for its default: strides and dilations of 1, no padding.

use super::{InferError, Operands, rules};
use crate::kernels::window::Spatial;
use crate::types::{Dim, DimExpr};

/// Largest stride, dilation or padding that is accepted: what 32 bits hold, so that sizes formed from them do not
/// overflow.
const LARGEST: u64 = i32::MAX as u64;

/// How a window slides; one entry per spatial axis in each list.
#[derive(Clone, Debug)]
pub(crate) struct Sliding {
    /// Elements between one place of the window and the next, at least 1.
    pub(crate) strides: Spatial,
    /// Elements between the taps of the window, at least 1.
    pub(crate) dilations: Spatial,
    /// Elements that are missing before the first one.
    pub(crate) pads_begin: Spatial,
    /// Elements that are missing after the last one.
    pub(crate) pads_end: Spatial,
}

impl Sliding {
    /// The attributes of an operation over `axes` spatial axes.
    pub(crate) fn new(
        axes: usize,
        strides: &[u64],
        pads: &[u64],
        dilations: &[u64],
    ) -> Result<Self, InferError> {
        let all_pads = sized("pads", pads, 2 * axes, 0)?;
        Ok(Self {
            strides: sized("strides", strides, axes, 1)?,
            dilations: sized("dilations", dilations, axes, 1)?,
            pads_begin: Spatial::from_slice(&all_pads[..axes]),
            pads_end: Spatial::from_slice(&all_pads[axes..]),
        })
    }

    /// Number of spatial axes.
    pub(crate) fn axes(&self) -> usize {
        self.strides.len()
    }

    /// Elements from the first tap of a window of `kernel` taps to its last, both included.
    pub(crate) fn span(&self, axis: usize, kernel: u64) -> Option<u64> {
        kernel.checked_sub(1)?.checked_mul(self.dilations[axis] as u64)?.checked_add(1)
    }

    /// Size of the result along spatial axis `axis`: the places of a window of `kernel` taps over `input` elements,
    /// padding included. With `ceil`, a last window may reach over the end, but must not start there.
    pub(crate) fn places(
        &self,
        operands: &Operands<'_>,
        axis: usize,
        [input, kernel]: [&Dim; 2],
        ceil: bool,
    ) -> Result<Dim, InferError> {
        let Some(taps) = kernel.known() else { return Ok(operands.fresh()) };
        let blamed = |expected: &str| InferError::Operand {
            operand: operands.name(0),
            found: format!("size {} on spatial axis {axis} under a window of {taps} taps", show(input)),
            expected: expected.to_owned(),
        };
        let span =
            self.span(axis, taps).ok_or_else(|| blamed("a window of at least one tap and at most 2^48"))?;
        let pads = DimExpr::constant((self.pads_begin[axis] + self.pads_end[axis]) as i64);
        let Some(padded) = input.expr().add(&pads) else { return Ok(operands.fresh()) };
        if padded.as_constant().is_some_and(|padded| u64::try_from(padded).is_ok_and(|padded| padded < span))
        {
            return Err(blamed("a window that fits into the padded input"));
        }
        // Whether the last place is dropped depends on the size itself.
        if ceil && padded.as_constant().is_none() {
            return Ok(operands.fresh());
        }
        let mut places = rules::window_count(&padded, span, self.strides[axis] as u64, ceil);
        if let (true, Some(count), Some(input)) =
            (ceil, places.as_ref().and_then(DimExpr::as_constant), input.known())
        {
            let last_start = (count - 1).checked_mul(self.strides[axis] as i64);
            let end = input as i64 + self.pads_begin[axis] as i64;
            if count > 0 && last_start.is_none_or(|start| start >= end) {
                places = Some(DimExpr::constant(count - 1));
            }
        }
        operands.dim(0, places)
    }
}

/// `given` with one entry per axis; `default` throughout where it is empty.
pub(crate) fn sized(
    attr: &'static str,
    given: &[u64],
    length: usize,
    default: u64,
) -> Result<Spatial, InferError> {
    let found = || format!("{given:?}");
    if given.is_empty() {
        return Ok(Spatial::from_elem(default as usize, length));
    }
    if given.len() != length {
        return Err(InferError::Attribute { attr, found: found(), expected: format!("{length} entries") });
    }
    if given.iter().any(|entry| !(default..=LARGEST).contains(entry)) {
        let expected = format!("entries from {default} to {LARGEST}");
        return Err(InferError::Attribute { attr, found: found(), expected });
    }
    Ok(given.iter().map(|entry| *entry as usize).collect())
}

fn show(dim: &Dim) -> String {
    dim.known().map_or_else(|| "unknown".to_owned(), |size| size.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entity::Entity;
    use crate::types::SymId;

    fn places(sliding: &Sliding, input: &Dim, kernel: u64, ceil: bool) -> Result<Dim, InferError> {
        sliding.places(&Operands::new(&[], &[], 9), 0, [input, &Dim::Known(kernel)], ceil)
    }

    #[test]
    fn places_are_counted_as_published() {
        let sliding = Sliding::new(1, &[2], &[1, 1], &[2]).expect("valid");
        // Ten elements, padded to twelve, under a span of five: starts 0, 2, 4, 6.
        assert_eq!(places(&sliding, &Dim::Known(10), 3, false), Ok(Dim::Known(4)));
        assert_eq!(places(&sliding, &Dim::Known(10), 3, true), Ok(Dim::Known(5)));
        assert!(places(&sliding, &Dim::Known(2), 3, false).is_err());
    }

    #[test]
    fn a_window_that_starts_past_the_end_is_dropped() {
        let sliding = Sliding::new(1, &[2], &[0, 1], &[]).expect("valid");
        // Rounded up there would be starts 0 and 2, the second one on the padding.
        assert_eq!(places(&sliding, &Dim::Known(2), 2, true), Ok(Dim::Known(1)));
    }

    #[test]
    fn symbolic_sizes_are_followed_where_they_divide() {
        let symbol = SymId::from_index(0);
        let same = Sliding::new(1, &[], &[1, 1], &[]).expect("valid");
        assert_eq!(places(&same, &Dim::Sym(symbol), 3, false), Ok(Dim::Sym(symbol)));
        let halved = Sliding::new(1, &[2], &[1, 1], &[]).expect("valid");
        let fresh = Dim::Sym(SymId::from_index(9));
        assert_eq!(places(&halved, &Dim::Sym(symbol), 3, false), Ok(fresh));
    }

    #[test]
    fn hostile_attributes_are_refused() {
        assert!(Sliding::new(1, &[0], &[], &[]).is_err());
        assert!(Sliding::new(1, &[], &[u64::MAX, 0], &[]).is_err());
        assert!(Sliding::new(2, &[1], &[], &[]).is_err());
        let wide = Sliding::new(1, &[], &[], &[LARGEST]).expect("valid");
        assert!(places(&wide, &Dim::Known(1 << 47), u64::MAX, false).is_err());
    }
}
