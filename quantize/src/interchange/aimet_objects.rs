//! Version 0.6.1: an object of activations and one of parameters, with a list of encodings for each tensor.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Arguments, Encodings, Integer, InterchangeError, Stored, TensorEncoding};

/// The file.
#[derive(Serialize, Deserialize)]
struct File {
    version: String,
    activation_encodings: BTreeMap<String, Vec<Encoding>>,
    param_encodings: BTreeMap<String, Vec<Encoding>>,
    #[serde(default)]
    quantizer_args: Option<QuantizerArgs>,
}

/// One encoding: of the tensor, or of a channel.
#[derive(Serialize, Deserialize)]
struct Encoding {
    bitwidth: u32,
    dtype: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    is_symmetric: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    min: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    offset: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scale: Option<f64>,
}

/// How the file was made, as this version and the next say it.
#[derive(Serialize, Deserialize)]
pub(super) struct QuantizerArgs {
    #[serde(default)]
    activation_bitwidth: u32,
    #[serde(default)]
    param_bitwidth: u32,
    #[serde(default)]
    dtype: String,
    #[serde(default)]
    is_symmetric: Value,
    #[serde(default)]
    per_channel_quantization: Value,
    #[serde(default)]
    quant_scheme: String,
}

impl QuantizerArgs {
    pub(super) fn of(arguments: &Arguments) -> Self {
        Self {
            activation_bitwidth: arguments.activation_bits,
            param_bitwidth: arguments.parameter_bits,
            dtype: "int".to_owned(),
            is_symmetric: truth(true),
            per_channel_quantization: truth(arguments.per_channel),
            quant_scheme: arguments.scheme.clone(),
        }
    }

    pub(super) fn into_arguments(self) -> Arguments {
        Arguments {
            activation_bits: self.activation_bitwidth,
            parameter_bits: self.param_bitwidth,
            per_channel: is_true(&self.per_channel_quantization),
            scheme: self.quant_scheme,
        }
    }
}

/// Truth values are words in this version.
fn truth(value: bool) -> Value {
    Value::from(if value { "True" } else { "False" })
}

/// Files have words, or truth values as such.
fn is_true(value: &Value) -> bool {
    value.as_bool().unwrap_or_else(|| value.as_str().is_some_and(|word| word.eq_ignore_ascii_case("true")))
}

pub(super) fn read(text: &str) -> Result<Encodings, InterchangeError> {
    let file: File = serde_json::from_str(text).map_err(|error| InterchangeError::json(&error))?;
    let mut encodings = Encodings {
        arguments: file.quantizer_args.map(QuantizerArgs::into_arguments).unwrap_or_default(),
        ..Encodings::default()
    };
    for (is_parameter, tensors) in [(false, file.activation_encodings), (true, file.param_encodings)] {
        for (name, channels) in tensors {
            let stored = stored(&channels).map_err(|reason| InterchangeError::encoding(&name, reason))?;
            encodings.tensors.insert(name, TensorEncoding { is_parameter: Some(is_parameter), stored });
        }
    }
    Ok(encodings)
}

/// What a list of encodings says.
fn stored(channels: &[Encoding]) -> Result<Stored, String> {
    let first = channels.first().ok_or("the list is empty")?;
    if channels.iter().any(|channel| channel.bitwidth != first.bitwidth || channel.dtype != first.dtype) {
        return Err("channels differ in type or bits".to_owned());
    }
    match first.dtype.as_str() {
        "float" => return Ok(Stored::Float(first.bitwidth)),
        "int" => {}
        other => return Err(format!("`{other}` is no type: expected int or float")),
    }
    let parameters: Result<Vec<(f64, i64)>, String> = channels.iter().map(parameters).collect();
    let (scales, offsets) = parameters?.into_iter().unzip();
    Ok(Stored::Integer(Integer {
        bits: first.bitwidth,
        is_signed: None,
        is_symmetric: first.is_symmetric.as_ref().is_some_and(is_true),
        scales,
        offsets,
        axis: None,
        is_per_channel: channels.len() > 1,
    }))
}

/// Scale and offset, which may be left out where the ends are there.
fn parameters(encoding: &Encoding) -> Result<(f64, i64), String> {
    if let (Some(scale), Some(offset)) = (encoding.scale, encoding.offset) {
        return Ok((scale, offset));
    }
    let (Some(min), Some(max)) = (encoding.min, encoding.max) else {
        return Err("neither `scale` with `offset` nor `min` with `max`".to_owned());
    };
    let steps = 2f64.powi(encoding.bitwidth.min(64) as i32) - 1.0;
    let scale = encoding.scale.unwrap_or((max - min) / steps);
    Ok((scale, encoding.offset.unwrap_or((min / scale).round_ties_even() as i64)))
}

pub(super) fn write(encodings: &Encodings) -> String {
    let of = |parameters: bool| {
        let tensors =
            encodings.tensors.iter().filter(|(_, tensor)| tensor.is_parameter.unwrap_or(false) == parameters);
        tensors.map(|(name, tensor)| (name.clone(), channels(&tensor.stored))).collect()
    };
    let file = File {
        version: super::Format::Aimet061.version().to_owned(),
        activation_encodings: of(false),
        param_encodings: of(true),
        quantizer_args: Some(QuantizerArgs::of(&encodings.arguments)),
    };
    serde_json::to_string_pretty(&file).expect("numbers and texts are JSON")
}

fn channels(stored: &Stored) -> Vec<Encoding> {
    match stored {
        Stored::Float(bits) => vec![Encoding {
            bitwidth: *bits,
            dtype: "float".to_owned(),
            is_symmetric: None,
            min: None,
            max: None,
            offset: None,
            scale: None,
        }],
        Stored::Integer(integer) => (0..integer.scales.len())
            .map(|channel| {
                let (min, max) = integer.reach(channel);
                Encoding {
                    bitwidth: integer.bits,
                    dtype: "int".to_owned(),
                    is_symmetric: Some(truth(integer.is_symmetric)),
                    min: Some(min),
                    max: Some(max),
                    offset: Some(integer.offsets[channel]),
                    scale: Some(integer.scales[channel]),
                }
            })
            .collect(),
    }
}
