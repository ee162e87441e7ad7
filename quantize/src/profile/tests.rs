//! Profiles of a small graph that has everything the rules speak of.

use std::collections::{BTreeMap, BTreeSet};

use quad_ir::dtype::DType;
use quad_ir::graph::NodeRef;
use quad_ir::ops::source::Binding;
use quad_ir::ops::{Input, Weight};
use quad_passes::lora::expose::Form;

use super::anchor::{self, AnchorRule};
use super::make::{Made, MakeError, Options, make};
use super::scores::{Scores, UNIFIED};
use super::{Anchor, Entry, Profile, Role};
use crate::encoding::Range;
use crate::precision::{Mixed, Precision};
use crate::rules::{Rules, graph};
use crate::statistics::histogram::Counter;
use crate::statistics::{AdapterStatistics, Model, Statistics, TensorStatistics, ValueStatistics};

/// A convolution with its branch, attention, a timestep, and a skip connection.
const GRAPH: &str = r#"graph @main(%x: f32[1, 2, 2, 2], %t: i64[1], %s.lora_A: f32[1, 1, 1, 2] adapter, %s.lora_B: f32[2, 1, 1, 1] adapter) {
  %conv.w = weight [1.0, 2.0, 3.0, 4.0] : f32[2, 1, 1, 2]
  %conv.b = weight [0.5, -0.5] : f32[2]
  %time.w = weight [1.0, 2.0, 3.0, 4.0] : f32[2, 2]
  %frequencies = weight [1.0, 0.1] : f32[1, 2]
  %half = weight 0.5 : f32[]
  %flat = weight [1, 4, 2] : i64[3]
  %planes = weight [1, 2, 2, 2] : i64[4]
  %conv = conv(%x, %conv.w, %conv.b) {layout = nhwc} : f32[1, 2, 2, 2] from "s"
  %down = conv(%x, %s.lora_A) {layout = nhwc} : f32[1, 2, 2, 1] from "s"
  %up = conv(%down, %s.lora_B) {layout = nhwc} : f32[1, 2, 2, 2] from "s"
  %sum = add(%conv, %up) : f32[1, 2, 2, 2] from "s"
  %float = cast(%t) {to = f32} : f32[1]
  %angles = mul(%float, %frequencies) : f32[1, 2]
  %sines = sin(%angles) : f32[1, 2]
  %embedded = matmul(%sines, %time.w) : f32[1, 2]
  %timed = add(%sum, %embedded) : f32[1, 2, 2, 2]
  %q = reshape(%timed, %flat) : f32[1, 4, 2]
  %k = transpose(%q) {perm = [0, 2, 1]} : f32[1, 2, 4]
  %scores = matmul(%q, %k) : f32[1, 4, 4]
  %scaled = mul(%scores, %half) : f32[1, 4, 4]
  %p = softmax(%scaled) : f32[1, 4, 4]
  %attended = matmul(%p, %q) : f32[1, 4, 2]
  %back = reshape(%attended, %planes) : f32[1, 2, 2, 2]
  %rectified = relu(%back) : f32[1, 2, 2, 2]
  %cat = concat(%rectified, %x) {axis = -1} : f32[1, 2, 2, 4]
  return "y" = %cat
}
"#;

pub(super) fn range(min: f32, max: f32) -> Range {
    Range { min, max }
}

/// Statistics of a value whose numbers are the two ends of `range`.
fn value(range: Range) -> ValueStatistics {
    let mut statistics = ValueStatistics::default();
    Counter::default().count(&[range.min, range.max], &mut statistics.histogram);
    statistics.extremes.insert(0, range);
    statistics
}

/// Statistics of a constant of these sizes with the ends of `range` along each axis.
fn tensor(sizes: &[u64], range: Range) -> TensorStatistics {
    let axes = sizes.iter().map(|size| {
        (1..=*size)
            .map(|at| {
                // Further channels are smaller.
                Range { min: range.min / at as f32, max: range.max / at as f32 }
            })
            .collect()
    });
    TensorStatistics { axes: axes.collect(), histogram: value(range).histogram, range: Some(range) }
}

