//! Feeds drawn bytes to the reader of LoRA adapters.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| quad_tests::targets::adapter_reader(bytes));
