//! Constants, scales and zero points.

use quad_ir::dtype::DType;
use quad_ir::graph::ValueId;
use quad_ir::loc::Loc;
use quad_ir::tensor::Tensor as Elements;

use super::{Form, Raising, Step, dtype};
use crate::model::{DataType, Encoding, Tensor};

fn sizes(dims: &[u32]) -> Vec<usize> {
    dims.iter().map(|size| *size as usize).collect()
}

impl Raising<'_> {
    /// The constant `tensor` as operations read it, with other sizes, bytes and encoding where its axes are in another
    /// order.
    pub(super) fn constant(
        &mut self,
        tensor: &Tensor,
        dims: &[u32],
        bytes: &[u8],
        encoding: Option<&Encoding>,
    ) -> Step<ValueId> {
        let elements = Elements::new(dtype(tensor.data_type), &sizes(dims), bytes.to_vec().into())?;
        let Some(encoding) = encoding else { return self.named(&elements, &tensor.name) };
        if self.form == Form::Real {
            let value = self.named(&real(&elements, encoding)?, &tensor.name)?;
            self.note(value, tensor.data_type, Some(encoding), true);
            return Ok(value);
        }
        let stored = self.named(&elements, &tensor.name)?;
        self.dequantized(stored, tensor.data_type, Some(encoding))
    }

    fn named(&mut self, elements: &Elements, name: &str) -> Step<ValueId> {
        let value = self.graph.add_constant(elements, Loc::Built)?;
        self.graph.set_name(value, name);
        Ok(value)
    }

    /// A real number without axes.
    pub(super) fn scalar(&mut self, value: f32) -> Step<ValueId> {
        self.cached(DType::F32, i64::from(value.to_bits()), || Ok(Elements::from_vec(&[], vec![value])?))
    }

    /// The scale and the zero point of an encoding. Sums in 32 bits have none.
    pub(super) fn parameters(
        &mut self,
        data_type: DataType,
        encoding: &Encoding,
    ) -> Step<(ValueId, Option<ValueId>)> {
        let (dtype, parts) = (dtype(data_type), encoding.parts());
        let has_zero = data_type != DataType::Sfixed32;
        if encoding.axis().is_none() {
            let (scale, zero) = (parts[0].scale, i64::from(parts[0].zero_point()));
            let scale = self.scalar(scale)?;
            let zero = has_zero
                .then(|| self.cached(dtype, zero, || Ok(Elements::from_i64(dtype, &[], vec![zero])?)))
                .transpose()?;
            return Ok((scale, zero));
        }
        let scales =
            Elements::from_vec(&[parts.len()], parts.iter().map(|part| part.scale).collect::<Vec<f32>>())?;
        let scales = self.graph.add_constant(&scales, Loc::Built)?;
        let zeros = parts.iter().map(|part| i64::from(part.zero_point())).collect();
        let zeros = Elements::from_i64(dtype, &[parts.len()], zeros)?;
        let zeros = has_zero.then(|| self.graph.add_constant(&zeros, Loc::Built)).transpose()?;
        Ok((scales, zeros))
    }

    fn cached(&mut self, dtype: DType, bits: i64, make: impl FnOnce() -> Step<Elements>) -> Step<ValueId> {
        if let Some(value) = self.scalars.get(&(dtype, bits)) {
            return Ok(*value);
        }
        let value = self.graph.add_constant(&make()?, Loc::Built)?;
        self.scalars.insert((dtype, bits), value);
        Ok(value)
    }
}

/// The real numbers that `elements` stand for.
fn real(elements: &Elements, encoding: &Encoding) -> Step<Elements> {
    let (parts, sizes) = (encoding.parts(), elements.sizes());
    let inner: usize = encoding.axis().map_or(1, |axis| sizes[axis as usize + 1..].iter().product());
    let codes = elements.to_i64()?;
    let values = codes.iter().enumerate().map(|(at, code)| {
        let part = parts[(at / inner) % parts.len()];
        part.scale * (code + i64::from(part.offset)) as f32
    });
    Ok(Elements::from_vec(sizes, values.collect::<Vec<f32>>())?)
}
