//! Version 2.0.0: one list, in the words of ONNX's `QuantizeLinear`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Encodings, Integer, InterchangeError, Stored, TensorEncoding};

/// The file.
#[derive(Serialize, Deserialize)]
struct File {
    version: String,
    #[serde(default)]
    producer: Option<Value>,
    encodings: Vec<Encoding>,
}

/// One tensor.
#[derive(Serialize, Deserialize)]
struct Encoding {
    name: String,
    output_dtype: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    y_scale: Option<OneOrMany<f64>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    y_zero_point: Option<OneOrMany<i64>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    axis: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    block_size: Option<u64>,
}

/// A number, a list of them, or lists of lists, which are for blocks.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
    Nested(Vec<Value>),
}

pub(super) fn read(text: &str) -> Result<Encodings, InterchangeError> {
    let file: File = serde_json::from_str(text).map_err(|error| InterchangeError::json(&error))?;
    let mut encodings = Encodings::default();
    for encoding in file.encodings {
        let name = encoding.name.clone();
        let stored = stored(&encoding).map_err(|reason| InterchangeError::encoding(&name, reason))?;
        let Some(stored) = stored else {
            encodings.unread.insert(name, "encodings of blocks".to_owned());
            continue;
        };
        let tensor = TensorEncoding { is_parameter: None, stored };
        if encodings.tensors.insert(name.clone(), tensor).is_some() {
            return Err(InterchangeError::encoding(&name, "it is there twice"));
        }
    }
    Ok(encodings)
}

/// What an encoding says; `None` where it is of blocks.
fn stored(encoding: &Encoding) -> Result<Option<Stored>, String> {
    let wrong =
        || format!("`{}` is no type: expected such as int8, uint16 or float16", encoding.output_dtype);
    let digits = encoding.output_dtype.find(|letter: char| letter.is_ascii_digit()).ok_or_else(wrong)?;
    let (kind, bits) = encoding.output_dtype.split_at(digits);
    let bits: u32 = bits.parse().map_err(|_| wrong())?;
    let is_signed = match kind {
        "float" => return Ok(Some(Stored::Float(bits))),
        "int" => true,
        "uint" => false,
        _ => return Err(wrong()),
    };
    if !(2..=32).contains(&bits) {
        return Err(wrong());
    }
    let (scales, is_per_channel) = match &encoding.y_scale {
        Some(OneOrMany::One(scale)) => (vec![*scale], false),
        Some(OneOrMany::Many(scales)) if encoding.block_size.is_none() => (scales.clone(), true),
        _ => return Ok(None),
    };
    let zero_points = match &encoding.y_zero_point {
        None => vec![0; scales.len()],
        Some(OneOrMany::One(zero_point)) => vec![*zero_point; scales.len()],
        Some(OneOrMany::Many(zero_points)) => zero_points.clone(),
        Some(OneOrMany::Nested(_)) => return Ok(None),
    };
    let axis = match encoding.axis.filter(|_| is_per_channel) {
        Some(axis) => Some(u8::try_from(axis).map_err(|_| format!("axis {axis}: expected one from 0 on"))?),
        None if is_per_channel && scales.len() > 1 => {
            return Err("scales of channels without an axis".to_owned());
        }
        None => None,
    };
    let middle = 1 << (bits - 1);
    let shift = if is_signed { middle } else { 0 };
    // What does not fit is far from any code, and refused with all other such offsets.
    let offset = |zero_point: &i64| zero_point.saturating_neg().saturating_sub(shift);
    let offsets: Vec<i64> = zero_points.iter().map(offset).collect();
    let is_symmetric = offsets.iter().all(|offset| *offset == -middle);
    Ok(Some(Stored::Integer(Integer {
        bits,
        is_signed: Some(is_signed),
        is_symmetric,
        scales,
        offsets,
        axis,
        is_per_channel,
    })))
}

pub(super) fn write(encodings: &Encodings) -> String {
    let file = File {
        version: super::Format::Aimet200.version().to_owned(),
        producer: Some(serde_json::json!({"package": "quad", "version": env!("CARGO_PKG_VERSION")})),
        encodings: encodings.tensors.iter().map(|(name, tensor)| written(name, tensor)).collect(),
    };
    serde_json::to_string_pretty(&file).expect("numbers and texts are JSON")
}

fn written(name: &str, tensor: &TensorEncoding) -> Encoding {
    let empty = Encoding {
        name: name.to_owned(),
        output_dtype: String::new(),
        y_scale: None,
        y_zero_point: None,
        axis: None,
        block_size: None,
    };
    let integer = match &tensor.stored {
        Stored::Float(bits) => return Encoding { output_dtype: format!("float{bits}"), ..empty },
        Stored::Integer(integer) => integer,
    };
    // Where nobody said: parameters around zero are signed, as everywhere.
    let is_signed = integer.is_signed.unwrap_or(integer.is_symmetric && tensor.is_parameter.unwrap_or(false));
    let shift = if is_signed { integer.middle() } else { 0 };
    let zero_points: Vec<i64> = integer.offsets.iter().map(|offset| -offset - shift).collect();
    let has_zero_point = zero_points.iter().any(|zero_point| *zero_point != 0);
    let zero_points = match zero_points.as_slice() {
        [one] if !integer.is_per_channel => OneOrMany::One(*one),
        _ => OneOrMany::Many(zero_points),
    };
    Encoding {
        output_dtype: format!("{}{}", if is_signed { "int" } else { "uint" }, integer.bits),
        y_scale: Some(match integer.scales.as_slice() {
            [one] if !integer.is_per_channel => OneOrMany::One(*one),
            scales => OneOrMany::Many(scales.to_vec()),
        }),
        y_zero_point: has_zero_point.then_some(zero_points),
        axis: integer.axis.map(i64::from),
        ..empty
    }
}