/// Statistics of [`GRAPH`]: everything from -1 to 1 but for what `of` says.
pub(crate) fn statistics(of: &[(&str, &[(&str, Range)])]) -> Statistics {
    statistics_of(GRAPH, of)
}

/// As [`statistics`], of the graph that `text` prints.
pub(crate) fn statistics_of(text: &str, of: &[(&str, &[(&str, Range)])]) -> Statistics {
    let graph = graph::read(text).expect("a graph");
    let unit = range(-1.0, 1.0);
    let mut statistics = Statistics {
        model: Model { digest: "d".to_owned(), pipeline: "none".to_owned(), text: text.to_owned() },
        weights: BTreeMap::new(),
        adapters: BTreeMap::new(),
    };
    for (name, ranges) in of {
        let ranges: BTreeMap<&str, Range> = ranges.iter().copied().collect();
        let mut adapter = AdapterStatistics {
            digest: String::new(),
            data: String::new(),
            available: 1,
            samples: BTreeSet::from([0]),
            slots: BTreeMap::new(),
            values: BTreeMap::new(),
        };
        for result in
            graph.nodes().flat_map(NodeRef::results).filter(|result| result.ty().dtype == DType::F32)
        {
            let name = result.name().expect("a name").to_string();
            let range = ranges.get(name.as_str()).copied().unwrap_or(unit);
            let sizes = result.ty().shape.as_known().expect("known sizes");
            let is_slot = result.producer().is::<Input>().is_some_and(|op| op.binding == Binding::Adapter);
            if result.producer().is::<Weight>().is_some() {
                statistics.weights.insert(name, tensor(&sizes, range));
            } else if is_slot {
                adapter.slots.insert(name, tensor(&sizes, range));
            } else {
                adapter.values.insert(name, value(range));
            }
        }
        statistics.adapters.insert((*name).to_owned(), adapter);
    }
    statistics
}

pub(super) fn options(rules: &str, precision: &str) -> Options {
    let precision: Precision = precision.parse().expect("a precision");
    Options::new(Rules::preset(rules).expect("a preset"), Mixed::uniform(precision))
}

pub(crate) fn anchor(choice: &str) -> Anchor {
    Anchor { choice: choice.to_owned(), ..Anchor::default() }
}

pub(super) fn made(statistics: &Statistics, choice: &str, options: &Options) -> Made {
    make(statistics, &anchor(choice), options).expect("a profile")
}

pub(super) fn stored(profile: &Profile, name: &str) -> (DType, f32, i32) {
    let Entry { encoding, .. } = &profile.entries[name];
    let (scale, zero_point) = encoding.parameters().next().expect("a scale");
    (encoding.stored, scale, zero_point)
}

#[test]
fn the_reference_quantizes_layers_and_activations() {
    let statistics = statistics(&[("a", &[("x", range(-1.0, 3.0)), ("conv.w", range(-2.0, 1.0))])]);
    let Made { profile, notes } = made(&statistics, "a", &options("reference", "w8a16"));
    assert_eq!(notes, Vec::<String>::new());
    assert_eq!(stored(&profile, "x"), (DType::U16, 4.0 / 65535.0, 16384));
    let weight = &profile.entries["conv.w"];
    assert_eq!((weight.role, weight.encoding.quant.axis), (Role::Weight, Some(0)));
    let scales: Vec<f32> = weight.encoding.parameters().map(|(scale, _)| scale).collect();
    assert_eq!(scales, [2.0 / 127.0, 1.0 / 127.0]);
    assert_eq!(stored(&profile, "s.lora_A"), (DType::I16, 1.0 / 32767.0, 0));
    assert_eq!(profile.entries["s.lora_A"].role, Role::Slot);
    assert_eq!(profile.entries["time.w"].encoding.quant.axis, Some(1));
    // The timestep's chain, biases and factors of attention stay floats.
    for float in ["float", "angles", "sines", "conv.b", "half", "frequencies", "flat"] {
        assert!(!profile.entries.contains_key(float), "{float}");
    }
    assert!(profile.floats["sines"].contains("island"));
    // Moved elements share an encoding; a concat has its own.
    assert_eq!(profile.entries["q"], profile.entries["timed"]);
    assert_eq!(profile.entries["back"], profile.entries["attended"]);
    assert_ne!(profile.entries["cat"], profile.entries["x"]);
    assert_eq!(
        (profile.rules.as_str(), profile.method.as_str(), profile.weights.as_str()),
        ("reference", "min-max", "per-channel")
    );
}

