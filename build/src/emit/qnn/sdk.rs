//! What tools of the SDK take: the model in floats, files of encodings, and adapters in the SDK's words.
//!
//! The float model has the operations that the tensor processor will run, and the encodings name its tensors. Adapters are
//! constants there, zeros in the model itself, with a file of numbers for each; since all share one set of encodings, tools
//! are told that none of them change with the adapter.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use quad_frontends::data::safetensors::{self, SafeTensorsFile};
use quad_frontends::onnx;
use quad_ir::interpret::NamedTensors;
use quad_passes::lora::interface::{LORA_A, LORA_B};
use quad_qnn::emit::package::{Package, Port};
use quad_qnn::model::{Encoding, QnnGraph};
use quad_qnn::raise::{Encoded, Form, raise};
use quad_quantize::interchange::{Arguments, Encodings, FORMATS, Format, Integer, Stored, TensorEncoding};
use serde::Serialize;
use serde_json::{Value, json};

use super::{EmitError, Folder, write_file};

/// The folder, and the files in it.
const FOLDER: &str = "sdk";
const MODEL: &str = "model.onnx";
const OVERRIDES: &str = "quantization_overrides.json";
const LORA: &str = "lora.json";
const LORA_CONFIG: &str = "lora_config.yaml";
const LORA_WEIGHTS: &str = "lora_weight_list.txt";
const ATTACH_POINTS: &str = "attach_points.json";

/// The file of encodings that the configuration for adapters names.
const SHARED: Format = Format::Aimet100;

/// The ends of a site's tensors.
#[derive(Debug, Default, Serialize)]
struct AttachPoint {
    /// The largest rank of an adapter.
    rank: u32,
    lora_a: Vec<String>,
    lora_b: Vec<String>,
}

/// Writes the float model and its encodings.
pub(super) fn write(out: &Path, graph: &QnnGraph, folder: &mut Folder) -> Result<(), EmitError> {
    let sdk = out.join(FOLDER);
    fs::create_dir_all(&sdk).map_err(|error| EmitError::Io { path: sdk.clone(), error })?;
    let slots: BTreeSet<String> = slots(&folder.page).map(|port| port.name.clone()).collect();
    let raised = raise(graph, Form::Real, &slots)?;
    onnx::write(&raised.graph, &sdk.join(MODEL)).map_err(Box::new)?;
    let encodings = encodings(&raised.encodings);
    for format in FORMATS {
        write_file(&sdk.join(encodings_file(format)), encodings.to_text(format).as_bytes())?;
    }
    write_file(&sdk.join(OVERRIDES), &super::json(&overrides(&encodings)?)?)?;
    folder.add("sdk", FOLDER);
    Ok(())
}

/// Writes where adapters attach, and what the SDK takes of those whose slots are in the folder.
pub(super) fn write_adapters(out: &Path, page: &Package) -> Result<(), EmitError> {
    let (sdk, points) = (out.join(FOLDER), attach_points(page));
    if points.is_empty() {
        return Ok(());
    }
    let adapters: Vec<(&str, &str)> = page
        .files
        .iter()
        .filter_map(|(what, file)| Some((what.strip_prefix("adapter ")?, file.as_str())))
        .collect();
    for (name, file) in &adapters {
        let slots = SafeTensorsFile::open(&out.join(file))?;
        let tensors = floats(page, &slots)?;
        let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
        safetensors::write(&sdk.join(format!("{name}.safetensors")), &tensors, &metadata)?;
    }
    let names: Vec<&str> = adapters.iter().map(|(name, _)| *name).collect();
    let weights: Vec<&str> = slots(page).map(|port| port.name.as_str()).collect();
    write_file(&sdk.join(LORA_WEIGHTS), (weights.join("\n") + "\n").as_bytes())?;
    write_file(&sdk.join(ATTACH_POINTS), &super::json(&points)?)?;
    if names.is_empty() {
        return Ok(());
    }
    write_file(&sdk.join(LORA), &super::json(&lora(&names, &points))?)?;
    write_file(&sdk.join(LORA_CONFIG), lora_config(&names).as_bytes())
}

