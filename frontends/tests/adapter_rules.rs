//! The alpha rule of each dialect, and what is refused, on files made for it.

mod common;

use std::fs;

use common::Bundle;
use quad_frontends::adapter::{
    self, Adapter, AdapterError, Component, Dialect, Form, ReadOptions, SiteKind, Warning, ZeroAlpha,
};
use safetensors::Dtype;

/// Reads `bundle`, with PEFT's configuration beside it if there is one.
fn read_with(bundle: &Bundle, config: Option<&str>, options: &ReadOptions) -> Result<Adapter, AdapterError> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    bundle.write(&folder.path().join("adapter_model.safetensors"));
    if let Some(config) = config {
        fs::write(folder.path().join("adapter_config.json"), config).expect("written");
    }
    adapter::read(folder.path(), options)
}

fn read(bundle: &Bundle) -> Adapter {
    read_with(bundle, None, &ReadOptions::default()).expect("a sound adapter")
}

fn refusal(bundle: &Bundle) -> String {
    let message = read_with(bundle, None, &ReadOptions::default()).expect_err("no sound adapter").to_string();
    assert!(message.contains("adapter_model.safetensors"), "the file is not named: {message}");
    message
}

/// The scales by path.
fn scales(adapter: &Adapter) -> Vec<(&str, f64)> {
    adapter.sites.iter().map(|site| (site.path.as_str(), site.scale)).collect()
}

/// A module in the names of kohya's scripts.
fn kohya(bundle: Bundle, module: &str, rank: usize, alpha: Option<f32>) -> Bundle {
    let name = |leaf: &str| format!("lora_unet_{module}.{leaf}");
    let bundle = bundle.pair(&name("lora_down.weight"), &name("lora_up.weight"), rank);
    match alpha {
        Some(alpha) => bundle.tensor(&name("alpha"), &[], &[alpha]),
        None => bundle,
    }
}

fn peft(rank: usize) -> Bundle {
    Bundle::new().pair("base_model.model.a.to_q.lora_A.weight", "base_model.model.a.to_q.lora_B.weight", rank)
}