#[test]
fn the_numbers_of_a_shared_encoding_are_those_of_its_sources() {
    let wide = range(-9.0, 9.0);
    // What a reshape makes is what went in, whatever statistics say; a concat is its parts.
    let statistics = statistics(&[("a", &[("q", wide), ("x", wide), ("cat", range(-99.0, 99.0))])]);
    let reference = made(&statistics, "a", &options("reference", "w8a8")).profile;
    assert_eq!(reference.entries["q"].range, range(-1.0, 1.0));
    assert_eq!(reference.entries["cat"].range, range(-99.0, 99.0));
    let qnn = made(&statistics, "a", &options("qnn", "w8a8")).profile;
    assert_eq!(qnn.entries["cat"], qnn.entries["x"]);
    assert_eq!(qnn.entries["cat"].range, wide);
    assert_eq!(qnn.entries["rectified"], qnn.entries["x"]);
}

#[test]
fn litert_has_fixed_encodings_and_biases_of_products() {
    let statistics = statistics(&[("a", &[("conv.w", range(-2.0, 1.0)), ("x", range(-3.0, 1.0))])]);
    let wide = made(&statistics, "a", &options("litert", "w8a16")).profile;
    assert_eq!(stored(&wide, "p"), (DType::I16, 1.0 / 32768.0, 0));
    assert_eq!(stored(&wide, "sum"), (DType::I16, 1.0 / 32767.0, 0));
    // The layer is a product at each position, of which 16 bits are right.
    assert_eq!(stored(&wide, "s.lora_B"), (DType::I16, 1.0 / 32767.0, 0));
    let bias = &wide.entries["conv.b"];
    assert_eq!(
        (bias.role, bias.encoding.stored, bias.encoding.quant.axis),
        (Role::Bias, DType::I64, Some(0))
    );
    let x = stored(&wide, "x").1;
    let scales: Vec<f32> = bias.encoding.parameters().map(|(scale, _)| scale).collect();
    assert_eq!(scales, [x * (2.0 / 127.0), x * (1.0 / 127.0)]);
    // The end of the timestep's island and the factor of attention are integers, too.
    assert_eq!(stored(&wide, "sines").0, DType::I16);
    assert_eq!((stored(&wide, "half").0, wide.entries["half"].role), (DType::I16, Role::Weight));
    assert!(!wide.entries.contains_key("angles"));

    let narrow = made(&statistics, "a", &options("litert", "w8a8")).profile;
    assert_eq!(stored(&narrow, "p"), (DType::I8, 1.0 / 256.0, -128));
    assert_eq!(stored(&narrow, "s.lora_B"), (DType::I8, 1.0 / 127.0, 0));
    assert_eq!(narrow.entries["conv.b"].encoding.stored, DType::I32);
}

#[test]
fn neuropilot_has_no_zero_point_at_zero() {
    let statistics = statistics(&[(
        "a",
        &[("sum", range(-128.0, 127.0)), ("scores", range(-1.0, 3.0)), ("p", range(0.0, 0.9))],
    )]);
    let litert = made(&statistics, "a", &options("litert", "w8a8")).profile;
    let neuropilot = made(&statistics, "a", &options("neuropilot", "w8a8")).profile;
    assert_eq!(stored(&litert, "sum"), (DType::I8, 1.0, 0));
    assert_eq!(stored(&neuropilot, "sum"), (DType::I8, 128.0 / 127.0, -1));
    assert_eq!(neuropilot.entries["scores"], litert.entries["scores"]);
    for (name, entry) in neuropilot.of_role(Role::Activation) {
        let reach = entry.encoding.reach();
        let step = entry.encoding.parameters().next().expect("a scale").0;
        let covers = reach.min - step <= entry.range.min && entry.range.max <= reach.max + step;
        assert!(covers, "{name}: {reach:?} for {:?}", entry.range);
    }
}

