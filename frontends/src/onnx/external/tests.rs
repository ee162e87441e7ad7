//! Tensors beside a model: found, and refused where a model asks for what it must not have.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::onnx::proto::{DataLocation, StringStringEntryProto};

/// A folder with a model and a file `data.bin` of 100 bytes, each byte its own place.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("model.onnx"), b"model").expect("writing the model");
    let content: Vec<u8> = (0..100).collect();
    fs::write(folder.path().join("data.bin"), content).expect("writing the data");
    folder
}

fn tensor(name: &str, entries: &[(&str, &str)]) -> TensorProto {
    let entry = |(key, value): &(&str, &str)| StringStringEntryProto {
        key: (*key).to_owned(),
        value: (*value).to_owned(),
    };
    TensorProto {
        name: name.to_owned(),
        data_location: DataLocation::External.into(),
        external_data: entries.iter().map(entry).collect(),
        ..TensorProto::default()
    }
}

fn beside(folder: &Path) -> ExternalFiles {
    ExternalFiles::beside(&folder.join("model.onnx")).expect("the folder exists")
}

/// The bytes that a tensor `w` with `entries` finds in a folder as [`folder`] makes it.
fn found(entries: &[(&str, &str)], expected: u64) -> Vec<u8> {
    let folder = folder();
    let data = beside(folder.path()).resolve(&tensor("w", entries), expected).expect("sound data");
    data.file.bytes(data.range).expect("within the file").to_vec()
}

/// The error of a tensor `w` with `entries` in `folder`; it names the tensor.
fn error_in(folder: &Path, entries: &[(&str, &str)], expected: u64) -> ExternalError {
    let error = beside(folder).resolve(&tensor("w", entries), expected).expect_err("refused");
    assert!(error.to_string().starts_with("tensor `w`"), "the tensor is named: {error}");
    error
}

fn error(entries: &[(&str, &str)], expected: u64) -> ExternalError {
    error_in(folder().path(), entries, expected)
}

#[test]
fn data_is_found_with_and_without_offset_and_length() {
    assert_eq!(found(&[("location", "data.bin"), ("offset", "4"), ("length", "2")], 2), [4, 5]);
    assert_eq!(found(&[("location", "./data.bin"), ("offset", "98")], 2), [98, 99]);
    assert_eq!(found(&[("location", "data.bin"), ("offset", "7")], 3), [7, 8, 9], "more than enough follows");
    assert_eq!(found(&[("location", "data.bin")], 1), [0]);
    assert!(found(&[("location", "data.bin"), ("offset", "100"), ("length", "0")], 0).is_empty());
    let ignored =
        [("location", "data.bin"), ("checksum", "da39a3"), ("basepath", "/elsewhere"), ("length", "1")];
    assert_eq!(found(&ignored, 1), [0]);
}

#[test]
fn data_in_a_folder_below_is_found_and_each_file_is_opened_once() {
    let folder = folder();
    fs::create_dir(folder.path().join("weights")).expect("a folder");
    fs::write(folder.path().join("weights/w.bin"), [1, 2, 3, 4]).expect("writing");
    let mut files = beside(folder.path());
    let resolve = |files: &mut ExternalFiles, location, offset| {
        files.resolve(&tensor("w", &[("location", location), ("offset", offset)]), 2).expect("sound data")
    };
    let first = resolve(&mut files, "weights/w.bin", "0");
    let second = resolve(&mut files, "weights/w.bin", "2");
    let spelled_otherwise = resolve(&mut files, "./weights//w.bin", "2");
    assert!(Arc::ptr_eq(&first.file, &second.file));
    assert!(Arc::ptr_eq(&first.file, &spelled_otherwise.file));
    assert_eq!(files.files.len(), 1);
}

#[test]
fn keys_are_those_of_the_specification_each_at_most_once() {
    let unknown = error(&[("location", "data.bin"), ("encryption", "aes")], 1);
    assert!(matches!(&unknown, ExternalError::UnknownKey { key, .. } if key == "encryption"), "{unknown}");
    let repeated = error(&[("location", "data.bin"), ("offset", "0"), ("offset", "1")], 1);
    assert!(matches!(&repeated, ExternalError::RepeatedKey { key, .. } if key == "offset"), "{repeated}");
    for entries in [&[("offset", "0")][..], &[("location", "")], &[]] {
        let error = error(entries, 1);
        assert!(matches!(error, ExternalError::NoLocation { .. }), "{error}");
    }
}

