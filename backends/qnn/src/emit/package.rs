//! The page that comes with a compiled graph: what it takes and gives, in which types, sizes and encodings.
//!
//! An application needs it to fill inputs, and to store adapters as slots. With it tensors as the IR has them become those
//! that QNN takes, and back.

use std::collections::BTreeMap;

use quad_ir::dtype::DType;
use quad_ir::graph::{Graph, ValueRef};
use quad_ir::interpret::NamedTensors;
use quad_ir::ops::Input;
use quad_ir::ops::source::Binding;
use quad_ir::tensor::{Tensor as Elements, TensorError};
use serde::{Deserialize, Serialize};

use super::dlc;
use crate::model::{Encoding, Tensor};
use crate::native::Run;
use crate::soc::Soc;
use crate::table::{Lowered, permute};

/// What the page is called in the folder of a converted model.
pub const FILE: &str = "quad-qnn.json";

/// The page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Package {
    /// The part number of the chip.
    pub soc: String,
    /// The name of the graph in the context binary.
    pub graph: String,
    /// The digest of the graph that adapters are packed for.
    pub model: String,
    /// What is written before a run, in order.
    pub inputs: Vec<Port>,
    /// What is read after a run, in order.
    pub outputs: Vec<Port>,
    /// The files beside this one, by what they are.
    pub files: BTreeMap<String, String>,
    /// The release of the libraries that compiled it, where they were there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub libraries: Option<String>,
}

/// An input or an output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Its name in the DLC; left out where it is the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dlc_name: Option<String>,
    /// `run` where it is written for each run, `adapter` where it is written when an adapter is chosen.
    pub binding: String,
    /// The element type in QNN's short names.
    pub data_type: String,
    /// QNN's code of the element type.
    pub code: u32,
    /// Sizes as QNN has them.
    pub dims: Vec<u32>,
    /// The element type in the IR.
    pub element: String,
    /// Sizes in the IR.
    pub sizes: Vec<u64>,
    /// Axis `i` of QNN's tensor is this axis of the IR's; left out where they are the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<Vec<usize>>,
    /// `real = scale * (stored + offset)`: one scale, or one for each index along `axis`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<Vec<f32>>,
    /// As many as scales.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<Vec<i32>>,
    /// The axis of QNN's tensor along which scales differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub axis: Option<u32>,
}

/// A tensor is not what the page says.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// It is not given.
    #[error("`{name}` is missing; the model takes {expected}")]
    Missing {
        /// The input.
        name: String,
        /// All inputs.
        expected: String,
    },
    /// It is none of the model's.
    #[error("there is no input `{name}`; the model takes {expected}")]
    Unknown {
        /// What was given.
        name: String,
        /// All inputs.
        expected: String,
    },
    /// It has another type or other sizes.
    #[error("input `{name}` is {found}, expected {expected}")]
    Type {
        /// The input.
        name: String,
        /// What was given.
        found: String,
        /// What it takes.
        expected: String,
    },
    /// A number does not fit the 32 bits that QNN stores it in.
    #[error("input `{name}` has the element {value}, which does not fit 32 bits")]
    TooLarge {
        /// The input.
        name: String,
        /// The element.
        value: i64,
    },
    /// An output does not have the bytes of its type.
    #[error("output `{name}`: {error}")]
    Elements {
        /// The output.
        name: String,
        /// Why.
        error: TensorError,
    },
}

impl Package {
    /// The page of `lowered`, which was made of `graph` with the digest `model`.
    pub fn of(graph: &Graph, lowered: &Lowered, soc: Soc, model: &str) -> Self {
        let tensors = lowered.graph.tensors.iter().map(|tensor| tensor.name.clone());
        let dlc_names = tensors.zip(dlc::names(&lowered.graph)).collect();
        let values = graph.inputs().zip(lowered.graph.inputs());
        let inputs = values.map(|(value, tensor)| Port::of(value, tensor, lowered, &dlc_names)).collect();
        let outputs = graph.outputs().iter().filter_map(|output| {
            let tensor = lowered.graph.outputs().find(|tensor| tensor.name == *output.name)?;
            Some(Port::of(graph.value(output.value), tensor, lowered, &dlc_names))
        });
        Self {
            soc: soc.part().to_owned(),
            graph: lowered.graph.name.clone(),
            model: model.to_owned(),
            inputs,
            outputs: outputs.collect(),
            files: BTreeMap::new(),
            libraries: None,
        }
    }

    /// `tensors`, one for each input and no others, as QNN takes them.
    pub fn stored(&self, tensors: &NamedTensors) -> Result<Run, PortError> {
        let expected = || self.inputs.iter().map(Port::describe).collect::<Vec<_>>().join(", ");
        let is_known = |name: &&String| self.inputs.iter().any(|port| port.name == **name);
        if let Some(name) = tensors.keys().find(|name| !is_known(name)) {
            return Err(PortError::Unknown { name: name.clone(), expected: expected() });
        }
        let of = |port: &Port| {
            let missing = || PortError::Missing { name: port.name.clone(), expected: expected() };
            let tensor = tensors.get(&port.name).ok_or_else(missing)?;
            Ok((port.name.clone(), port.stored(tensor)?))
        };
        self.inputs.iter().map(of).collect()
    }

