//! Files of profiles: written, read back, and refused.

use proptest::prelude::*;

use super::*;
use crate::encoding::Codes;

fn sample() -> Profile {
    let range = Range { min: -1.0, max: 0.1 };
    let activation = Entry {
        role: Role::Activation,
        encoding: Codes::asymmetric(DType::U16).per_tensor(range).expect("encodes"),
        range,
        limit: None,
    };
    let mut weight = Entry {
        role: Role::Weight,
        encoding: Codes::symmetric(DType::I8).per_channel(1, &[range, range]).expect("encodes"),
        range,
        limit: Some(127),
    };
    weight.encoding.quant.expressed = DType::F16;
    Profile {
        graph: "0123".to_owned(),
        pipeline: "frozen".to_owned(),
        rules: "reference".to_owned(),
        precision: Precision::W8A16,
        mixed: vec![("up*".to_owned(), Precision::W8A8)],
        method: "min-max".to_owned(),
        weights: "per-channel".to_owned(),
        slots: Form::RankNormalized,
        anchor: Anchor {
            choice: "edge".to_owned(),
            reason: "asked for".to_owned(),
            adapters: vec!["edge".to_owned()],
        },
        entries: BTreeMap::from([("\"x\"".to_owned(), activation), ("w".to_owned(), weight)]),
        floats: BTreeMap::from([("t".to_owned(), "time".to_owned())]),
    }
}

#[test]
fn a_profile_is_a_line_for_each_entry() {
    let text = sample().to_text();
    assert_eq!(Profile::from_text(&text).expect("reads"), sample());
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[1].starts_with("\"format\": \"quad-profile\""), "{text}");
    assert!(lines.iter().any(|line| line.starts_with("\"\\\"x\\\"\": {\"role\":\"activation\"")), "{text}");
    assert!(
        text.contains(
            "\"w\": {\"role\":\"weight\",\"stored\":\"i8\",\"scale\":[0.007874016,0.007874016],\
        \"zero_point\":0,\"axis\":1,\"of\":\"f16\",\"min\":-1.0,\"max\":0.1}"
        ),
        "{text}"
    );
    let empty = Profile { entries: BTreeMap::new(), floats: BTreeMap::new(), ..sample() };
    assert_eq!(Profile::from_text(&empty.to_text()).expect("reads"), empty);
}

#[test]
fn limits_are_written_where_the_rules_ask_others() {
    let entry = |role, codes: Codes| {
        let range = Range::symmetric(1.0);
        let encoding = codes.per_tensor(range).expect("encodes");
        Entry { role, encoding, range, limit: codes.symmetric }
    };
    let wide = Codes::limited(DType::I16, 32639);
    let entries = [
        ("as the rules ask", entry(Role::Slot, wide)),
        ("as of the type", entry(Role::Slot, Codes::symmetric(DType::I16))),
        ("all codes", Entry { limit: None, ..entry(Role::Weight, wide) }),
        ("zero elsewhere", entry(Role::Weight, Codes::asymmetric(DType::I8))),
    ];
    let entries = entries.map(|(name, entry)| (name.to_owned(), entry));
    let mut profile = Profile { rules: "qnn".to_owned(), entries: BTreeMap::from(entries), ..sample() };
    profile.entries.get_mut("zero elsewhere").expect("there").encoding.quant.zero_points = [3].into();
    let text = profile.to_text();
    let limit = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(&format!("\"{name}\""))).expect("a line");
        line.split_once("\"limit\":").map(|(_, end)| end.trim_end_matches(['}', ',']).to_owned())
    };
    let found = ["as the rules ask", "as of the type", "all codes", "zero elsewhere"].map(limit);
    assert_eq!(found, [None, Some("32767".to_owned()), Some("32768".to_owned()), None]);
    assert_eq!(Profile::from_text(&text).expect("reads"), profile);
}

#[test]
fn another_layout_is_read_and_another_number_is_not() {
    let text = sample().to_text();
    let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let other = serde_json::to_string(&value).expect("JSON");
    assert_eq!(Profile::from_text(&other).expect("reads"), sample());
    let edited = text.replace("\"max\":0.1", "\"max\":0.2");
    let error = Profile::from_text(&edited).expect_err("edited").to_string();
    assert!(error.contains("changed after it was written") && error.contains("quad profile make"), "{error}");
}

#[test]
fn what_is_wrong_is_said() {
    let text = sample().to_text();
    let error =
        |from: &str, to: &str| Profile::from_text(&text.replace(from, to)).expect_err(from).to_string();
    assert!(error("\"version\": 1", "\"version\": 2").contains("version 2"));
    assert!(
        error("\"stored\":\"i8\"", "\"stored\":\"f32\"")
            .contains("entry `w`: f32 stores no weight: expected one of i8")
    );
    assert!(error("\"stored\":\"u16\"", "\"stored\":\"u4\"").contains("u4 stores no activation"));
    assert!(error("\"zero_point\":0", "\"zero_point\":-300").contains("-300 is not between -128 and 127"));
    assert!(error("\"max\":0.1}", "\"max\":1e39}").contains("no range of finite numbers"));
    assert!(error("\"axis\":1,", "").contains("entry `w`: 2 scales need an axis"));
    assert!(error("\"rank-normalized\"", "\"round\"").contains("expected one of plain, rank-normalized"));
    assert!(error("w8a16", "w8").contains("is no precision"));
    let limit = error("\"axis\":1,", "\"axis\":1,\"limit\":129,");
    assert!(limit.contains("entry `w`: its codes go 129 from the middle, expected from 1 to 128"), "{limit}");
    assert!(error("\"method\"", "\"methods\"").contains("unknown field `methods`"));
    assert!(error("{\n\"format\"", "{\n").contains("line 2"));
}

proptest! {
    #[test]
    fn every_float_is_exact(scale in f32::MIN_POSITIVE..1e30, min in -1e30f32..0.0, max in 0f32..1e30) {
        let mut profile = sample();
        let entry = profile.entries.get_mut("w").expect("there");
        entry.encoding = Encoding::per_tensor(DType::I8, scale, 0).expect("encodes");
        entry.range = Range { min, max };
        prop_assert_eq!(Profile::from_text(&profile.to_text()).expect("reads"), profile);
    }
}
