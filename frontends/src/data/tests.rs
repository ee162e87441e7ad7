//! Tests of the readers and writers of tensor files.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use prost::Message;
use quad_ir::dtype::{ALL_DTYPES, DType};
use quad_ir::interpret::NamedTensors;
use quad_ir::tensor::Tensor;
use zip::write::SimpleFileOptions;

use super::{DataError, npz, pb};
use crate::onnx::TensorProto;

/// What every array of the committed archive holds, as far as its element type can tell.
const VALUES: [f64; 6] = [0.0, 1.0, 2.0, 3.0, 1.0, 0.0];

fn numpy_archive() -> npz::Archive {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/arrays/numpy.npz");
    npz::Archive::open(&path).expect("NumPy wrote it")
}

/// An archive of one entry `x.npy` with these bytes.
fn archive_of(content: &[u8], deflated: bool) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let method = if deflated { zip::CompressionMethod::Deflated } else { zip::CompressionMethod::Stored };
    zip.start_file("x.npy", SimpleFileOptions::default().compression_method(method)).expect("in memory");
    zip.write_all(content).expect("in memory");
    zip.finish().expect("in memory").into_inner()
}

fn npy_of(header: &str, elements: &[u8]) -> Vec<u8> {
    let mut content = b"\x93NUMPY\x01\x00".to_vec();
    content.extend((header.len() as u16).to_le_bytes());
    content.extend(header.as_bytes());
    content.extend(elements);
    content
}

fn read_bytes(content: &[u8]) -> Result<NamedTensors, DataError> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("arrays.npz");
    fs::write(&path, content).expect("written");
    npz::read(&path)
}

/// What is wrong with an archive whose array `x` has this header, and 24 bytes of elements.
fn refused(header: &str) -> String {
    let error = read_bytes(&archive_of(&npy_of(header, &[0; 24]), false)).expect_err("must be refused");
    let message = error.to_string();
    assert!(message.contains("arrays.npz") && message.contains("`x`"), "the place is named: {message}");
    message
}

#[test]
fn every_type_that_numpy_writes_is_read_in_every_layout() {
    let mut archive = numpy_archive();
    let plain = [
        ("f8", DType::F64),
        ("f4", DType::F32),
        ("f2", DType::F16),
        ("i8", DType::I64),
        ("i4", DType::I32),
        ("i2", DType::I16),
        ("i1", DType::I8),
        ("u8", DType::U64),
        ("u4", DType::U32),
        ("u2", DType::U16),
        ("u1", DType::U8),
    ];
    for (name, dtype) in plain {
        for prefix in ["", "big_", "columns_"] {
            let tensor = archive.read(&format!("{prefix}{name}"), None).expect("a plain array");
            assert_eq!((tensor.dtype(), tensor.sizes()), (dtype, &[2, 3][..]), "{prefix}{name}");
            assert_eq!(tensor.to_f64().expect("numbers"), VALUES, "{prefix}{name}");
        }
    }
    let truths = archive.read("bool", None).expect("truth values");
    assert_eq!(truths.to_bools().expect("truth values"), VALUES.map(|value| value != 0.0));
    let cube = archive.read("columns_3d", None).expect("a cube");
    assert_eq!(&*cube.elements::<i32>().expect("i32"), (0..24).collect::<Vec<_>>());
    assert_eq!(archive.read("scalar", None).expect("a scalar"), Tensor::scalar(7i64));
    assert_eq!(archive.read("empty", None).expect("no elements").sizes(), [0, 4]);
}

#[test]
fn types_whose_names_numpy_forgets_are_read_as_what_is_expected() {
    let mut archive = numpy_archive();
    for (name, dtype) in [
        ("float8_e4m3fn", DType::F8E4M3FN),
        ("float8_e4m3fnuz", DType::F8E4M3FNUZ),
        ("float8_e5m2fnuz", DType::F8E5M2FNUZ),
        ("float4_e2m1fn", DType::F4E2M1),
        ("int4", DType::I4),
        ("uint4", DType::U4),
        ("uint2", DType::U2),
    ] {
        let tensor = archive.read(name, Some(dtype)).expect("the type is told");
        assert_eq!((tensor.dtype(), tensor.to_f64().expect("numbers").as_slice()), (dtype, &VALUES[..]));
        let error = archive.read(name, None).expect_err("the type is lost").to_string();
        assert!(error.contains(name) && error.contains("uint8"), "{error}");
        assert!(archive.read(name, Some(DType::F32)).is_err(), "four bytes are not one");
    }
    let minus_one = archive.read("int2", Some(DType::I2)).expect("the type is told");
    assert_eq!(minus_one.to_f64().expect("numbers"), [0.0, 1.0, -2.0, -1.0, 1.0, 0.0]);
    // These two are told by their width and their kind.
    for (name, dtype) in [("bfloat16", DType::BF16), ("float8_e5m2", DType::F8E5M2)] {
        let tensor = archive.read(name, None).expect("there is only one such type");
        assert_eq!((tensor.dtype(), tensor.to_f64().expect("numbers").as_slice()), (dtype, &VALUES[..]));
    }
}