    /// The outputs of `run` as tensors of the IR.
    pub fn tensors(&self, run: &Run) -> Result<NamedTensors, PortError> {
        let of = |port: &Port| {
            let (_, bytes) = run.iter().find(|(name, _)| *name == port.name).ok_or_else(|| {
                PortError::Missing { name: port.name.clone(), expected: "all of its outputs".to_owned() }
            })?;
            Ok((port.name.clone(), port.tensor(bytes)?))
        };
        self.outputs.iter().map(of).collect()
    }
}

impl Port {
    fn of(
        value: ValueRef<'_>,
        tensor: &Tensor,
        lowered: &Lowered,
        dlc_names: &BTreeMap<String, String>,
    ) -> Self {
        let adapter = value.producer().is::<Input>().is_some_and(|input| input.binding == Binding::Adapter);
        let order = lowered.reordered.iter().find(|reordered| reordered.name == tensor.name);
        let parts = tensor.encoding.as_ref().map(Encoding::parts);
        let dlc_name = dlc_names.get(&tensor.name).filter(|name| **name != tensor.name);
        Self {
            name: tensor.name.clone(),
            dlc_name: dlc_name.cloned(),
            binding: if adapter { "adapter" } else { "run" }.to_owned(),
            data_type: tensor.data_type.name().to_owned(),
            code: tensor.data_type.code(),
            dims: tensor.dims.clone(),
            element: value.ty().dtype.name().to_owned(),
            sizes: value.ty().shape.as_known().unwrap_or_default().to_vec(),
            order: order.map(|reordered| reordered.order.clone()),
            scale: parts.map(|parts| parts.iter().map(|part| part.scale).collect()),
            offset: parts.map(|parts| parts.iter().map(|part| part.offset).collect()),
            axis: tensor.encoding.as_ref().and_then(Encoding::axis),
        }
    }

    fn describe(&self) -> String {
        format!("`{}` {}{:?}", self.name, self.element, self.sizes)
    }

    /// The real numbers that the stored `tensor` stands for, in the sizes and the order of QNN.
    pub fn real(&self, tensor: &Elements) -> Result<Elements, PortError> {
        let failed = |error| PortError::Elements { name: self.name.clone(), error };
        let bytes = self.stored(tensor)?;
        let sizes: Vec<usize> = self.dims.iter().map(|size| *size as usize).collect();
        let codes = Elements::new(tensor.dtype(), &sizes, bytes.into()).map_err(failed)?;
        let (Some(scales), Some(offsets)) = (&self.scale, &self.offset) else { return Ok(codes) };
        let inner: usize = self.axis.map_or(1, |axis| sizes[axis as usize + 1..].iter().product());
        let real = |(at, code): (usize, &i64)| {
            let part = (at / inner) % scales.len();
            scales[part] * (code + i64::from(offsets[part])) as f32
        };
        let values = codes.to_i64().map_err(failed)?.iter().enumerate().map(real).collect::<Vec<f32>>();
        Elements::from_vec(&sizes, values).map_err(failed)
    }

    /// The bytes of `tensor` as QNN takes them.
    fn stored(&self, tensor: &Elements) -> Result<Vec<u8>, PortError> {
        let sizes: Vec<u64> = tensor.sizes().iter().map(|size| *size as u64).collect();
        if (tensor.dtype().name(), &sizes) != (self.element.as_str(), &self.sizes) {
            let found = format!("{}{:?}", tensor.dtype(), tensor.sizes());
            return Err(PortError::Type { name: self.name.clone(), found, expected: self.describe() });
        }
        let bytes = match tensor.dtype() {
            DType::I64 | DType::U64 => self.narrowed(tensor)?,
            _ => tensor.bytes().to_vec(),
        };
        let Some(order) = &self.order else { return Ok(bytes) };
        let dims: Vec<u32> = self.sizes.iter().map(|size| *size as u32).collect();
        let width = bytes.len() / tensor.len().max(1);
        Ok(permute(&bytes, width, &dims, order))
    }

    fn narrowed(&self, tensor: &Elements) -> Result<Vec<u8>, PortError> {
        let mut bytes = Vec::new();
        for value in tensor.to_i64().unwrap_or_default() {
            let narrow =
                i32::try_from(value).map_err(|_| PortError::TooLarge { name: self.name.clone(), value })?;
            bytes.extend(narrow.to_le_bytes());
        }
        Ok(bytes)
    }

    /// The tensor of the IR that `bytes` are.
    fn tensor(&self, bytes: &[u8]) -> Result<Elements, PortError> {
        let error = |error| PortError::Elements { name: self.name.clone(), error };
        let sizes: Vec<usize> = self.sizes.iter().map(|size| *size as usize).collect();
        let dtype = self.element.parse().unwrap_or_default();
        if matches!(dtype, DType::I64 | DType::U64) {
            let words = bytes.chunks_exact(4).map(|word| [word[0], word[1], word[2], word[3]]);
            let values = words.map(|word| i64::from(i32::from_le_bytes(word))).collect();
            return Elements::from_i64(dtype, &sizes, values).map_err(error);
        }
        Elements::new(dtype, &sizes, bytes.to_vec().into()).map_err(error)
    }
}
