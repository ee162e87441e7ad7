//! Tensors and operations in the form of the C API, and the memory that they point into.

use std::ffi::{CString, c_char, c_void};

use super::layout::{
    CAxis, CBuffer, CEncoding, CNarrow, CNarrowAxis, COp, CParam, CParamValue, CQuantize, CScalar,
    CScaleOffset, CSerialize, CTensor, CTensorBody, CValue, UNDEFINED,
};
use crate::model::{DataType, Encoding, Param, Role, ScaleOffset, Tensor};

/// A name has a zero in it, which ends a C string.
#[derive(Debug, thiserror::Error)]
#[error("the name {0:?} has a zero character in it")]
pub(crate) struct BadName(pub(crate) String);

/// What the structures point to, in boxes that stay where they are for as long as the arena lives.
#[derive(Default)]
pub(super) struct Arena {
    names: Vec<CString>,
    unsigned: Vec<Box<[u32]>>,
    signed: Vec<Box<[i32]>>,
    reals: Vec<Box<[f32]>>,
    encodings: Vec<Box<[CScaleOffset]>>,
    params: Vec<Box<[CParam]>>,
    tensors: Vec<Box<[CTensor]>>,
    files: Vec<Box<[CSerialize]>>,
}

/// The codes of `Qnn_TensorType_t`.
const INPUT: u32 = 0;
const OUTPUT: u32 = 1;
const NATIVE: u32 = 3;
const STATIC: u32 = 4;

impl Arena {
    /// `text` as a C string.
    pub(super) fn name(&mut self, text: &str) -> Result<*const c_char, BadName> {
        let name = CString::new(text).map_err(|_| BadName(text.to_owned()))?;
        let pointer = name.as_ptr();
        self.names.push(name);
        Ok(pointer)
    }

    /// `config`, where it stays.
    pub(super) fn serialize(&mut self, config: CSerialize) -> *const CSerialize {
        keep(&mut self.files, vec![config])
    }

    /// `tensor`, whose elements, where it is a constant, must live as long as what is made of this.
    pub(super) fn tensor(&mut self, tensor: &Tensor) -> Result<CTensor, BadName> {
        let (role, data): (u32, &[u8]) = match &tensor.role {
            Role::Input => (INPUT, &[]),
            Role::Output => (OUTPUT, &[]),
            Role::Native => (NATIVE, &[]),
            Role::Static(bytes) => (STATIC, bytes),
        };
        let quantize = self.quantize(tensor.encoding.as_ref());
        self.any_tensor(&tensor.name, role, tensor.data_type, &tensor.dims, quantize, data)
    }

    fn any_tensor(
        &mut self,
        name: &str,
        role: u32,
        data_type: DataType,
        dims: &[u32],
        quantize: CQuantize,
        data: &[u8],
    ) -> Result<CTensor, BadName> {
        let name = self.name(name)?;
        let rank = dims.len() as u32;
        let dims = keep(&mut self.unsigned, dims.to_vec());
        let data_type = data_type.code();
        let buffer = if data.is_empty() { empty() } else { buffer(data.as_ptr().cast_mut(), data.len()) };
        let body = CTensorBody {
            id: 0,
            name,
            role,
            data_format: 0,
            data_type,
            quantize,
            rank,
            dims,
            memory: 0,
            buffer,
        };
        Ok(CTensor { version: 1, body, rest: [0; 3] })
    }

    fn quantize(&mut self, encoding: Option<&Encoding>) -> CQuantize {
        let Some(encoding) = encoding else {
            let zero = CEncoding { all: CScaleOffset { scale: 0.0, offset: 0 } };
            return CQuantize { definition: UNDEFINED, kind: UNDEFINED, encoding: zero };
        };
        let (kind, encoding) = match encoding {
            Encoding::Tensor(all) => (0, CEncoding { all: (*all).into() }),
            Encoding::Axis { axis, each } => {
                let (axis, count) = (axis.cast_signed(), each.len() as u32);
                let each = keep(&mut self.encodings, each.iter().map(|one| (*one).into()).collect());
                (1, CEncoding { axis: CAxis { axis, count, each } })
            }
            Encoding::Narrow { bits, all } => {
                let narrow = CNarrow { bits: *bits, scale: all.scale, offset: all.offset };
                (2, CEncoding { narrow })
            }
            Encoding::NarrowAxis { bits, axis, each } => {
                let scales = keep(&mut self.reals, each.iter().map(|one| one.scale).collect());
                let offsets = keep(&mut self.signed, each.iter().map(|one| one.offset).collect());
                let (bits, axis, count) = (*bits, axis.cast_signed(), each.len() as u32);
                (3, CEncoding { narrow_axis: CNarrowAxis { bits, axis, count, scales, offsets } })
            }
        };
        CQuantize { definition: 1, kind, encoding }
    }