#[test]
fn qnn_has_symmetric_second_operands() {
    let statistics = statistics(&[("a", &[("timed", range(-1.0, 3.0)), ("conv.b", range(-4e4, 1.0))])]);
    let profile = made(&statistics, "a", &options("qnn", "w8a16")).profile;
    // Keys are transposed queries, so these are symmetric as well.
    assert_eq!(stored(&profile, "k"), (DType::U16, 3.0 / 32639.0, 32768));
    assert_eq!(profile.entries["q"], profile.entries["k"]);
    assert_eq!(stored(&profile, "s.lora_A"), (DType::I16, 1.0 / 32639.0, 0));
    assert_eq!(stored(&profile, "x"), (DType::U16, 2.0 / 65535.0, 32768));
    // A bias of 4e4 has more than 2^31 steps of products.
    assert!(!profile.entries.contains_key("conv.b"));
    assert!(profile.floats["conv.b"].contains("i32"), "{:?}", profile.floats);
}

#[test]
fn the_anchor_decides_and_unified_holds_all() {
    let (small, large) = (range(-0.5, 0.25), range(-4.0, 8.0));
    let zero = range(0.0, 0.0);
    let statistics = statistics(&[
        ("a", &[("sum", small), ("up", zero), ("s.lora_B", zero)]),
        ("b", &[("sum", large), ("up", small), ("s.lora_B", small)]),
    ]);
    let options = options("reference", "w8a16");
    let of = |choice: &str| made(&statistics, choice, &options);
    assert_eq!(of("a").profile.entries["sum"].range, small);
    assert_eq!(of("b").profile.entries["sum"].range, large);
    assert_eq!(of(UNIFIED).profile.entries["sum"].range, large);
    // Where the anchor has no branch, the others say how large one is.
    let Made { profile, notes } = of("a");
    assert_eq!((profile.entries["up"].range, profile.entries["s.lora_B"].range), (small, small));
    assert_eq!(notes.len(), 2);
    assert!(matches!(make(&statistics, &anchor("c"), &options), Err(MakeError::NoAdapter(_))));
}

#[test]
fn precision_is_mixed_by_pattern_name_and_share() {
    let statistics = statistics(&[("a", &[])]);
    let mut options = options("reference", "w8a16");
    options.mixed.patterns =
        vec![("s".parse().expect("a pattern"), "w4a8-slots8".parse().expect("a precision"))];
    options.floats = vec!["scaled".parse().expect("a pattern")];
    let profile = made(&statistics, "a", &options).profile;
    assert_eq!(stored(&profile, "conv.w").0, DType::I4);
    assert_eq!((stored(&profile, "sum").0, stored(&profile, "x").0), (DType::U8, DType::U16));
    assert_eq!(stored(&profile, "s.lora_A").0, DType::I8);
    assert!(!profile.entries.contains_key("scaled") && profile.floats["scaled"].contains("`scaled`"));
    assert_eq!(profile.mixed, [("s".to_owned(), "w4a8-slots8".parse().expect("a precision"))]);

    // A module that stays a float does so with its weight and its slots.
    options.floats = vec!["s".parse().expect("a pattern")];
    let profile = made(&statistics, "a", &options).profile;
    for float in ["conv.w", "conv", "up", "sum", "s.lora_A", "s.lora_B"] {
        assert!(!profile.entries.contains_key(float) && profile.floats[float].contains("`s`"), "{float}");
    }

    // What is moved follows its source.
    options.floats.clear();
    let names = BTreeSet::from(["timed".to_owned()]);
    options.mixed = Mixed::share(Precision::W8A16, &names, Precision::W8A8);
    let profile = made(&statistics, "a", &options).profile;
    assert_eq!(
        ["timed", "q", "k", "sum"].map(|name| stored(&profile, name).0),
        [DType::U8, DType::U8, DType::U8, DType::U16]
    );
}

