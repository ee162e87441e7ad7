//! Feeds drawn bytes to the reader of ONNX models.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| quad_tests::targets::onnx_reader(bytes));
