//! Files of AIMET's forms, read, written and read again.

use quad_ir::dtype::DType;

use super::convert::{Report, export, import};
use super::*;
use crate::precision::{Mixed, Precision};
use crate::profile::make::{Options, make};
use crate::profile::tests::{anchor, statistics};
use crate::profile::{Profile, Role};
use crate::rules::{Rules, graph};

/// Encodings that another program made of the testbed.
const EXCERPT: &str = include_str!("../../../tests/fixtures/testbed/encodings/W8A16.edge.excerpt.json");

fn profile(rules: &str, precision: &str) -> Profile {
    let precision: Precision = precision.parse().expect("a precision");
    let options = Options::new(Rules::preset(rules).expect("a preset"), Mixed::uniform(precision));
    make(&statistics(&[("a", &[])]), &anchor("a"), &options).expect("a profile").profile
}

fn read_back(encodings: &Encodings, format: Format) -> Encodings {
    Encodings::from_text(&encodings.to_text(format), format).expect("what was written")
}

fn integer<'e>(encodings: &'e Encodings, name: &str) -> &'e Integer {
    match &encodings.tensors[name].stored {
        Stored::Integer(integer) => integer,
        Stored::Float(_) => panic!("`{name}` is a float"),
    }
}

/// Profile to text to profile, with the rules that the profile follows.
fn round_trip(profile: &Profile, format: Format) -> (Profile, Report) {
    let encodings = read_back(&export(profile, format).0, format);
    let statistics = statistics(&[("a", &[])]);
    let graph = graph::read(&statistics.model.text).expect("a graph");
    let rules = Rules::preset(&profile.rules).expect("a preset");
    import(&encodings, format, &graph, &statistics, &rules).expect("a profile")
}

#[test]
fn formats_are_named() {
    for format in FORMATS {
        assert_eq!(format.to_string().parse(), Ok(format));
    }
    assert!("aimet".parse::<Format>().is_err());
}

#[test]
fn a_file_of_another_program_survives_all_forms() {
    let read = Encodings::from_text(EXCERPT, Format::Aimet061).expect("encodings");
    assert_eq!(read.tensors.len(), 45);
    let sample = integer(&read, "sample");
    assert_eq!((sample.bits, sample.offsets.as_slice()), (16, &[-32877][..]));
    assert_eq!(sample.scales, [3.570_372_701_609_827e-5]);
    let (min, max) = sample.reach(0);
    assert!((min - -1.173_831_433_108_262_9).abs() < 1e-12 && (max - 1.166_012_316_891_737_3).abs() < 1e-12);
    assert!(integer(&read, "onnx::MatMul_3261").is_symmetric);

    for format in FORMATS {
        let again = read_back(&read, format);
        assert_eq!(again.tensors.len(), read.tensors.len(), "{format}");
        for name in read.tensors.keys() {
            let (before, after) = (integer(&read, name), integer(&again, name));
            assert_eq!((&after.scales, &after.offsets), (&before.scales, &before.offsets), "{format} {name}");
            assert_eq!(after.bits, before.bits, "{format} {name}");
        }
        // A second time nothing changes any more.
        assert_eq!(read_back(&again, format), again);
    }
}

#[test]
fn a_profile_comes_back() {
    for (rules, precision) in [("reference", "w8a16"), ("litert", "w8a8"), ("qnn", "w8a16"), ("qnn", "w4a8")]
    {
        let profile = profile(rules, precision);
        for format in FORMATS {
            let (again, report) = round_trip(&profile, format);
            assert_eq!(again.graph, profile.graph);
            assert_eq!(again.precision, profile.precision, "{rules} {format}");
            assert_eq!(again.entries.len(), profile.entries.len());
            for (name, entry) in &profile.entries {
                let found = &again.entries[name];
                assert_eq!(
                    (found.role, &found.encoding),
                    (entry.role, &entry.encoding),
                    "{rules} {format} {name}"
                );
            }
            assert_eq!(report, Report::default(), "{rules} {format}");
        }
    }
}