#[test]
fn what_is_written_is_read_back_and_the_same_bytes_again() {
    let mut tensors = NamedTensors::new();
    for dtype in ALL_DTYPES {
        let count = 7 * 16;
        let bytes: Vec<u8> =
            (0..dtype.byte_len(count).expect("small")).map(|byte| (byte * 37) as u8).collect();
        let bytes = match dtype {
            DType::Bool => bytes.into_iter().map(|byte| byte % 2).collect(),
            _ => bytes,
        };
        let tensor = Tensor::new(*dtype, &[7, 16], bytes.into()).expect("as many bytes");
        tensors.insert(format!("/path/{dtype}"), tensor);
    }
    tensors.insert("scalar".into(), Tensor::scalar(1.5f32));
    tensors.insert("empty".into(), Tensor::zeros(DType::I4, &[0]).expect("small"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (first, second) = (folder.path().join("first.npz"), folder.path().join("second.npz"));
    npz::write(&first, &tensors).expect("written");
    assert_eq!(npz::read(&first).expect("read back"), tensors);
    npz::write(&second, &tensors).expect("written");
    assert_eq!(fs::read(&first).expect("there"), fs::read(&second).expect("there"));
    assert_eq!(fs::read_dir(folder.path()).expect("there").count(), 2, "nothing else is left");
}

#[test]
fn headers_that_are_not_numpys_are_refused() {
    let header = |descr: &str, shape: &str| {
        refused(&format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n"))
    };
    assert!(header("'<f4'", "(1152921504606846976,)").contains("larger than a tensor may be"));
    assert!(header("'<f4'", "(4294967296, 4294967296, 4294967296)").contains("larger than a tensor may be"));
    assert!(header("'<f4'", "(99999999999999999999999,)").contains("where a size is expected"));
    assert!(header("'<f4'", "(-6,)").contains("where a size is expected"));
    assert!(header("'<f4'", "(5,)").contains("24 bytes of elements, 20 are expected for f32[5]"));
    assert!(header("'<f4'", "(7,)").contains("24 bytes of elements, 28 are expected for f32[7]"));
    assert!(header("'<c8'", "(3,)").contains("has elements '<c8'"));
    assert!(header("'|O'", "(3,)").contains("has elements '|O'"));
    assert!(header("[('a', '<f4'), ('b', '<f4')]", "(3,)").contains("has elements [('a'"));
    assert!(header("[('bfloat16', '<u4')]", "(6,)").contains("has elements [('bfloat16'"));
    assert!(header("'<f4", "(6,)").contains("has elements"));
    assert!(refused("{'descr': '<f4', 'shape': (6,)}\n").contains("lacks the key `fortran_order`"));
    assert!(refused("{'descr': '<f4', 'fortran_order': 0, 'shape': (6,)}").contains("True or False"));
    assert!(refused("{'x': 1}").contains("unknown key `x`"));
    assert!(refused("[1]").contains("expected"));
    assert!(refused(&"(".repeat(9000)).contains("expected"));
    assert!(refused(&" ".repeat(10_001)).contains("at most 10000"));
    assert!(refused("{'descr': '<f4', 'fortran_order': False, 'shape': (6,)} x").contains("behind its end"));
}

#[test]
fn an_entry_that_claims_more_than_its_bytes_can_hold_is_refused_before_it_is_unpacked() {
    let header = "{'descr': '|u1', 'fortran_order': False, 'shape': (3221225472,), }\n";
    let mut content = archive_of(&npy_of(header, &[0; 4096]), true);
    // The size before compression, in the directory at the end, becomes what the header needs.
    let directory =
        content.windows(4).rposition(|bytes| bytes == b"PK\x01\x02").expect("there is a directory");
    let claim = (3_221_225_472u64 + 10 + header.len() as u64) as u32;
    content[directory + 24..directory + 28].copy_from_slice(&claim.to_le_bytes());
    let error = read_bytes(&content).expect_err("must be refused").to_string();
    assert!(error.contains("compressed form"), "{error}");
}

#[test]
fn damage_anywhere_is_an_error_or_harmless() {
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n";
    for deflated in [false, true] {
        let whole = archive_of(&npy_of(header, &[7; 24]), deflated);
        read_bytes(&whole).expect("the whole archive");
        for length in 0..whole.len() {
            read_bytes(&whole[..length]).expect_err("cut short");
        }
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << (at % 8);
            if let Ok(tensors) = read_bytes(&damaged) {
                // The name and the dates are not protected, the contents are.
                let tensor = tensors.into_values().next();
                let bytes = tensor.map(|tensor| tensor.bytes().to_vec());
                assert!(bytes.is_none_or(|bytes| bytes == [7; 24]), "byte {at} went unnoticed");
            }
        }
    }
}

#[test]
fn files_that_are_no_archives_are_named_for_what_they_are() {
    let message = |content: &[u8]| read_bytes(content).expect_err("no archive").to_string();
    assert!(message(b"").contains("empty"));
    assert!(message(b"just text, long enough for an archive").contains("no zip archive"));
    assert!(message(&npy_of("{}", &[])).contains("single array"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let error = npz::read(folder.path()).expect_err("a folder").to_string();
    assert!(error.contains("cannot be read"), "{error}");
    let error = npz::read(&folder.path().join("absent.npz")).expect_err("absent").to_string();
    assert!(error.contains("absent.npz"), "{error}");
}

fn write_pb(path: PathBuf, name: &str, values: &[f32]) {
    let proto = TensorProto {
        name: name.to_owned(),
        dims: vec![values.len() as i64],
        data_type: 1,
        float_data: values.to_vec(),
        ..TensorProto::default()
    };
    fs::write(path, proto.encode_to_vec()).expect("written");
}

#[test]
fn a_series_is_read_in_the_order_of_its_numbers() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for number in 0..12 {
        let name = format!("t{number}");
        write_pb(folder.path().join(format!("input_{number}.pb")), &name, &[number as f32]);
    }
    fs::write(folder.path().join("input_x.pb"), "not of the series").expect("written");
    let tensors = pb::read_series(folder.path(), "input").expect("a series");
    let names: Vec<&str> = tensors.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!((names.len(), names[2], names[11]), (12, "t2", "t11"));
    assert_eq!(&*tensors[11].1.elements::<f32>().expect("f32"), [11.0]);
    assert!(pb::read_series(folder.path(), "output").expect("none").is_empty());

    fs::remove_file(folder.path().join("input_5.pb")).expect("there");
    let error = pb::read_series(folder.path(), "input").expect_err("one is missing").to_string();
    assert!(error.contains("input_5.pb"), "{error}");
}

#[test]
fn tensors_are_assigned_by_name_or_else_in_order() {
    let tensor = |value: f32| Tensor::scalar(value);
    let names = ["a".to_owned(), "b".to_owned()];
    let given = vec![("b".to_owned(), tensor(2.0)), ("a".to_owned(), tensor(1.0))];
    let assigned = pb::by_name(given, &names).expect("as many names");
    assert_eq!((&assigned["a"], &assigned["b"]), (&tensor(1.0), &tensor(2.0)));
    let given = vec![(String::new(), tensor(2.0)), ("a".to_owned(), tensor(1.0))];
    let assigned = pb::by_name(given, &names).expect("as many names");
    assert_eq!((&assigned["a"], &assigned["b"]), (&tensor(2.0), &tensor(1.0)));
    assert!(pb::by_name(vec![(String::new(), tensor(0.0)); 3], &names).is_none());
}

#[test]
fn what_is_no_tensor_file_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("input_0.pb");
    fs::write(&path, b"\xff\xff\xff").expect("written");
    assert!(matches!(pb::read(&path), Err(DataError::Malformed { .. })));
    let proto = TensorProto { dims: vec![1 << 40, 1 << 40], data_type: 1, ..TensorProto::default() };
    fs::write(&path, proto.encode_to_vec()).expect("written");
    assert!(matches!(pb::read(&path), Err(DataError::Contents { .. })));
    assert!(matches!(pb::read(&folder.path().join("absent.pb")), Err(DataError::Unreadable { .. })));
}
