//! Version 1.0.0: a list of activations and one of parameters, with lists of scales and offsets.

use serde::{Deserialize, Serialize};

use super::aimet_objects::QuantizerArgs;
use super::{Encodings, Integer, InterchangeError, Stored, TensorEncoding};

/// The file.
#[derive(Serialize, Deserialize)]
struct File {
    version: String,
    activation_encodings: Vec<Encoding>,
    param_encodings: Vec<Encoding>,
    #[serde(default)]
    quantizer_args: Option<QuantizerArgs>,
}

/// One tensor.
#[derive(Serialize, Deserialize)]
struct Encoding {
    name: String,
    enc_type: String,
    dtype: String,
    bw: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    is_sym: Option<bool>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    scale: Vec<f64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    offset: Vec<i64>,
}

/// One scale for the tensor.
const TENSOR: &str = "PER_TENSOR";
/// One for each channel.
const CHANNEL: &str = "PER_CHANNEL";

pub(super) fn read(text: &str) -> Result<Encodings, InterchangeError> {
    let file: File = serde_json::from_str(text).map_err(|error| InterchangeError::json(&error))?;
    let mut encodings = Encodings {
        arguments: file.quantizer_args.map(QuantizerArgs::into_arguments).unwrap_or_default(),
        ..Encodings::default()
    };
    for (is_parameter, tensors) in [(false, file.activation_encodings), (true, file.param_encodings)] {
        for encoding in tensors {
            let name = encoding.name.clone();
            let is_read = matches!(encoding.enc_type.as_str(), TENSOR | CHANNEL);
            let stored = match encoding.dtype.to_ascii_uppercase().as_str() {
                "FLOAT" => Stored::Float(encoding.bw),
                "INT" if is_read => Stored::Integer(integer(encoding)),
                "INT" => {
                    encodings.unread.insert(name, format!("encodings of kind {}", encoding.enc_type));
                    continue;
                }
                other => {
                    return Err(InterchangeError::encoding(
                        &name,
                        format!("`{other}` is no type: expected INT or FLOAT"),
                    ));
                }
            };
            let tensor = TensorEncoding { is_parameter: Some(is_parameter), stored };
            if encodings.tensors.insert(name.clone(), tensor).is_some() {
                return Err(InterchangeError::encoding(&name, "it is there twice"));
            }
        }
    }
    Ok(encodings)
}

fn integer(encoding: Encoding) -> Integer {
    Integer {
        bits: encoding.bw,
        is_signed: None,
        is_symmetric: encoding.is_sym.unwrap_or(false),
        is_per_channel: encoding.enc_type == CHANNEL,
        scales: encoding.scale,
        offsets: encoding.offset,
        axis: None,
    }
}

pub(super) fn write(encodings: &Encodings) -> String {
    let of = |parameters: bool| {
        let tensors =
            encodings.tensors.iter().filter(|(_, tensor)| tensor.is_parameter.unwrap_or(false) == parameters);
        tensors.map(|(name, tensor)| written(name, &tensor.stored)).collect()
    };
    let file = File {
        version: super::Format::Aimet100.version().to_owned(),
        activation_encodings: of(false),
        param_encodings: of(true),
        quantizer_args: Some(QuantizerArgs::of(&encodings.arguments)),
    };
    serde_json::to_string_pretty(&file).expect("numbers and texts are JSON")
}

fn written(name: &str, stored: &Stored) -> Encoding {
    let name = name.to_owned();
    match stored {
        Stored::Float(bits) => Encoding {
            name,
            enc_type: TENSOR.to_owned(),
            dtype: "FLOAT".to_owned(),
            bw: *bits,
            is_sym: None,
            scale: Vec::new(),
            offset: Vec::new(),
        },
        Stored::Integer(integer) => Encoding {
            name,
            enc_type: if integer.is_per_channel { CHANNEL } else { TENSOR }.to_owned(),
            dtype: "INT".to_owned(),
            bw: integer.bits,
            is_sym: Some(integer.is_symmetric),
            scale: integer.scales.clone(),
            offset: integer.offsets.clone(),
        },
    }
}