fn slots(page: &Package) -> impl Iterator<Item = &Port> {
    page.inputs.iter().filter(|port| port.binding == "adapter")
}

fn encodings_file(format: Format) -> String {
    format!("encodings-{}.json", format.version())
}

/// The encodings in the words of files.
fn encodings(all: &[Encoded]) -> Encodings {
    let bits = |is_parameter: bool| {
        let of_role = all.iter().filter(|one| one.is_parameter == is_parameter);
        let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
        of_role.for_each(|one| *counts.entry(bits(one)).or_default() += 1);
        counts.into_iter().max_by_key(|(_, count)| *count).map_or(8, |(bits, _)| bits)
    };
    let arguments = Arguments {
        activation_bits: bits(false),
        parameter_bits: bits(true),
        per_channel: all.iter().any(|one| one.encoding.axis().is_some()),
        scheme: "min_max".to_owned(),
    };
    let tensors = all.iter().map(|one| {
        let stored = Stored::Integer(integer(one));
        (one.name.clone(), TensorEncoding { is_parameter: Some(one.is_parameter), stored })
    });
    Encodings { tensors: tensors.collect(), arguments, ..Encodings::default() }
}

fn bits(one: &Encoded) -> u32 {
    match one.encoding {
        Encoding::Narrow { bits, .. } | Encoding::NarrowAxis { bits, .. } => bits,
        Encoding::Tensor(_) | Encoding::Axis { .. } => one.data_type.bytes() as u32 * 8,
    }
}

fn integer(one: &Encoded) -> Integer {
    let bits = bits(one);
    let is_signed = one.data_type.fixed_range().is_some_and(|(low, _)| low < 0);
    let (middle, parts) = (1 << (bits - 1), one.encoding.parts());
    let shift = if is_signed { middle } else { 0 };
    let offsets: Vec<i64> = parts.iter().map(|part| i64::from(part.offset) - shift).collect();
    Integer {
        bits,
        is_signed: Some(is_signed),
        is_symmetric: offsets.iter().all(|offset| *offset == -middle),
        scales: parts.iter().map(|part| f64::from(part.scale)).collect(),
        offsets,
        axis: one.encoding.axis().map(|axis| axis as u8),
        is_per_channel: one.encoding.axis().is_some(),
    }
}

/// The two sections that the SDK's converters read.
fn overrides(encodings: &Encodings) -> Result<Value, EmitError> {
    let whole: Value = serde_json::from_str(&encodings.to_text(Format::Aimet061))?;
    let section = |name: &str| whole[name].clone();
    Ok(json!({
        "activation_encodings": section("activation_encodings"),
        "param_encodings": section("param_encodings"),
    }))
}

/// The tensors of each site, by the module that an adapter names.
fn attach_points(page: &Package) -> BTreeMap<String, AttachPoint> {
    let mut points: BTreeMap<String, AttachPoint> = BTreeMap::new();
    for port in slots(page) {
        // Slots of one factor that is cut for several heads have numbers at their end.
        for part in [LORA_A, LORA_B] {
            let Some((path, rest)) = port.name.rsplit_once(&format!(".{part}")) else { continue };
            if !(rest.is_empty() || rest.starts_with('.')) {
                continue;
            }
            let point = points.entry(path.to_owned()).or_default();
            if part == LORA_A {
                point.rank = point.rank.max(port.dims.last().copied().unwrap_or(0));
                point.lora_a.push(port.name.clone());
            } else {
                point.lora_b.push(port.name.clone());
            }
        }
    }
    points
}

