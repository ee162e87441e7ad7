//! Feeds drawn bytes to the reader of NumPy archives.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| quad_tests::targets::npz_reader(bytes));
