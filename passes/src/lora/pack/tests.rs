//! Tests of how adapters are laid out over the sites of a module.

use quad_ir::text::{self, NoWeights};

use super::*;

/// A module with a product from 2 to 3 channels and a convolution by 1 from 2 to 2, at a common rank of 3.
fn module() -> Module {
    let text = "quad 1

        graph @main(%x: f32[2, 2], %image: f32[1, 2, 1, 1],
            %fc.lora_A: f32[3, 2] adapter, %fc.lora_B: f32[3, 3] adapter, %fc.lora_scale: f32[3] adapter,
            %conv.lora_A: f32[3, 2, 1, 1] adapter, %conv.lora_B: f32[2, 3] adapter, %conv.lora_scale: f32[3] adapter) {
          return \"x\" = %x
        }";
    text::parse(text, &NoWeights).unwrap_or_else(|error| panic!("{}", error.show()))
}

fn tensor(sizes: &[usize], elements: &[f32]) -> Tensor {
    Tensor::from_vec(sizes, elements.to_vec()).expect("as many")
}

/// An adapter of `fc` whose elements are consecutive numbers.
fn adapter(name: &str, rank: usize, scale: f64) -> Adapter {
    let counted = |count: usize| (1..=count).map(|number| number as f32).collect::<Vec<f32>>();
    let factors = Factors {
        path: "fc".to_owned(),
        lora_a: tensor(&[rank, 2], &counted(rank * 2)),
        lora_b: tensor(&[3, rank], &counted(rank * 3)),
        scale: vec![scale; rank],
    };
    Adapter { name: name.to_owned(), sites: vec![factors] }
}

fn share(adapter: &Adapter, strength: f64) -> Share<'_> {
    Share { adapter, strength }
}

#[test]
fn ranks_are_padded_and_absent_sites_are_zeros() {
    let adapter = adapter("a", 2, 0.5);
    let packed = pack(&module(), &[share(&adapter, 3.0)]).expect("it fits");
    assert_eq!(packed["fc.lora_A"], tensor(&[3, 2], &[1.0, 2.0, 3.0, 4.0, 0.0, 0.0]));
    assert_eq!(packed["fc.lora_B"], tensor(&[3, 3], &[1.0, 2.0, 0.0, 3.0, 4.0, 0.0, 5.0, 6.0, 0.0]));
    assert_eq!(packed["fc.lora_scale"], tensor(&[3], &[1.5, 1.5, 0.0]));
    for (part, sizes) in [("lora_A", &[3, 2, 1, 1][..]), ("lora_B", &[2, 3]), ("lora_scale", &[3])] {
        let zeros = tensor(sizes, &vec![0.0; sizes.iter().product()]);
        assert_eq!(packed[&format!("conv.{part}")], zeros);
    }
    let none = pack(&module(), &[]).expect("no adapter fits");
    assert!(none.values().all(|tensor| tensor.bytes().iter().all(|byte| *byte == 0)));
    assert_eq!(none.len(), 6);
}

#[test]
fn several_adapters_stand_behind_one_another() {
    let (one, two) = (adapter("one", 1, 2.0), adapter("two", 2, 1.0));
    let packed = pack(&module(), &[share(&one, 0.5), share(&two, -1.0)]).expect("it fits");
    assert_eq!(packed["fc.lora_A"], tensor(&[3, 2], &[1.0, 2.0, 1.0, 2.0, 3.0, 4.0]));
    assert_eq!(packed["fc.lora_B"], tensor(&[3, 3], &[1.0, 1.0, 2.0, 2.0, 3.0, 4.0, 3.0, 5.0, 6.0]));
    assert_eq!(packed["fc.lora_scale"], tensor(&[3], &[1.0, -1.0, -1.0]));
    let error = pack(&module(), &[share(&two, 1.0), share(&two, 1.0)]).expect_err("rank 4 of 3").to_string();
    for part in ["needs rank 4", "has 3", "`two` (2), `two` (2)"] {
        assert!(error.contains(part), "{part} is not in: {error}");
    }
}

#[test]
fn factors_of_other_sizes_are_refused_and_kernels_of_one_may_be_left_out() {
    let mut adapter = adapter("a", 2, 1.0);
    adapter.sites[0].path = "conv".to_owned();
    adapter.sites[0].lora_b = tensor(&[2, 2, 1, 1], &[1.0, 2.0, 3.0, 4.0]);
    let packed = pack(&module(), &[share(&adapter, 1.0)]).expect("a matrix is a kernel of one");
    assert_eq!(packed["conv.lora_A"], tensor(&[3, 2, 1, 1], &[1.0, 2.0, 3.0, 4.0, 0.0, 0.0]));
    for (a, b, expected) in [
        (&[2, 3][..], &[2, 2][..], "lora_A is [2, 3], expected [2, 2, 1, 1]"),
        (&[2, 2], &[3, 2], "lora_B is [3, 2], expected [2, 2]"),
        (&[2, 2], &[2, 3], "lora_B is [2, 3], expected [2, 2]"),
        (&[2, 2, 3, 3], &[2, 2], "lora_A is [2, 2, 3, 3]"),
    ] {
        let zeros = |sizes: &[usize]| tensor(sizes, &vec![0.0; sizes.iter().product()]);
        (adapter.sites[0].lora_a, adapter.sites[0].lora_b) = (zeros(a), zeros(b));
        let error = pack(&module(), &[share(&adapter, 1.0)]).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn no_site_is_left_out_in_silence() {
    let mut unknown = adapter("a", 1, 1.0);
    unknown.sites[0].path = "other".to_owned();
    let error = pack(&module(), &[share(&unknown, 1.0)]).expect_err("there is no such site").to_string();
    assert!(error.contains("1 of its 1 sites are not in the model: `other`"), "{error}");
    let mut twice = adapter("a", 1, 1.0);
    twice.sites.push(twice.sites[0].clone());
    assert!(pack(&module(), &[share(&twice, 1.0)]).is_err());
    let endless = adapter("a", 1, f64::INFINITY);
    assert!(pack(&module(), &[share(&endless, 1.0)]).is_err());
    let nothing = Module { graphs: vec![quad_ir::graph::Graph::new("main")] };
    let fine = adapter("a", 1, 1.0);
    assert!(matches!(pack(&nothing, &[share(&fine, 1.0)]), Err(PackError::NotExposed)));
}

#[test]
fn sizes_that_would_exhaust_the_machine_are_refused() {
    let text = "quad 1

        graph @main(%x: f32[2], %fc.lora_A: f32[1000000000, 200] adapter, %fc.lora_B: f32[3, 1000000000] adapter,
            %fc.lora_scale: f32[1000000000] adapter) {
          return \"x\" = %x
        }";
    let module = text::parse(text, &NoWeights).unwrap_or_else(|error| panic!("{}", error.show()));
    let error = pack(&module, &[]).expect_err("800 GB").to_string();
    assert!(error.contains("site `fc` takes f32[1000000000, 200]"), "{error}");
}
