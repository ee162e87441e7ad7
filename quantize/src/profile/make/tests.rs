//! What is made of statistics that are not as they should be, and of numbers that no encoding holds.

use quad_ir::dtype::DType;

use super::super::scores::UNIFIED;
use super::super::tests::{anchor, made, options, range, statistics, statistics_of, stored};
use super::{MakeError, Method, Options, make};
use crate::encoding::Range;
use crate::insert::of_profile;
use crate::ranges::weights::WeightMethod;
use crate::rules::PRESETS;

/// Attention with a mask that is a constant.
const MASKED: &str = r#"graph @main(%x: f32[1, 4]) {
  %w = weight [1.0, 2.0, 3.0, 4.0, 1.0, 2.0, 3.0, 4.0, 1.0, 2.0, 3.0, 4.0, 1.0, 2.0, 3.0, 4.0] : f32[4, 4]
  %mask = weight [0.0, 0.0, -1.0, 0.0] : f32[1, 4]
  %scores = matmul(%x, %w) : f32[1, 4]
  %masked = add(%scores, %mask) : f32[1, 4]
  %p = softmax(%masked) : f32[1, 4]
  return "p" = %p
}
"#;

#[test]
fn a_large_finite_mask_stays_a_float_with_what_it_is_added_to() {
    let huge = range(f32::MIN, 0.0);
    let statistics = statistics_of(MASKED, &[("a", &[("mask", huge), ("masked", huge)])]);
    for rules in PRESETS {
        for method in [Method::MinMax, Method::Percentile(60.0), Method::Mse] {
            let mut options = options(rules.name, "w8a16");
            options.method = method;
            let profile = made(&statistics, "a", &options).profile;
            for name in ["mask", "masked"] {
                assert!(!profile.entries.contains_key(name), "{}: {name}", rules.name);
            }
            assert!(profile.floats["masked"].contains("a mask: it reaches 3.4028235e38"), "{}", rules.name);
            assert!(profile.entries.contains_key("scores") && profile.entries.contains_key("p"));
        }
    }
    // A layer may have what weights it likes.
    let statistics = statistics_of(MASKED, &[("a", &[("w", range(-1e7, 1e7))])]);
    assert!(made(&statistics, "a", &options("qnn", "w8a16")).profile.entries.contains_key("w"));
}

#[test]
fn a_constant_that_is_not_finite_stays_a_float_and_a_weight_is_refused() {
    // Statistics have nothing of such constants.
    let mut statistics = statistics_of(MASKED, &[("a", &[])]);
    statistics.weights.remove("mask");
    for rules in ["qnn", "litert"] {
        let profile = made(&statistics, "a", &options(rules, "w8a16")).profile;
        assert!(profile.floats["mask"].contains("not finite"), "{rules}");
    }
    statistics.weights.remove("w");
    let error = make(&statistics, &anchor("a"), &options("qnn", "w8a16")).expect_err("no weight").to_string();
    assert!(error.contains("weight `w`") && error.contains("--float 'w'"), "{error}");
}

#[test]
fn an_adapter_that_was_run_on_nothing_is_refused() {
    let mut statistics = statistics(&[("a", &[]), ("b", &[])]);
    let adapter = statistics.adapters.get_mut("b").expect("there");
    adapter.samples.clear();
    for value in adapter.values.values_mut() {
        *value = crate::statistics::ValueStatistics::default();
    }
    for choice in ["a", "b", UNIFIED] {
        let error =
            make(&statistics, &anchor(choice), &options("reference", "w8a16")).expect_err("no samples");
        assert!(matches!(&error, MakeError::NoSamples(name) if name == "b"), "{error}");
        assert!(error.to_string().contains("`b` was run on no sample"), "{error}");
    }
}

#[test]
fn codes_go_as_far_as_the_rules_say_whatever_the_range() {
    let statistics = statistics(&[("a", &[("s.lora_A", range(-0.25, 0.1)), ("conv.w", range(-2.0, 2.0))])]);
    let mut options = options("qnn", "w16a16");
    options.site_scales = true;
    let limit = |options: &Options| {
        let profile = made(&statistics, "a", options).profile;
        assert_eq!(stored(&profile, "s.lora_A").0, DType::I16);
        ["s.lora_A", "conv.w", "time.w"].map(|name| of_profile(&profile)[name].limit)
    };
    // The scale of a site is made for its largest part; the others may reach as far.
    assert_eq!(limit(&options), [Some(32639); 3]);
    options.site_scales = false;
    options.weights = WeightMethod { per_channel: true, shrink: true };
    assert_eq!(limit(&options), [Some(32639); 3]);
}

#[test]
fn an_asymmetric_constant_has_all_codes() {
    // Zero is the middle code here, and still nothing was limited.
    let unit = Range { min: -128.0, max: 127.0 };
    let statistics = statistics_of(MASKED, &[("a", &[("mask", unit)])]);
    let profile = made(&statistics, "a", &options("litert", "w8a8")).profile;
    assert_eq!(stored(&profile, "mask"), (DType::I8, 1.0, 0));
    let again = super::Profile::from_text(&profile.to_text()).expect("reads");
    assert_eq!((again.entries["mask"].limit, again.entries["w"].limit), (None, Some(127)));
}