#[test]
fn losses_are_reported() {
    let mut wide = profile("litert", "w8a16");
    wide.entries.get_mut("conv.b").expect("a bias").encoding.stored = DType::I64;
    let (encodings, report) = export(&wide, Format::Aimet061);
    let text = report.to_string();
    // Biases of 64 bits are in no form; the codes of i16 activations are written as if unsigned.
    assert!(text.contains("64 bits, or blocks): 1, `conv.b`") && text.contains("are signed"), "{text}");
    assert!(text.contains("axis along which scales differ: 2, `conv.w`, `time.w`"), "{text}");
    assert!(!encodings.tensors.contains_key("conv.b"));
    let typed = export(&wide, Format::Aimet200).1.to_string();
    assert!(
        !typed.contains("are signed") && !typed.contains("axis") && typed.contains("weights, slots"),
        "{typed}"
    );

    let (again, report) = round_trip(&wide, Format::Aimet061);
    let text = report.to_string();
    assert!(text.contains("they stay floats: 1, `conv.b`"), "{text}");
    assert_eq!(again.of_role(Role::Slot).count(), 2);

    let statistics = statistics(&[("a", &[])]);
    let graph = graph::read(&statistics.model.text).expect("a graph");
    let rules = Rules::preset("reference").expect("a preset");
    let other = Encodings::from_text(EXCERPT, Format::Aimet061).expect("encodings");
    let (empty, report) = import(&other, Format::Aimet061, &graph, &statistics, &rules).expect("a profile");
    assert!(empty.entries.is_empty());
    assert!(report.to_string().contains("the model has not: 45"), "{report}");
}

#[test]
fn every_kind_of_encoding_is_read() {
    let ends = r#"{"version": "0.6.1", "activation_encodings": {"x": [{"bitwidth": 8, "dtype": "int", "min": -1.0, "max": 1.55}],
        "f": [{"bitwidth": 16, "dtype": "float"}]}, "param_encodings": {}}"#;
    let read = Encodings::from_text(ends, Format::Aimet061).expect("encodings");
    assert_eq!((integer(&read, "x").scales[0] * 100.0).round(), 1.0);
    assert_eq!(integer(&read, "x").offsets, [-100]);
    assert_eq!(read.tensors["f"].stored, Stored::Float(16));

    let lists = r#"{"version": "1.0.0", "activation_encodings": [], "param_encodings": [
        {"name": "w", "enc_type": "PER_CHANNEL", "dtype": "INT", "bw": 8, "is_sym": true, "scale": [0.5, 0.25], "offset": [-128, -128]},
        {"name": "l", "enc_type": "LPBQ", "dtype": "INT", "bw": 8, "compressed_bw": 4, "is_sym": true, "block_size": 64,
         "scale": [0.001], "offset": [-128], "per_block_int_scale": [13, 16]}]}"#;
    let read = Encodings::from_text(lists, Format::Aimet100).expect("encodings");
    assert!(integer(&read, "w").is_per_channel);
    assert_eq!(read.unread["l"], "encodings of kind LPBQ");

    let onnx = r#"{"version": "2.0.0", "encodings": [
        {"name": "x", "output_dtype": "uint16", "y_scale": 0.5, "y_zero_point": 32768},
        {"name": "w", "output_dtype": "int8", "y_scale": [0.5, 0.25], "axis": 1},
        {"name": "b", "output_dtype": "int4", "per_channel_float_scale": [[0.001]], "per_block_int_scale": [[13, 16]], "axis": 1,
         "block_size": 64}]}"#;
    let read = Encodings::from_text(onnx, Format::Aimet200).expect("encodings");
    assert_eq!(
        (integer(&read, "x").offsets.as_slice(), integer(&read, "x").is_symmetric),
        (&[-32768][..], true)
    );
    assert_eq!(
        (integer(&read, "w").axis, integer(&read, "w").offsets.as_slice()),
        (Some(1), &[-128, -128][..])
    );
    assert_eq!(read.unread["b"], "encodings of blocks");
}

