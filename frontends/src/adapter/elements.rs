//! Looks at all elements of a factor, a piece at a time: adapters may be large, and their files stay mapped.

use quad_ir::tensor::{Tensor, TensorError};

use super::normal_form::AdapterSite;

/// Elements of one piece.
const PIECE: usize = 1 << 16;

/// Hands the elements of `tensor`, whose type is a byte wide or wider, to `visit`: where a piece begins, and the piece.
pub(super) fn visit<E: From<TensorError>>(
    tensor: &Tensor,
    mut visit: impl FnMut(usize, &[f32]) -> Result<(), E>,
) -> Result<(), E> {
    let bytes_each = tensor.dtype().bits() as usize / 8;
    for start in (0..tensor.len()).step_by(PIECE) {
        let count = PIECE.min(tensor.len() - start);
        let bytes = tensor.bytes().slice(start * bytes_each..(start + count) * bytes_each);
        let piece = Tensor::new(tensor.dtype(), &[count], bytes)?;
        visit(start, &piece.to_f32()?)?;
    }
    Ok(())
}

impl AdapterSite {
    /// The largest magnitudes of the elements of `lora_a` and of `lora_b`, the scale left out.
    pub fn absmax(&self) -> (f32, f32) {
        (absmax(&self.lora_a), absmax(&self.lora_b))
    }
}

/// The largest magnitude of the elements of `tensor`; 0 when it has none or they are no numbers.
fn absmax(tensor: &Tensor) -> f32 {
    let mut largest = 0.0f32;
    let result: Result<(), TensorError> = visit(tensor, |_, piece| {
        largest = piece.iter().fold(largest, |largest, element| largest.max(element.abs()));
        Ok(())
    });
    result.map_or(0.0, |()| largest)
}
