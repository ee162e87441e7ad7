//! Merging is exact, and files are what was written.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use quad_ir::interpret::NamedTensors;
use quad_ir::tensor::Tensor;
use quad_ir::text::{self, NoWeights};

use super::histogram::{Counter, Histogram};
use super::*;
use crate::executor::{Reference, Samples};

const TEXT: &str = "quad 1

graph @main(%x: f32[1, 3], %slot: f32[3] adapter) {
  %w = weight [1.0, -2.0, 0.5] : f32[1, 3]
  %scaled = mul(%w, %slot) : f32[1, 3]
  %y = mul(%x, %scaled) : f32[1, 3]
  return \"y\" = %y
}
";

/// Statistics of the samples `which` of eight, for the adapters `names`.
fn taken(names: &[&str], which: impl IntoIterator<Item = usize>) -> Statistics {
    let which: Vec<usize> = which.into_iter().collect();
    let module = text::parse(TEXT, &NoWeights).expect("a module");
    let graph = module.main().expect("a graph");
    let executor = Reference::new(graph).expect("constants");
    let mut samples = Samples::default();
    let numbers = (0..24).map(|at| (at * 7 % 11) as f32 - 5.0).collect();
    let x = Tensor::from_vec(&[8, 3], numbers).expect("as many");
    samples.add(graph, NamedTensors::from([("x".to_owned(), x)])).expect("samples");
    let mut adapters = BTreeMap::new();
    for (at, name) in names.iter().enumerate() {
        let slot = Tensor::from_vec(&[3], vec![1.0, 2.0, at as f32]).expect("three");
        let slots = NamedTensors::from([("slot".to_owned(), slot)]);
        let mut adapter = AdapterStatistics::begin(graph, name, &slots, &samples).expect("finite");
        for sample in which.iter().copied() {
            let seen = adapter.observe(&executor, name, (&samples, sample), &slots).expect("runs");
            adapter.record(seen);
        }
        adapters.insert((*name).to_owned(), adapter);
    }
    let model = Model { digest: "d".to_owned(), pipeline: "frozen".to_owned(), text: TEXT.to_owned() };
    Statistics { model, weights: weights(graph).expect("finite"), adapters }
}

fn merged(parts: &[&Statistics]) -> Statistics {
    let mut all = parts[0].clone();
    for part in &parts[1..] {
        all.merge((*part).clone()).expect("they belong together");
    }
    all
}

#[test]
fn what_is_seen_is_noted() {
    let statistics = taken(&["a", "b"], 0..8);
    let weight = &statistics.weights["w"];
    assert_eq!(weight.range, Some(Range { min: -2.0, max: 1.0 }));
    assert_eq!(weight.axes[0], [Range { min: -2.0, max: 1.0 }]);
    assert_eq!(weight.axes[1], [1.0, -2.0, 0.5].map(|only| Range { min: only, max: only }));
    let a = &statistics.adapters["a"];
    assert_eq!(a.slots["slot"].range, Some(Range { min: 0.0, max: 2.0 }));
    // What depends on the adapter alone is the same in every run, and is no activation.
    assert_eq!(a.values.keys().collect::<Vec<_>>(), ["x", "y"]);
    let x = &a.values["x"];
    assert_eq!(x.extremes[&0], Range { min: -5.0, max: 2.0 });
    assert_eq!((x.extremes.len(), x.histogram.count()), (8, 24));
    assert_eq!(x.range(), Some(Range { min: -5.0, max: 5.0 }));
    assert_ne!(a.digest, statistics.adapters["b"].digest);
}

#[test]
fn parts_are_the_whole_in_any_order_and_grouping() {
    let whole = taken(&["a", "b"], 0..8);
    let parts: Vec<Statistics> = (0..4).map(|part| taken(&["a", "b"], (part..8).step_by(4))).collect();
    let [p, q, r, s] = &parts[..] else { panic!("four parts") };
    assert_eq!(merged(&[p, q, r, s]), whole);
    assert_eq!(merged(&[s, q, p, r]), whole);
    assert_eq!(merged(&[&merged(&[s, p]), &merged(&[r, q])]), whole);
    let adapters = [taken(&["a"], 0..8), merged(&[&taken(&["a", "b"], 0..3), &taken(&["a", "b"], 3..8)])];
    let mut alone = adapters[1].clone();
    alone.adapters.remove("a");
    assert_eq!(merged(&[&adapters[0], &alone]), whole);
}

#[test]
fn what_does_not_belong_together_is_refused_and_changes_nothing() {
    let first = taken(&["a", "b"], 0..4);
    let refused = |change: &dyn Fn(&mut Statistics)| {
        let (mut into, mut other) = (first.clone(), taken(&["a", "b"], 4..8));
        change(&mut other);
        let error = into.merge(other).expect_err("they do not belong together");
        assert_eq!(into, first);
        error.to_string()
    };
    let adapter = |statistics: &mut Statistics| statistics.adapters.get_mut("b").cloned().expect("b");
    assert!(refused(&|other| other.model.digest = "e".to_owned()).contains("different models, d and e"));
    assert!(
        refused(&|other| {
            let changed = AdapterStatistics { digest: "e".to_owned(), ..adapter(other) };
            other.adapters.insert("b".to_owned(), changed);
        })
        .contains("`b` is not the same")
    );
    assert!(
        refused(&|other| {
            let changed = AdapterStatistics { available: 9, ..adapter(other) };
            other.adapters.insert("b".to_owned(), changed);
        })
        .contains("`b` saw different data")
    );
    assert!(refused(&|other| *other = taken(&["a", "b"], 3..8)).contains("`a` saw sample 3"));
    assert!(refused(&|other| other.weights.clear()).contains("damaged"));
}

