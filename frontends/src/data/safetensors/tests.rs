//! Headers that lie. Every one is an error that names the file and, where there is one, the tensor.

use std::fs;
use std::time::{Duration, Instant};

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// A file with `header` and `data` bytes of zeros behind it, opened.
fn open(header: &str, data: usize) -> Result<SafeTensorsFile, SafeTensorsError> {
    open_bytes(&[&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![0; data]].concat())
}

fn open_bytes(bytes: &[u8]) -> Result<SafeTensorsFile, SafeTensorsError> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("hostile.safetensors");
    fs::write(&path, bytes).expect("written");
    let begin = Instant::now();
    let result = SafeTensorsFile::open(&path);
    // The tests of the command line measure time on the processor; this is for what does not end.
    assert!(begin.elapsed() < PATIENCE, "took {:?}", begin.elapsed());
    result
}

fn message(header: &str, data: usize) -> String {
    let message = open(header, data).expect_err(header).to_string();
    assert!(message.contains("hostile.safetensors"), "the file is not named: {message}");
    message
}

#[test]
fn a_sound_file_is_read() {
    let header = r#"{"__metadata__":{"format":"pt"},
        "b":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},
        "a":{"dtype":"BF16","shape":[],"data_offsets":[16,18]},
        "empty":{"dtype":"F16","shape":[0,4],"data_offsets":[18,18]}}  "#;
    let file = open(header, 18).expect("sound");
    let names: Vec<&str> = file.tensors().iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["b", "a", "empty"], "in the order of the header");
    assert_eq!(file.metadata()["format"], "pt");
    assert_eq!((file.tensors()[0].1.dtype(), file.tensors()[0].1.sizes()), (DType::F32, &[2, 2][..]));
}

#[test]
fn lengths_of_the_header_that_cannot_be_are_refused() {
    for (length, part) in
        [(1u64 << 63, "refused"), (u64::MAX, "refused"), (MAX_HEADER, "has only 2"), (3, "has only 2")]
    {
        let bytes = [&length.to_le_bytes()[..], b"{}"].concat();
        let message = open_bytes(&bytes).expect_err("a lie").to_string();
        assert!(message.contains(part) && message.contains("hostile.safetensors"), "{message}");
    }
    assert!(open_bytes(b"").is_err());
    assert!(open_bytes(b"1234567").expect_err("short").to_string().contains("8 bytes"));
}

#[test]
fn headers_that_are_no_json_are_refused() {
    let deep = format!("{{\"a\":{}", "[".repeat(100_000));
    for header in ["", "{", "[]", "null", "{\"a\":1}", "{\"a\":{}}", "\u{0}\u{0}", deep.as_str()] {
        message(header, 0);
    }
    assert!(open_bytes(&[&4u64.to_le_bytes()[..], &[0xff, 0xfe, 0x80, 0x00]].concat()).is_err());
}

#[test]
fn tensors_that_cannot_be_are_named() {
    for (entry, part) in [
        (r#"{"dtype":"F32","shape":[4],"data_offsets":[0,16],"dtype":"F16"}"#, "duplicate field"),
        (r#"{"dtype":"F32","shape":[4],"data_offsets":[0,16],"extra":1}"#, "unknown field"),
        (r#"{"dtype":"F32","shape":[4]}"#, "missing field"),
        (r#"{"dtype":"F31","shape":[4],"data_offsets":[0,16]}"#, "F31"),
        (r#"{"dtype":"F32","shape":[-4],"data_offsets":[0,16]}"#, "-4"),
        (r#"{"dtype":"F32","shape":[4],"data_offsets":[0,16,17]}"#, "trailing"),
        (r#"{"dtype":"F32","shape":[5],"data_offsets":[0,16]}"#, "20 bytes"),
        (r#"{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,16]}"#, "2^64"),
        (r#"{"dtype":"F32","shape":[4],"data_offsets":[16,0]}"#, "before that"),
        (r#"{"dtype":"F32","shape":[5],"data_offsets":[0,20]}"#, "only 16 bytes"),
        (
            r#"{"dtype":"F32","shape":[4],"data_offsets":[18446744073709551600,18446744073709551615]}"#,
            "only 16 bytes",
        ),
        (r#"{"dtype":"F32","shape":[3],"data_offsets":[4,16]}"#, "belong to none"),
        (r#"{"dtype":"F32","shape":[3],"data_offsets":[0,12]}"#, "16 bytes of data"),
    ] {
        let message = message(&format!("{{\"the.tensor\":{entry}}}"), 16);
        assert!(message.contains("the.tensor") && message.contains(part), "{part} is not in: {message}");
    }
}

#[test]
fn bytes_that_two_tensors_share_are_refused() {
    let header = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},
        "b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#;
    let message = message(header, 12);
    assert!(message.contains("tensor `b`") && message.contains("within those of tensor `a`"), "{message}");
}

#[test]
fn a_tensor_that_is_listed_twice_is_refused() {
    let entry = r#"{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#;
    let message = message(&format!("{{\"a\":{entry},\"a\":{entry}}}"), 4);
    assert!(message.contains("tensor `a`: it is listed twice"), "{message}");
    let metadata = r#"{"__metadata__":{"k":"1","k":"2"}}"#;
    assert!(super::tests::message(metadata, 0).contains("`k` is there twice"));
}

#[test]
fn many_tensors_of_a_large_header_stay_quick() {
    let entry = |number: usize| format!(r#""{number}":{{"dtype":"F32","shape":[],"data_offsets":[0,4]}},"#);
    let entries: String = (0..150_000).map(entry).collect();
    let header = format!(r#"{{{entries}"z":{{"dtype":"F32","shape":[],"data_offsets":[4,8]}}}}"#);
    assert!(header.len() > 7 << 20);
    assert!(message(&header, 8).contains("within those"));
}

#[test]
fn elements_of_less_than_a_byte_are_written_as_bytes_and_read_back() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("nibbles.safetensors");
    let nibbles = Tensor::from_i64(DType::I4, &[3, 3], vec![-8, 7, 0, 1, -1, 2, -2, 3, 5]).expect("in range");
    let bytes = Tensor::from_vec(&[2], vec![1u8, 2]).expect("two");
    let tensors = [("a".to_owned(), nibbles), ("b".to_owned(), bytes)].into_iter().collect();
    write(&path, &tensors, &BTreeMap::new()).expect("written");
    let file = SafeTensorsFile::open(&path).expect("sound");
    assert_eq!(file.tensors().iter().cloned().collect::<BTreeMap<_, _>>(), tensors);
}

#[test]
fn types_that_do_not_fit_packed_bytes_are_refused() {
    for (said, part) in [
        ("i4[5]", "bytes"),
        ("i4[3, 1]", ""),
        ("f32[1]", "do not hold"),
        ("i4", "expected a type"),
        ("i4[18446744073709551615, 3]", "i4"),
        ("nothing[4]", "expected a type"),
    ] {
        let header = format!(
            r#"{{"__metadata__":{{"quad.packed_types":"{{\"a\":\"{said}\"}}"}},"a":{{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}}}"#
        );
        let found = open(&header, 2);
        if said == "i4[3, 1]" {
            // Three of them are in two bytes.
            found.expect("it fits");
            continue;
        }
        let message = found.expect_err(said).to_string();
        assert!(message.contains(part), "{part} is not in: {message}");
    }
}
