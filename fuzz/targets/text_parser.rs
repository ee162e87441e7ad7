//! Feeds drawn bytes to the parser of the text form.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| quad_tests::targets::text_parser(bytes));