#[test]
fn slots_have_a_form() {
    let statistics = statistics(&[("a", &[("s.lora_A", range(-1.0, 0.25)), ("conv.w", range(-2.0, 2.0))])]);
    let mut options = options("reference", "w8a16-slots8");
    options.slots = Form::RankNormalized;
    let normalized = made(&statistics, "a", &options).profile;
    assert_eq!(stored(&normalized, "s.lora_A"), (DType::I8, 1.0 / 127.0, 0));
    assert_eq!(normalized.slots, Form::RankNormalized);

    options.slots = Form::Plain;
    options.site_scales = true;
    let site = made(&statistics, "a", &options).profile;
    let one = (DType::I8, 2.0 / 127.0, 0);
    assert_eq!(["conv.w", "s.lora_A", "s.lora_B"].map(|name| stored(&site, name)), [one; 3]);
    assert_eq!(site.weights, "per-channel, one scale for each site");

    let large = self::statistics(&[("a", &[("s.lora_A", range(-1.5, 0.25))])]);
    options.slots = Form::RankNormalized;
    let error = make(&large, &anchor("a"), &options).expect_err("too large").to_string();
    assert!(error.contains("`s.lora_A` of adapter `a` reaches 1.5"), "{error}");
}

#[test]
fn what_rules_lack_is_said() {
    let statistics = statistics(&[("a", &[])]);
    let error = make(&statistics, &anchor("a"), &options("litert", "w16a16"))
        .expect_err("no such weights")
        .to_string();
    assert_eq!(error, "`conv.w`: rules `litert` have no weights of 16 bits, only of 4 and 8");
}

#[test]
fn anchors_are_chosen_by_name_and_by_scores() {
    let statistics = statistics(&[("a", &[]), ("b", &[])]);
    let choose = |text: &str, scores: Option<&Scores>| {
        anchor::choose(&AnchorRule::named(text, 0.05), &statistics, scores)
    };
    let named = choose("b", None).expect("known");
    assert_eq!((named.choice.as_str(), named.adapters), ("b", vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(choose(UNIFIED, None).expect("always").choice, UNIFIED);
    assert!(choose("c", None).expect_err("unknown").to_string().contains("only of a, b"));
    assert!(choose("qss", None).expect_err("no scores").to_string().contains("quad qss"));

    let worst = |a: f64, b: f64| BTreeMap::from([("a".to_owned(), a), ("b".to_owned(), b)]);
    let mut scores = Scores {
        graph: "d".to_owned(),
        qss: worst(0.1, 0.2),
        psnr: BTreeMap::from([("b".to_owned(), worst(20.0, 50.0)), (UNIFIED.to_owned(), worst(40.0, 41.0))]),
        ..Scores::default()
    };
    assert_eq!(choose("qss", Some(&scores)).expect("scored").choice, "b");
    assert_eq!(choose("auto", Some(&scores)).expect("scored").choice, UNIFIED);
    scores.qss = worst(0.2, 0.199);
    assert_eq!(choose("qss", Some(&scores)).expect("scored").choice, UNIFIED);
    scores.qss.remove("b");
    assert!(
        choose("auto", Some(&scores)).expect_err("not measured").to_string().contains("`b` was not measured")
    );
    scores.qss = worst(0.2, 0.1);
    scores.graph = "e".to_owned();
    assert!(choose("auto", Some(&scores)).expect_err("other").to_string().contains("another model"));
}

#[test]
fn a_group_has_a_profile_of_its_own() {
    let of = |end: f32| ("conv", range(-end, end));
    let statistics = statistics(&[("a", &[of(1.0)]), ("b", &[of(2.0)]), ("c", &[of(4.0)])]);
    let choose = |text: &str| anchor::choose(&AnchorRule::named(text, 0.05), &statistics, None);
    let some = choose("b+a").expect("known");
    assert_eq!((some.choice.as_str(), &some.adapters[..]), (UNIFIED, &["a".to_owned(), "b".to_owned()][..]));
    assert!(choose("a+d").is_err());
    let reach = |anchor: &Anchor| {
        let made = make(&statistics, anchor, &options("reference", "w8a8")).expect("made");
        made.profile.entries["conv"].range.max
    };
    assert_eq!(reach(&some), 2.0);
    assert_eq!(reach(&choose(UNIFIED).expect("always")), 4.0);
}