    /// A parameter: a number, or a constant tensor that is called after the operation and the parameter.
    pub(super) fn param(&mut self, node: &str, name: &str, param: &Param) -> Result<CParam, BadName> {
        let scalar = |data_type: DataType, value| CParamValue {
            scalar: CScalar { data_type: data_type.code(), value },
        };
        // The whole union is written, so that no byte of it is left to chance.
        let filled = |set: fn(&mut CValue, u32), bits: u32| {
            let mut value = CValue { size: 0 };
            set(&mut value, bits);
            value
        };
        let (kind, value) = match param {
            Param::Bool(value) => {
                let value = filled(|to, bits| to.boolean = bits as u8, u32::from(*value));
                (0, scalar(DataType::Bool8, value))
            }
            Param::U32(value) => (0, scalar(DataType::Uint32, filled(|to, bits| to.unsigned = bits, *value))),
            Param::I32(value) => {
                let value = filled(|to, bits| to.signed = bits.cast_signed(), value.cast_unsigned());
                (0, scalar(DataType::Int32, value))
            }
            Param::F32(value) => {
                let value = filled(|to, bits| to.real = f32::from_bits(bits), value.to_bits());
                (0, scalar(DataType::Float32, value))
            }
            Param::U32s(dims, values) => {
                (1, self.list(&format!("{node}_{name}"), DataType::Uint32, dims, values.clone())?)
            }
            Param::I32s(dims, values) => {
                let values = values.iter().map(|value| value.cast_unsigned()).collect();
                (1, self.list(&format!("{node}_{name}"), DataType::Int32, dims, values)?)
            }
        };
        Ok(CParam { kind, name: self.name(name)?, value })
    }

    fn list(
        &mut self,
        name: &str,
        data_type: DataType,
        dims: &[u32],
        values: Vec<u32>,
    ) -> Result<CParamValue, BadName> {
        let count = values.len();
        let data = keep(&mut self.unsigned, values);
        let quantize = self.quantize(None);
        let mut tensor = self.any_tensor(name, STATIC, data_type, dims, quantize, &[])?;
        tensor.body.buffer = buffer(data.cast_mut().cast(), count * 4);
        Ok(CParamValue { tensor })
    }

    /// An operation over parameters and tensors that the library has given their ids.
    pub(super) fn op(
        &mut self,
        (name, package, kind): (&str, &str, &str),
        params: Vec<CParam>,
        inputs: Vec<CTensor>,
        outputs: Vec<CTensor>,
    ) -> Result<COp, BadName> {
        let (n_params, n_inputs, n_outputs) =
            (params.len() as u32, inputs.len() as u32, outputs.len() as u32);
        Ok(COp {
            version: 1,
            name: self.name(name)?,
            package: self.name(package)?,
            kind: self.name(kind)?,
            n_params,
            params: keep(&mut self.params, params),
            n_inputs,
            inputs: keep(&mut self.tensors, inputs),
            n_outputs,
            outputs: keep(&mut self.tensors, outputs),
        })
    }
}

/// Keeps `items` where they are, and says where that is.
fn keep<T>(list: &mut Vec<Box<[T]>>, items: Vec<T>) -> *const T {
    let items = items.into_boxed_slice();
    let pointer = items.as_ptr();
    list.push(items);
    pointer
}

/// The memory of a tensor's elements. Sizes beyond 32 bits are refused by the graph's own check before.
pub(super) fn buffer(data: *mut u8, size: usize) -> CBuffer {
    CBuffer { data: data.cast::<c_void>(), size: size as u32 }
}

fn empty() -> CBuffer {
    CBuffer { data: std::ptr::null_mut(), size: 0 }
}

impl From<ScaleOffset> for CScaleOffset {
    fn from(ScaleOffset { scale, offset }: ScaleOffset) -> Self {
        Self { scale, offset }
    }
}