#[test]
fn contents_in_the_model_as_well_are_refused() {
    let folder = folder();
    let external = || tensor("w", &[("location", "data.bin")]);
    let raw = TensorProto { raw_data: Some(vec![1].into()), ..external() };
    let typed = TensorProto { int32_data: vec![1], ..external() };
    for tensor in [raw, typed] {
        let error = beside(folder.path()).resolve(&tensor, 1).expect_err("two contents");
        assert!(matches!(error, ExternalError::TwoContents { .. }), "{error}");
    }
    let empty = TensorProto { raw_data: Some(vec![].into()), ..external() };
    assert!(beside(folder.path()).resolve(&empty, 1).is_ok(), "no contents are no second ones");
}

#[test]
fn offsets_and_lengths_are_whole_numbers() {
    for value in ["-1", "+1", "1.0", "0x10", "", " 1", "18446744073709551616"] {
        for key in ["offset", "length"] {
            let error = error(&[("location", "data.bin"), (key, value)], 1);
            assert!(matches!(error, ExternalError::Number { .. }), "{error} for {key} `{value}`");
        }
    }
}

#[test]
fn locations_outside_the_folder_are_refused_unseen() {
    for location in [
        "/etc/passwd",
        "../data.bin",
        "a/../../data.bin",
        "weights/..",
        "..\\data.bin",
        "C:data.bin",
        "c:/data.bin",
        "data.bin\0",
        "data\n.bin",
    ] {
        let error = error(&[("location", location)], 1);
        assert!(matches!(error, ExternalError::Location { .. }), "{error} for {location:?}");
    }
}

#[test]
fn names_that_only_look_like_the_way_up_are_fine() {
    let folder = folder();
    fs::write(folder.path().join("..data..bin"), [5]).expect("writing");
    let data = beside(folder.path()).resolve(&tensor("w", &[("location", "..data..bin")]), 1);
    assert!(data.is_ok(), "{data:?}");
}

#[test]
fn missing_files_and_what_is_no_file_are_named() {
    let missing = error(&[("location", "model.onnx.data")], 1);
    assert!(matches!(missing, ExternalError::Missing { .. }), "{missing}");
    assert!(missing.to_string().contains("model.onnx.data"), "{missing}");
    let folder_itself = error(&[("location", ".")], 1);
    assert!(matches!(folder_itself, ExternalError::NotRegular { .. }), "{folder_itself}");
    let below_a_file = error(&[("location", "data.bin/w")], 1);
    assert!(matches!(below_a_file, ExternalError::Unreadable { .. }), "{below_a_file}");
}

#[test]
fn ranges_must_fit_the_file_and_the_type() {
    let length = error(&[("location", "data.bin"), ("length", "3")], 4);
    assert!(matches!(length, ExternalError::Length { stated: 3, expected: 4, .. }), "{length}");
    for (offset, expected) in
        [("97", 4), ("100", 1), ("101", 0), ("18446744073709551615", 1), ("0", u64::MAX)]
    {
        let error = error(&[("location", "data.bin"), ("offset", offset)], expected);
        assert!(matches!(error, ExternalError::OutOfBounds { file_length: 100, .. }), "{error} for {offset}");
    }
    let overflow =
        error(&[("location", "data.bin"), ("offset", "2"), ("length", "18446744073709551615")], u64::MAX);
    assert!(matches!(overflow, ExternalError::OutOfBounds { .. }), "{overflow}");
}

#[test]
fn tensors_may_share_all_of_their_bytes_but_not_some() {
    let folder = folder();
    let mut files = beside(folder.path());
    let at = |name, offset| tensor(name, &[("location", "data.bin"), ("offset", offset)]);
    files.resolve(&at("embedding", "0"), 8).expect("nothing there yet");
    files.resolve(&at("head", "0"), 8).expect("a tied weight");
    let error = files.resolve(&at("bias", "7"), 8).expect_err("one byte is shared");
    assert!(matches!(error, ExternalError::Overlap { .. }), "{error}");
    let message = error.to_string();
    assert!(
        message.contains("`bias` at bytes 7..15") && message.contains("`embedding` at bytes 0..8"),
        "{message}"
    );
}