#[test]
fn peft_divides_alpha_by_the_rank_or_its_root() {
    for (config, scale) in [
        (r#"{"r": 4, "lora_alpha": 8}"#, 2.0),
        (r#"{"r": 4, "lora_alpha": 8, "use_rslora": true}"#, 4.0),
        (r#"{"r": 8, "lora_alpha": 8, "rank_pattern": {"to_q": 4}, "alpha_pattern": {"a.to_q": 1}}"#, 0.25),
    ] {
        let adapter = read_with(&peft(4), Some(config), &ReadOptions::default()).expect("sound");
        assert_eq!((adapter.dialect, scales(&adapter)), (Dialect::Peft, vec![("a.to_q", scale)]), "{config}");
    }
}

#[test]
fn the_first_pattern_of_the_file_counts_even_when_sorted_keys_put_it_first() {
    let config = r#"{"r": 4, "lora_alpha": 4, "alpha_pattern": {"to_q": 8, "a.to_q": 2}}"#;
    let adapter = read_with(&peft(4), Some(config), &ReadOptions::default()).expect("sound");
    assert_eq!(scales(&adapter), [("a.to_q", 2.0)]);
    assert!(matches!(&adapter.warnings[..], [Warning::SeveralPatterns { .. }]));
}

#[test]
fn peft_without_its_configuration_is_refused() {
    assert!(refusal(&peft(4)).contains("adapter_config.json"));
}

#[test]
fn a_configuration_that_is_wrong_is_named() {
    for (config, part) in [
        ("{", "EOF"),
        (r#"{"r": 4, "r": 8}"#, "`r` is there twice"),
        (r#"{"r": 16, "lora_alpha": 8}"#, "rank 16, its tensors have rank 4"),
        (r#"{"r": 4, "use_dora": true}"#, "DoRA"),
        (r#"{"r": 4, "init_lora_weights": "pissa"}"#, "PiSSA"),
        (r#"{"r": 4, "peft_type": "ADALORA"}"#, "AdaLoRA"),
        (r#"{"r": 4, "modules_to_save": ["x"]}"#, "modules_to_save"),
        (r#"{"r": 4, "bias": "all"}"#, "biases"),
        (r#"{"r": 4, "lora_bias": true}"#, "lora_bias"),
    ] {
        let error = read_with(&peft(4), Some(config), &ReadOptions::default()).expect_err(config).to_string();
        assert!(error.contains(part), "{part} is not in: {error}");
    }
}

#[test]
fn the_configuration_in_the_header_is_for_its_component() {
    let pair = |bundle: Bundle, component: &str| {
        bundle.pair(&format!("{component}.a.lora_A.weight"), &format!("{component}.a.lora_B.weight"), 4)
    };
    let both = pair(pair(Bundle::new(), "unet"), "text_encoder");
    let bundle = both.metadata("lora_adapter_metadata", r#"{"unet.r": 4, "unet.lora_alpha": 8}"#);
    let adapter = read(&bundle);
    let found: Vec<(Component, f64)> =
        adapter.sites.iter().map(|site| (site.component, site.scale)).collect();
    assert_eq!(found, [(Component::Unet, 2.0), (Component::TextEncoder, 1.0)]);
    assert_eq!(adapter.warnings, [Warning::AlphaUnknown { component: Component::TextEncoder, sites: 1 }]);
    let elsewhere = pair(Bundle::new(), "unet")
        .metadata("lora_adapter_metadata", r#"{"text_encoder.r": 4, "text_encoder.lora_alpha": 8}"#);
    let adapter = read(&elsewhere);
    assert_eq!(scales(&adapter), [("a", 1.0)]);
    assert!(adapter.warnings.contains(&Warning::ConfigurationElsewhere { component: "text_encoder".into() }));
}

#[test]
fn a_tensor_alpha_in_the_layout_of_diffusers_counts() {
    let bundle = Bundle::new().pair("unet.a.lora_A.weight", "unet.a.lora_B.weight", 4).tensor(
        "unet.a.alpha",
        &[],
        &[2.0],
    );
    assert_eq!(scales(&read(&bundle)), [("a", 0.5)]);
}

#[test]
fn an_alpha_beside_a_configuration_must_say_the_same() {
    let bundle = |alpha: f32| {
        let pair = Bundle::new().pair("unet.a.lora_A.weight", "unet.a.lora_B.weight", 4);
        let both = pair.tensor("unet.a.alpha", &[], &[alpha]);
        both.metadata("lora_adapter_metadata", r#"{"unet.r": 4, "unet.lora_alpha": 8}"#)
    };
    assert_eq!(scales(&read(&bundle(8.0))), [("a", 2.0)]);
    let message = refusal(&bundle(4.0));
    assert!(
        message.contains("`unet.a.alpha`: it makes the scale 1, the configuration makes it 2"),
        "{message}"
    );
}

#[test]
fn a_matrix_is_stored_whole_or_in_factors() {
    let name = |leaf: &str| format!("lora_unet_a.{leaf}");
    let whole = || Bundle::new().drawn(&name("lokr_w1"), &[2, 2]).drawn(&name("lokr_w2"), &[8, 8]);
    for (leaf, of) in [("lokr_w1_a", "lokr_w1"), ("lokr_w2_b", "lokr_w2"), ("lokr_t2", "lokr_w2")] {
        let message = refusal(&whole().drawn(&name(leaf), &[2, 2, 3, 3]));
        assert!(message.contains(&name(leaf)) && message.contains(&name(of)), "{message}");
        assert!(message.contains("stored whole"), "{message}");
    }
}

#[test]
fn kohya_divides_each_alpha_by_the_rank_of_its_module() {
    let bundle = kohya(kohya(kohya(Bundle::new(), "a", 4, Some(4.0)), "b", 4, Some(1.0)), "c", 8, Some(4.0));
    assert_eq!(scales(&read(&bundle)), [("a", 1.0), ("b", 0.25), ("c", 0.5)]);
}

#[test]
fn kohya_without_alpha_has_scale_one_there_only() {
    let bundle = kohya(kohya(Bundle::new(), "a", 4, Some(1.0)), "b", 4, None);
    let adapter = read(&bundle);
    assert_eq!(scales(&adapter), [("a", 0.25), ("b", 1.0)]);
    assert_eq!(adapter.warnings, [Warning::AlphaUnknown { component: Component::Unet, sites: 1 }]);
}

#[test]
fn alpha_may_be_any_single_number() {
    let with = |dtype, sizes: &[usize], bytes: Vec<u8>| {
        kohya(Bundle::new(), "a", 4, None).raw("lora_unet_a.alpha", dtype, sizes, bytes)
    };
    for bundle in [
        with(Dtype::I64, &[], 2i64.to_le_bytes().to_vec()),
        with(Dtype::BF16, &[1], vec![0x00, 0x40]),
        with(Dtype::F16, &[], vec![0x00, 0x40]),
        with(Dtype::F64, &[1], 2f64.to_le_bytes().to_vec()),
    ] {
        assert_eq!(scales(&read(&bundle)), [("a", 0.5)]);
    }
    let two = with(Dtype::F32, &[2], [2f32.to_le_bytes(), 2f32.to_le_bytes()].concat());
    let nan = with(Dtype::F32, &[], f32::NAN.to_le_bytes().to_vec());
    for bundle in [two, nan] {
        assert!(refusal(&bundle).contains("lora_unet_a.alpha"));
    }
}

#[test]
fn an_alpha_of_zero_is_what_the_caller_says() {
    let bundle = kohya(Bundle::new(), "a", 4, Some(0.0));
    assert!(refusal(&bundle).contains("alpha is 0"));
    for (zero_alpha, scale) in [(ZeroAlpha::Zero, 0.0), (ZeroAlpha::One, 1.0)] {
        let options = ReadOptions { zero_alpha, ..ReadOptions::default() };
        let adapter = read_with(&bundle, None, &options).expect("a decision was made");
        assert_eq!(scales(&adapter), [("a", scale)]);
        assert_eq!(adapter.warnings.len(), 1);
    }
}

#[test]
fn products_are_scaled_by_the_rank_of_their_factors() {
    let name = |leaf: &str| format!("lora_unet_a.{leaf}");
    let loha = ["hada_w1_a", "hada_w2_a"]
        .iter()
        .fold(Bundle::new(), |bundle, leaf| bundle.drawn(&name(leaf), &[9, 2]));
    let loha =
        ["hada_w1_b", "hada_w2_b"].iter().fold(loha, |bundle, leaf| bundle.drawn(&name(leaf), &[2, 12]));
    let adapter = read(&loha.tensor(&name("alpha"), &[], &[1.0]));
    let site = &adapter.sites[0];
    assert_eq!((site.form, site.scale, site.rank()), (Form::LoHa, 0.5, 4));

    let half = Bundle::new().drawn(&name("lokr_w1"), &[2, 2]).drawn(&name("lokr_w2_a"), &[8, 2]);
    let half = half.drawn(&name("lokr_w2_b"), &[2, 8]).tensor(&name("alpha"), &[], &[1.0]);
    let adapter = read(&half);
    assert_eq!(
        (adapter.sites[0].form, adapter.sites[0].scale, adapter.sites[0].rank()),
        (Form::LoKr, 0.5, 4)
    );

    let whole = Bundle::new().drawn(&name("lokr_w1"), &[2, 2]).drawn(&name("lokr_w2"), &[8, 8]);
    let adapter = read(&whole.tensor(&name("alpha"), &[], &[7.0]));
    assert_eq!((adapter.sites[0].scale, adapter.warnings.len()), (1.0, 0), "alpha does not count");
}

#[test]
fn peft_scales_products_by_its_configuration() {
    let name = |leaf: &str| format!("base_model.model.a.{leaf}");
    let whole = Bundle::new().drawn(&name("lokr_w1"), &[2, 2]).drawn(&name("lokr_w2"), &[8, 8]);
    let config = r#"{"peft_type": "LOKR", "r": 16, "alpha": 8}"#;
    let adapter = read_with(&whole, Some(config), &ReadOptions::default()).expect("sound");
    assert_eq!(scales(&adapter), [("a", 0.5)]);
    let zero = r#"{"peft_type": "LOKR", "r": 16, "alpha": 0}"#;
    let error =
        read_with(&whole, Some(zero), &ReadOptions::default()).expect_err("nothing says what it means");
    assert!(matches!(error, AdapterError::AlphaZero { .. }), "{error}");
}

#[test]
fn convolutions_keep_their_kernel() {
    let bundle = Bundle::new()
        .drawn("unet.a.lora_A.weight", &[2, 6, 3, 3])
        .drawn("unet.a.lora_B.weight", &[5, 2, 1, 1]);
    let adapter = read(&bundle);
    let site = &adapter.sites[0];
    assert_eq!(
        (site.kind, site.lora_a.sizes(), site.lora_b.sizes()),
        (SiteKind::Conv, &[2, 6, 3, 3][..], &[5, 2][..])
    );
}

#[test]
fn the_other_ways_of_naming_are_read() {
    for (down, up, dialect, component, path) in [
        ("unet.a.lora.down.weight", "unet.a.lora.up.weight", Dialect::DiffusersOld, Component::Unet, "a"),
        (
            "text_encoder.m.q_proj.lora_linear_layer.down.weight",
            "text_encoder.m.q_proj.lora_linear_layer.up.weight",
            Dialect::DiffusersOld,
            Component::TextEncoder,
            "m.q_proj",
        ),
        (
            "text_encoder_2.m.to_out_lora.down.weight",
            "text_encoder_2.m.to_out_lora.up.weight",
            Dialect::DiffusersOld,
            Component::TextEncoder2,
            "m.out_proj",
        ),
        (
            "m.processor.to_out_lora.down.weight",
            "m.processor.to_out_lora.up.weight",
            Dialect::AttentionProcessor,
            Component::Unnamed,
            "m.to_out.0",
        ),
        (
            "a.b.lora_A.default.weight",
            "a.b.lora_B.default.weight",
            Dialect::Diffusers,
            Component::Unnamed,
            "a.b",
        ),
        ("a.b.lora_A", "a.b.lora_B", Dialect::Diffusers, Component::Unnamed, "a.b"),
        (
            "transformer.a.lora_A.weight",
            "transformer.a.lora_B.weight",
            Dialect::Diffusers,
            Component::Transformer,
            "a",
        ),
        (
            "lora_te_a.lora_down.weight",
            "lora_te_a.lora_up.weight",
            Dialect::Kohya,
            Component::TextEncoder,
            "a",
        ),
        (
            "lora_te1_a.lora_down.weight",
            "lora_te1_a.lora_up.weight",
            Dialect::Kohya,
            Component::TextEncoder,
            "a",
        ),
        (
            "lora_te2_a.lora_down.weight",
            "lora_te2_a.lora_up.weight",
            Dialect::Kohya,
            Component::TextEncoder2,
            "a",
        ),
        ("lycoris_a.lora_down.weight", "lycoris_a.lora_up.weight", Dialect::Kohya, Component::Unnamed, "a"),
    ] {
        let adapter = read(&Bundle::new().pair(down, up, 2));
        let site = &adapter.sites[0];
        let found = (adapter.dialect, site.component, site.path.as_str());
        assert_eq!(found, (dialect, component, path), "{down}");
    }
}

#[test]
fn a_file_of_two_dialects_is_refused_unless_one_is_chosen() {
    let diffusers = Bundle::new().pair("unet.a.lora_A.weight", "unet.a.lora_B.weight", 2);
    let bundle = kohya(diffusers, "b", 2, Some(2.0));
    let message = refusal(&bundle);
    assert!(message.contains("diffusers") && message.contains("kohya"), "{message}");
    for (dialect, path) in [(Dialect::Kohya, "b"), (Dialect::Diffusers, "a")] {
        let options = ReadOptions { dialect: Some(dialect), ..ReadOptions::default() };
        let adapter = read_with(&bundle, None, &options).expect("one dialect");
        assert_eq!(scales(&adapter), [(path, 1.0)]);
    }
}

#[test]
fn the_older_ways_of_diffusers_occur_together() {
    let bundle = Bundle::new()
        .pair("unet.a.processor.to_q_lora.down.weight", "unet.a.processor.to_q_lora.up.weight", 2)
        .pair("text_encoder.b.to_q_lora.down.weight", "text_encoder.b.to_q_lora.up.weight", 2);
    let adapter = read(&bundle);
    assert_eq!(adapter.dialect, Dialect::AttentionProcessor);
    assert_eq!(scales(&adapter), [("a.to_q", 1.0), ("b.q_proj", 1.0)]);
}

#[test]
fn what_is_no_low_rank_branch_is_called_by_its_name() {
    for (tensor, part) in [
        ("lora_unet_a.dora_scale", "DoRA"),
        ("base_model.model.a.lora_magnitude_vector", "DoRA"),
        ("unet.a.lora_magnitude_vector.weight", "DoRA"),
        ("lora_unet_a.diff", "`diff`"),
        ("lora_unet_a.diff_b", "`diff`"),
        ("lora_unet_a.w_norm", "w_norm"),
        ("lora_unet_a.oft_blocks", "OFT"),
        ("oft_unet_a.oft_blocks", "OFT"),
        ("base_model.model.a.oft_r.default.weight", "OFT"),
        ("base_model.model.a.boft_R", "OFT"),
        ("lora_unet_a.on_input", "IA3"),
        ("base_model.model.a.ia3_l", "IA3"),
        ("lora_unet_a.a1.weight", "GLoRA"),
        ("base_model.model.a.lora_E", "AdaLoRA"),
        ("base_model.model.a.vera_lambda_b", "VeRA"),
        ("base_model.model.a.lora_B.bias", "lora_bias"),
        ("base_model.model.a.bias", "biases"),
        ("base_model.model.a.weight", "modules_to_save"),
        ("base_model.model.a.lora_embedding_A", "embedding"),
        ("bundle_emb.x.string_to_param", "textual inversion"),
        ("transformer.double_blocks.0.img_attn.qkv.lora_A.weight", "double_blocks"),
        ("lora_unet_single_blocks_0_linear1.lora_down.weight", "double_blocks"),
    ] {
        let message = refusal(&Bundle::new().drawn(tensor, &[2, 4]));
        assert!(message.contains(tensor) && message.contains(part), "{part} is not in: {message}");
    }
}

#[test]
fn unknown_names_are_listed() {
    let bundle =
        kohya(Bundle::new(), "a", 4, None).drawn("model.something", &[2]).drawn("lora_unet_a.odd", &[2]);
    let message = refusal(&bundle);
    assert!(
        message.contains("2 tensors") && message.contains("model.something") && message.contains(".odd"),
        "{message}"
    );
}

#[test]
fn tensors_that_make_no_branch_are_named() {
    let name = "unet.a.lora_B.weight";
    let down = || Bundle::new().drawn("unet.a.lora_A.weight", &[2, 6]);
    let floats =
        |elements: &[f32]| elements.iter().flat_map(|element| element.to_le_bytes()).collect::<Vec<u8>>();
    for (bundle, tensor, part) in [
        (down(), "unet.a.lora_A.weight", "missing"),
        (Bundle::new().drawn(name, &[5, 2]), name, "missing"),
        (down().drawn(name, &[5, 3]), name, "rank 3"),
        (down().drawn(name, &[5, 2, 3, 3]), name, "kernel"),
        (down().raw(name, Dtype::I32, &[5, 2], vec![0; 40]), name, "i32"),
        (down().raw(name, Dtype::F32, &[1, 2], floats(&[1.0, f32::NAN])), name, "element 1 is NaN"),
        (down().raw(name, Dtype::F32, &[1, 2], floats(&[f32::NEG_INFINITY, 0.0])), name, "element 0 is -inf"),
        (down().raw(name, Dtype::BF16, &[1, 2], vec![0x80, 0x7f, 0, 0]), name, "element 0 is inf"),
        (down().drawn(name, &[5, 2]).drawn("a.lora_A.x.weight", &[2, 2]), "a.lora_A.x.weight", "missing"),
    ] {
        let message = refusal(&bundle);
        assert!(message.contains(tensor) && message.contains(part), "{part} is not in: {message}");
    }
}

#[test]
fn two_tensors_that_are_the_same_part_are_refused() {
    let bundle = Bundle::new()
        .pair("unet.a.lora.down.weight", "unet.a.lora.up.weight", 2)
        .drawn("unet.a.lora_linear_layer.down.weight", &[2, 6]);
    let message = refusal(&bundle);
    assert!(message.contains("the same part"), "{message}");
}

#[test]
fn two_adapters_in_one_file_are_refused() {
    let bundle = Bundle::new().pair("a.lora_A.one.weight", "a.lora_B.one.weight", 2).pair(
        "b.lora_A.two.weight",
        "b.lora_B.two.weight",
        2,
    );
    assert!(refusal(&bundle).contains("adapter `two`"));
}

#[test]
fn a_factor_of_zeros_is_reported() {
    let bundle = Bundle::new().drawn("unet.a.lora_A.weight", &[2, 6]).tensor(
        "unet.a.lora_B.weight",
        &[5, 2],
        &[0.0; 10],
    );
    let zero = Warning::ZeroFactor { site: "unet.a".into(), tensor: "unet.a.lora_B.weight".into() };
    assert!(read(&bundle).warnings.contains(&zero));
}

#[test]
fn other_places_are_no_adapters() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let error = |path: &std::path::Path| {
        adapter::read(path, &ReadOptions::default()).expect_err("no adapter").to_string()
    };
    assert!(error(folder.path()).contains("adapter_model.safetensors"));
    assert!(error(&folder.path().join("absent")).contains("absent"));
    let pickle = folder.path().join("weights.bin");
    fs::write(&pickle, b"x").expect("written");
    assert!(error(&pickle).contains("runs code"));
    let empty = folder.path().join("empty.safetensors");
    Bundle::new().write(&empty);
    assert!(error(&empty).contains("no tensor of an adapter"));
}

#[test]
fn factors_are_views_of_the_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("one.safetensors");
    Bundle::new().pair("unet.a.lora_A.weight", "unet.a.lora_B.weight", 2).write(&path);
    let adapter = adapter::read(&path, &ReadOptions::default()).expect("sound");
    let site = &adapter.sites[0];
    let (a, b) = (site.lora_a.bytes().as_ptr().addr(), site.lora_b.bytes().as_ptr().addr());
    // One lies behind the other in the map; copies would be elsewhere.
    assert!([site.lora_a.bytes().len(), site.lora_b.bytes().len()].contains(&a.abs_diff(b)));
}

/// Every byte of a file changed in turn, and every length it may be cut to.
#[test]
fn damage_anywhere_is_an_error_or_harmless() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("damaged.safetensors");
    kohya(Bundle::new(), "a", 1, Some(1.0)).write(&path);
    let whole = fs::read(&path).expect("written");
    let config = r#"{"peft_type": "LORA", "r": 1, "lora_alpha": 2, "alpha_pattern": {"a.*": 3}}"#;
    let read = |bytes: &[u8]| {
        fs::write(&path, bytes).expect("written");
        adapter::read(&path, &ReadOptions::default())
    };
    assert_eq!(read(&whole).expect("sound").sites.len(), 1);
    for length in 0..whole.len() {
        let message = read(&whole[..length]).expect_err("cut short").to_string();
        assert!(message.contains("damaged.safetensors"), "{message}");
    }
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        if let Err(error) = read(&damaged) {
            assert!(error.to_string().contains("damaged.safetensors"), "byte {at}: {error}");
        }
    }
    for at in 0..config.len() {
        let mut damaged = config.as_bytes().to_vec();
        damaged[at] ^= 1 << (at % 8);
        fs::write(folder.path().join("adapter_config.json"), damaged).expect("written");
        let peft = folder.path().join("adapter_model.safetensors");
        Bundle::new()
            .pair("base_model.model.a.lora_A.weight", "base_model.model.a.lora_B.weight", 1)
            .write(&peft);
        if let Err(error) = adapter::read(folder.path(), &ReadOptions::default()) {
            assert!(error.to_string().contains("adapter_"), "byte {at}: {error}");
        }
    }
}

#[test]
fn small_files_do_not_become_gigabytes() {
    let bundle = (0..8).fold(Bundle::new(), |bundle, site| {
        let name = |leaf: &str| format!("lora_unet_{site}.{leaf}");
        let bundle = bundle.drawn(&name("lokr_w1_a"), &[1024, 1]).drawn(&name("lokr_w1_b"), &[1, 2]);
        bundle.drawn(&name("lokr_w2_a"), &[1024, 1]).drawn(&name("lokr_w2_b"), &[1, 2])
    });
    assert!(refusal(&bundle).contains("1048580 elements, too many for its file"));
}