/// Adapters and use cases. Strengths and `alpha / rank` are in the numbers of `lora_b` already.
fn lora(names: &[&str], points: &BTreeMap<String, AttachPoint>) -> Value {
    let rank = points.values().map(|point| point.rank).max().unwrap_or(0);
    let targets: Vec<&String> = points.keys().collect();
    let adapter = |name: &&str| {
        let weights = format!("{name}.safetensors");
        (
            (*name).to_owned(),
            json!({
                "name": name, "rank": rank, "alpha": rank, "target_modules": targets, "lora_weights": weights,
            }),
        )
    };
    let use_case = |name: &&str| {
        let encodings = encodings_file(SHARED);
        ((*name).to_owned(), json!({ "adapters": [name], "alphas": [1.0], "encodings": encodings }))
    };
    json!({
        "quant_updatable_mode": "none",
        "adapters": names.iter().map(adapter).collect::<serde_json::Map<_, _>>(),
        "use_cases": names.iter().map(use_case).collect::<serde_json::Map<_, _>>(),
    })
}

/// The configuration for importing adapters, a use case for each.
fn lora_config(names: &[&str]) -> String {
    // A JSON text is a YAML text.
    let line = |(key, value): (&str, String)| format!("  {key}: {}\n", json!(value));
    let use_case = |name: &&str| -> Vec<String> {
        let entries = [
            ("- name", (*name).to_owned()),
            ("  model_name", MODEL.to_owned()),
            ("  lora_weights", format!("{name}.safetensors")),
            ("  quant_overrides", encodings_file(SHARED)),
            ("  output_path", "./output".to_owned()),
        ];
        entries.map(line).to_vec()
    };
    let lines: Vec<String> = names.iter().flat_map(use_case).collect();
    format!("use_case:\n{}", lines.concat())
}

/// The real numbers that the slots of an adapter stand for, as the float model has them.
fn floats(page: &Package, file: &SafeTensorsFile) -> Result<NamedTensors, EmitError> {
    let given: NamedTensors = file.tensors().iter().cloned().collect();
    let mut floats = NamedTensors::new();
    for port in slots(page) {
        let Some(tensor) = given.get(&port.name) else { continue };
        floats.insert(port.name.clone(), port.real(tensor)?);
    }
    Ok(floats)
}

#[cfg(test)]
mod tests {
    use quad_qnn::model::{DataType, ScaleOffset};

    use super::*;

    fn one(name: &str, data_type: DataType, encoding: Encoding, is_parameter: bool) -> Encoded {
        Encoded { name: name.to_owned(), data_type, encoding, is_parameter }
    }

    #[test]
    fn offsets_are_those_of_unsigned_codes() {
        let each = vec![ScaleOffset::new(0.5, 0), ScaleOffset::new(0.25, 0)];
        let encodings = encodings(&[
            one("x", DataType::Ufixed16, Encoding::Tensor(ScaleOffset::new(0.125, 30000)), false),
            one("w", DataType::Sfixed8, Encoding::Axis { axis: 0, each }, true),
        ]);
        let overrides = overrides(&encodings).expect("JSON");
        let x = &overrides["activation_encodings"]["x"][0];
        assert_eq!((x["offset"].as_i64(), x["bitwidth"].as_i64()), (Some(-30000), Some(16)), "{overrides}");
        let w = &overrides["param_encodings"]["w"];
        assert_eq!(
            (w[1]["offset"].as_i64(), w[1]["scale"].as_f64()),
            (Some(-128), Some(0.25)),
            "{overrides}"
        );
        assert_eq!(overrides.as_object().map(serde_json::Map::len), Some(2));
    }

    #[test]
    fn a_configuration_has_a_use_case_for_each_adapter() {
        let text = lora_config(&["a", "b\"c"]);
        assert_eq!(text.matches("  - name: ").count(), 2);
        assert!(
            text.contains("    lora_weights: \"a.safetensors\"\n") && text.contains("\"b\\\"c\""),
            "{text}"
        );
    }
}