#[cfg(unix)]
mod links {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_out_of_the_folder_is_refused() {
        let (folder, elsewhere) = (folder(), folder());
        let target = elsewhere.path().join("data.bin");
        symlink(&target, folder.path().join("link.bin")).expect("a link to a file");
        symlink(elsewhere.path(), folder.path().join("link")).expect("a link to a folder");
        for location in ["link.bin", "link/data.bin"] {
            let error = error_in(folder.path(), &[("location", location)], 1);
            assert!(matches!(error, ExternalError::Escapes { .. }), "{error}");
        }
        let device = folder.path().join("zero");
        symlink("/dev/zero", device).expect("a link to a device");
        let error = error_in(folder.path(), &[("location", "zero")], 1);
        assert!(matches!(error, ExternalError::Escapes { .. }), "{error}");
    }

    #[test]
    fn a_folder_whose_name_begins_alike_is_outside() {
        let root = tempfile::tempdir().expect("a temporary folder");
        for name in ["model", "model-other"] {
            fs::create_dir(root.path().join(name)).expect("a folder");
            fs::write(root.path().join(name).join("model.onnx"), b"model").expect("writing");
        }
        let folder = root.path().join("model");
        symlink("../model-other/model.onnx", folder.join("link.bin")).expect("a link");
        let error = error_in(&folder, &[("location", "link.bin")], 1);
        assert!(matches!(error, ExternalError::Escapes { .. }), "{error}");
    }

    #[test]
    fn a_link_within_the_folder_is_followed() {
        let folder = folder();
        symlink("data.bin", folder.path().join("link.bin")).expect("a link");
        let mut files = beside(folder.path());
        let direct = files.resolve(&tensor("a", &[("location", "data.bin")]), 4).expect("sound");
        let linked = files.resolve(&tensor("b", &[("location", "link.bin")]), 4).expect("sound");
        assert!(Arc::ptr_eq(&direct.file, &linked.file), "it is one file");
        let error = files.resolve(&tensor("c", &[("location", "link.bin")]), 5).expect_err("shares bytes");
        assert!(matches!(error, ExternalError::Overlap { .. }), "{error}");
    }

    /// Stores of models keep contents under digests in one folder and links under readable names in another.
    #[test]
    fn a_linked_model_finds_data_linked_into_the_same_store() {
        let root = tempfile::tempdir().expect("a temporary folder");
        for folder in ["blobs", "snapshots", "snapshots/main"] {
            fs::create_dir(root.path().join(folder)).expect("a folder");
        }
        let snapshot = root.path().join("snapshots/main");
        for (blob, name) in [("6f1e", "model.onnx"), ("a2c4", "model.onnx.data")] {
            fs::write(root.path().join("blobs").join(blob), [1, 2, 3]).expect("writing");
            symlink(Path::new("../../blobs").join(blob), snapshot.join(name)).expect("a link");
        }
        let data = beside(&snapshot).resolve(&tensor("w", &[("location", "model.onnx.data")]), 3);
        assert!(data.is_ok(), "{data:?}");
    }

    #[test]
    fn a_linked_model_finds_data_beside_its_target() {
        let (folder, elsewhere) = (folder(), tempfile::tempdir().expect("a temporary folder"));
        let link = elsewhere.path().join("linked.onnx");
        symlink(folder.path().join("model.onnx"), &link).expect("a link");
        let mut files = ExternalFiles::beside(&link).expect("the link leads to a model");
        let data = files.resolve(&tensor("w", &[("location", "data.bin")]), 3);
        assert!(data.is_ok(), "{data:?}");
    }

    #[test]
    fn pipes_are_refused_without_waiting_for_a_writer() {
        let folder = folder();
        let made = std::process::Command::new("mkfifo").arg(folder.path().join("pipe")).status();
        assert!(made.expect("mkfifo runs").success());
        let error = error_in(folder.path(), &[("location", "pipe")], 1);
        assert!(matches!(error, ExternalError::NotRegular { .. }), "{error}");
    }
}