#[test]
fn what_is_wrong_is_said() {
    let error = |text: &str, format| Encodings::from_text(text, format).expect_err(text).to_string();
    assert!(error(EXCERPT, Format::Aimet100).contains("states version 0.6.1"));
    assert!(error("{", Format::Aimet061).contains("line 1"));
    let one =
        |encoding: &str| format!(r#"{{"version": "2.0.0", "encodings": [{{"name": "x", {encoding}}}]}}"#);
    for (encoding, part) in [
        (r#""output_dtype": "int9.5", "y_scale": 1.0"#, "is no type"),
        (r#""output_dtype": "int64", "y_scale": 1.0"#, "is no type"),
        (r#""output_dtype": "int8", "y_scale": -1.0"#, "not a positive number"),
        (r#""output_dtype": "int8", "y_scale": [1.0, 2.0]"#, "without an axis"),
        (
            r#""output_dtype": "int8", "y_scale": [1.0, 2.0], "axis": 0, "y_zero_point": [1]"#,
            "2 scales and 1 offsets",
        ),
        (r#""output_dtype": "int8", "y_scale": [], "axis": 0"#, "0 scales"),
        (
            r#""output_dtype": "uint8", "y_scale": 1.0, "y_zero_point": -9223372036854775808"#,
            "beyond all codes",
        ),
    ] {
        let error = error(&one(encoding), Format::Aimet200);
        assert!(error.contains("`x`") && error.contains(part), "{error}");
    }
}

/// What is read of these encodings of version 2.0.0 by the rules of `qnn`.
fn imported(encodings: &str) -> (Profile, String) {
    let text = format!(r#"{{"version": "2.0.0", "encodings": [{encodings}]}}"#);
    let encodings = Encodings::from_text(&text, Format::Aimet200).expect("encodings");
    let statistics = statistics(&[("a", &[])]);
    let graph = graph::read(&statistics.model.text).expect("a graph");
    let rules = Rules::preset("qnn").expect("a preset");
    let (profile, report) =
        import(&encodings, Format::Aimet200, &graph, &statistics, &rules).expect("a profile");
    (profile, report.to_string())
}

#[test]
fn what_nobody_could_use_is_left_out_with_the_reason() {
    let (profile, said) = imported(
        r#"{"name": "x", "output_dtype": "uint4", "y_scale": 0.5, "y_zero_point": 8},
        {"name": "conv", "output_dtype": "int32", "y_scale": 0.5},
        {"name": "sum", "output_dtype": "uint16", "y_scale": 1e37, "y_zero_point": 0},
        {"name": "p", "output_dtype": "uint8", "y_scale": 0.5, "y_zero_point": 300},
        {"name": "k", "output_dtype": "uint16", "y_scale": 0.5, "y_zero_point": 3000000000},
        {"name": "conv.b", "output_dtype": "int8", "y_scale": 0.5},
        {"name": "conv.w", "output_dtype": "int8", "y_scale": [0.5, 0.5, 0.5], "axis": 0},
        {"name": "time.w", "output_dtype": "int4", "y_scale": [0.5, 0.25], "axis": 1},
        {"name": "timed", "output_dtype": "uint8", "y_scale": 0.5, "y_zero_point": 7}"#,
    );
    assert_eq!(profile.entries.keys().collect::<Vec<_>>(), ["time.w", "timed"]);
    for part in [
        "(u4 stores no activation: expected one of i8, u8, i16, u16): 1, `x`",
        "(i32 stores no activation: expected one of i8, u8, i16, u16): 1, `conv`",
        "is no range of finite numbers): 1, `sum`",
        "(zero point 300 is not between 0 and 255, the codes of u8): 1, `p`",
        "(offset -3000000000 is no code of u16): 1, `k`",
        "(i8 stores no bias: expected one of i32, i64): 1, `conv.b`",
        "(3 scales for the 2 places along axis 0): 1, `conv.w`",
    ] {
        assert!(said.contains(part), "`{part}` is not in\n{said}");
    }
    assert_eq!(Profile::from_text(&profile.to_text()).expect("what was written"), profile);
    let (_, said) =
        imported(r#"{"name": "conv.b", "output_dtype": "int32", "y_scale": 0.5, "y_zero_point": 5}"#);
    assert!(said.contains("(zero point 5, and a bias has 0)"), "{said}");
}

#[test]
fn tensors_without_an_encoding_by_the_rules_are_in_the_model() {
    let (_, said) = imported(
        r#"{"name": "x", "output_dtype": "uint8", "y_scale": 0.5},
        {"name": "flat", "output_dtype": "uint8", "y_scale": 0.5},
        {"name": "other", "output_dtype": "uint8", "y_scale": 0.5}"#,
    );
    assert!(said.contains("tensors that the rules `qnn` give no encoding: 1, `flat`"), "{said}");
    assert!(said.contains("tensors that the model has not: 1, `other`"), "{said}");
}