#[test]
fn files_hold_everything() {
    let statistics = taken(&["a", "b"], [1, 6]);
    let (tensors, metadata) = statistics.to_tensors().expect("tensors");
    assert_eq!(Statistics::from_tensors(tensors.clone(), &metadata).expect("the same"), statistics);
    let read = |change: &dyn Fn(&mut NamedTensors, &mut BTreeMap<String, String>)| {
        let (mut tensors, mut metadata) = (tensors.clone(), metadata.clone());
        change(&mut tensors, &mut metadata);
        Statistics::from_tensors(tensors, &metadata).expect_err("damaged").to_string()
    };
    for name in tensors.keys() {
        let said = read(&|tensors, _| drop(tensors.remove(name)));
        assert!(said.contains(name.as_str()), "without {name}: {said}");
        let one = |tensor: &Tensor| Tensor::zeros(tensor.dtype(), &[1]).expect("one element");
        // A text of one zero byte is a text.
        if name != "graph" {
            read(&|tensors, _| drop(tensors.insert(name.clone(), one(&tensors[name]))));
        }
    }
    assert!(read(&|_, metadata| metadata.clear()).contains("no statistics"));
    assert!(
        read(&|_, metadata| drop(metadata.insert("quad.statistics".to_owned(), "2".to_owned())))
            .contains("version 2")
    );
    assert!(
        read(&|tensors, _| drop(tensors.insert("more".to_owned(), tensors["graph"].clone())))
            .contains("more")
    );
}

#[test]
fn infinities_are_named() {
    let module = text::parse(TEXT, &NoWeights).expect("a module");
    let graph = module.main().expect("a graph");
    let executor = Reference::new(graph).expect("constants");
    let mut samples = Samples::default();
    let x = Tensor::from_vec(&[2, 3], vec![1.0, 2.0, 3.0, 4.0, f32::MAX, 5.0]).expect("as many");
    samples.add(graph, NamedTensors::from([("x".to_owned(), x)])).expect("samples");
    let slot = |last: f32| {
        let slot = Tensor::from_vec(&[3], vec![1.0, -2.0, last]).expect("three");
        NamedTensors::from([("slot".to_owned(), slot)])
    };
    let begun = AdapterStatistics::begin(graph, "a", &slot(1.0), &samples).expect("finite");
    begun.observe(&executor, "a", (&samples, 0), &slot(1.0)).expect("finite");
    let error = begun.observe(&executor, "a", (&samples, 1), &slot(1.0)).expect_err("too large");
    let said = error.to_string();
    assert!(["`a`", "sample 1", "`y`", "inf"].iter().all(|part| said.contains(part)), "{said}");
    let error = AdapterStatistics::begin(graph, "a", &slot(f32::NAN), &samples).expect_err("no number");
    assert!(error.to_string().contains("slot `slot` has NaN"), "{error}");
}

fn numbers() -> impl Strategy<Value = Vec<f32>> {
    let number = any::<f32>().prop_filter("finite", |number| number.is_finite());
    proptest::collection::vec(prop_oneof![number, -1f32..1.0, Just(0.0), Just(-0.0)], 0..50)
}

fn histogram(numbers: &[f32]) -> Histogram {
    let mut histogram = Histogram::default();
    Counter::default().count(numbers, &mut histogram);
    histogram
}

fn sum(parts: &[&Histogram]) -> Histogram {
    let mut sum = Histogram::default();
    for part in parts {
        sum.merge(part);
    }
    sum
}

proptest! {
    #[test]
    fn histograms_add_up_in_any_order(a in numbers(), b in numbers(), c in numbers()) {
        let whole = histogram(&[&a[..], &b, &c].concat());
        let [a, b, c] = [&a, &b, &c].map(|numbers| histogram(numbers));
        prop_assert_eq!(&sum(&[&a, &b, &c]), &whole);
        prop_assert_eq!(&sum(&[&c, &a, &b]), &whole);
        prop_assert_eq!(&sum(&[&a, &sum(&[&b, &c])]), &whole);
    }

    #[test]
    fn statistics_add_up_however_samples_are_dealt(parts in proptest::collection::vec(0usize..3, 8)) {
        let of = |part: usize| {
            let which: BTreeSet<usize> = (0..8).filter(|sample| parts[*sample] == part).collect();
            taken(&["a"], which)
        };
        let [p, q, r] = [of(0), of(1), of(2)];
        let whole = taken(&["a"], 0..8);
        prop_assert_eq!(&merged(&[&merged(&[&p, &q]), &r]), &whole);
        prop_assert_eq!(&merged(&[&r, &merged(&[&q, &p])]), &whole);
    }
}
