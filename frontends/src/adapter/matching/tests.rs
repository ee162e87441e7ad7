//! Matching on small graphs. `tests/matching.rs` has those of exporters.

use quad_ir::module::Module;
use quad_ir::tensor::Tensor;
use quad_ir::text::{NoWeights, parse};

use super::*;
use crate::adapter::normal_form::{Dialect, Form, ModulePath};

/// A graph of products of `x` `[1, 4]` with `[4, 4]` weights: path of the product, number of the weight.
fn graph(products: &[(&str, usize)]) -> Module {
    let mut lines = Vec::new();
    let count = products.iter().map(|(_, weight)| weight + 1).max().unwrap_or(0);
    for weight in 0..count {
        let elements: Vec<String> = (0..16).map(|index| format!("{}", (index * 7 + weight) % 11)).collect();
        lines.push(format!("%w{weight} = weight [{}] : f32[4, 4]", elements.join(", ")));
    }
    for (index, (path, weight)) in products.iter().enumerate() {
        lines.push(format!("%y{index} = matmul(%x, %w{weight}) : f32[1, 4] from \"{path}\""));
    }
    text(&lines.join("\n"))
}

fn text(lines: &str) -> Module {
    let text = format!("quad 1\ngraph @main(%x: f32[1, 4], %image: f32[1, 4, 8, 8]) {{\n{lines}\nreturn }}");
    parse(&text, &NoWeights).unwrap_or_else(|error| panic!("{}", error.show()))
}

fn site(path: &str) -> AdapterSite {
    sized(ModulePath::Dotted(path.to_owned()), &[2, 4], &[4, 2])
}

fn sized(path: ModulePath, a: &[usize], b: &[usize]) -> AdapterSite {
    let ones =
        |sizes: &[usize]| Tensor::from_vec(sizes, vec![1.0f32; sizes.iter().product()]).expect("sized");
    AdapterSite {
        component: Component::Unnamed,
        path,
        kind: if a.len() > 2 { SiteKind::Conv } else { SiteKind::Linear },
        lora_a: ones(a),
        lora_b: ones(b),
        scale: 1.0,
        alpha: None,
        form: Form::Lora,
        groups: 1,
    }
}

fn adapter(sites: Vec<AdapterSite>) -> Adapter {
    let source = "adapter.safetensors".into();
    Adapter { name: "test".to_owned(), source, dialect: Dialect::Peft, sites, warnings: Vec::new() }
}

fn find(module: &Module, sites: Vec<AdapterSite>, options: &MatchOptions<'_>) -> Result<Matches, MatchError> {
    match_sites(module.main().expect("one graph"), &[adapter(sites)], options)
}

/// The path of each target and the names of its products' results.
fn found(module: &Module, paths: &[&str]) -> Vec<(String, Vec<String>)> {
    let sites = paths.iter().map(|path| site(path)).collect();
    let matches = find(module, sites, &MatchOptions::default()).unwrap_or_else(|error| panic!("{error}"));
    let graph = module.main().expect("one graph");
    let name = |node: &TargetNode| graph.node(node.node).result().name().expect("named").to_string();
    matches
        .targets
        .iter()
        .map(|target| (target.path.clone(), target.nodes.iter().map(name).collect()))
        .collect()
}

/// The path of each target.
fn paths(module: &Module, sites: &[&str]) -> Vec<String> {
    found(module, sites).into_iter().map(|(path, _)| path).collect()
}

fn refusal(module: &Module, sites: Vec<AdapterSite>) -> String {
    find(module, sites, &MatchOptions::default()).expect_err("no match").to_string()
}

#[test]
fn a_path_is_that_of_a_module_as_a_whole() {
    let module = graph(&[("blocks.0.proj_out", 0), ("proj_out", 1), ("blocks.0.to_q", 2)]);
    assert_eq!(found(&module, &["proj_out"]), [("proj_out".to_owned(), vec!["y1".to_owned()])]);
    // One segment alone may be the end of anything.
    assert!(refusal(&module, vec![site("to_q")]).contains("the nearest are `blocks.0.to_q`"));
}

#[test]
fn a_wrapper_around_the_model_may_stand_before_it() {
    let module = graph(&[("unet.blocks.0.proj_out", 0), ("unet.proj_out", 1)]);
    assert_eq!(
        paths(&module, &["proj_out", "blocks.0.proj_out"]),
        ["unet.blocks.0.proj_out", "unet.proj_out"]
    );
}

#[test]
fn text_model_may_be_missing_on_either_side() {
    let with = graph(&[("text_model.encoder.0.fc1", 0), ("text_projection", 1)]);
    let without = graph(&[("encoder.0.fc1", 0), ("text_projection", 1)]);
    for path in ["encoder.0.fc1", "text_model.encoder.0.fc1"] {
        assert_eq!(paths(&with, &[path]), ["text_model.encoder.0.fc1"]);
        assert_eq!(paths(&without, &[path]), ["encoder.0.fc1"]);
    }
}

#[test]
fn containers_that_exporters_leave_out_are_bridged_where_the_rest_is_unique() {
    let module = graph(&[("a.lin.fc", 0), ("b.lin.fc", 1), ("c.other.fc", 2)]);
    assert_eq!(paths(&module, &["layers.c.other.fc"]), ["c.other.fc"]);
    assert_eq!(paths(&module, &["other.fc"]), ["c.other.fc"]);
    let message = refusal(&module, vec![site("lin.fc")]);
    assert!(message.contains("several layers may be meant: `a.lin.fc`, `b.lin.fc`"), "{message}");
}

#[test]
fn names_with_underscores_are_looked_up() {
    let module = graph(&[("wrap.blocks.0.to_out.0", 0), ("wrap.blocks.1.to_out.0", 1)]);
    let mangled = sized(ModulePath::Mangled("blocks_1_to_out_0".to_owned()), &[2, 4], &[4, 2]);
    let matches = find(&module, vec![mangled], &MatchOptions::default()).expect("found");
    assert_eq!(matches.targets[0].path, "wrap.blocks.1.to_out.0");
}

#[test]
fn nothing_unmatched_is_skipped() {
    let module = graph(&[("blocks.0.to_q", 0), ("blocks.1.to_q", 1)]);
    let message = refusal(&module, vec![site("blocks.0.to_q"), site("blocks.0.to_z"), site("blocks.7.to_q")]);
    for part in ["2 sites", "adapter `test`", "`blocks.0.to_z`: no layer", "nearest are `blocks.0.to_q`"] {
        assert!(message.contains(part), "{part} is not in: {message}");
    }
    let allow_unused = vec!["blocks.*.to_z".to_owned()];
    let options = MatchOptions { allow_unused, ..MatchOptions::default() };
    let matches =
        find(&module, vec![site("blocks.0.to_q"), site("blocks.0.to_z")], &options).expect("allowed");
    assert_eq!(matches.targets.len(), 1);
    assert_eq!(
        matches.unused,
        [Unused { site: SiteRef { adapter: 0, site: 1 }, pattern: "blocks.*.to_z".into() }]
    );
}

#[test]
fn other_components_are_left_out_when_the_caller_says_which_one_it_is() {
    let module = graph(&[("blocks.0.to_q", 0)]);
    let encoder = AdapterSite { component: Component::TextEncoder, ..site("layers.0.fc1") };
    let unet = AdapterSite { component: Component::Unet, ..site("blocks.0.to_q") };
    assert!(refusal(&module, vec![unet.clone(), encoder.clone()]).contains("`text_encoder.layers.0.fc1`"));
    let options = MatchOptions { component: Some(Component::Unet), ..MatchOptions::default() };
    let matches = find(&module, vec![unet, encoder], &options).expect("found");
    assert_eq!((matches.targets.len(), matches.elsewhere), (1, vec![SiteRef { adapter: 0, site: 1 }]));
}

#[test]
fn several_adapters_share_their_layers() {
    let module = graph(&[("blocks.0.to_q", 0), ("blocks.1.to_q", 1)]);
    let adapters =
        [adapter(vec![site("blocks.0.to_q"), site("blocks.1.to_q")]), adapter(vec![site("blocks.1.to_q")])];
    let matches =
        match_sites(module.main().expect("one"), &adapters, &MatchOptions::default()).expect("found");
    let at = |adapter, site| SiteRef { adapter, site };
    assert_eq!(matches.targets[0].sites, [at(0, 0)]);
    assert_eq!(matches.targets[1].sites, [at(0, 1), at(1, 0)]);
}

#[test]
fn two_sites_of_an_adapter_for_one_layer_are_refused() {
    let module = graph(&[("blocks.c.fc", 0)]);
    let message = refusal(&module, vec![site("blocks.c.fc"), site("layers.blocks.c.fc")]);
    assert!(message.contains("is for already"), "{message}");
}

#[test]
fn a_module_that_is_called_twice_is_adapted_each_time() {
    let module = graph(&[("net.a", 0), ("net.a_1", 0), ("net.b", 1)]);
    let both = vec!["y0".to_owned(), "y1".to_owned()];
    assert_eq!(found(&module, &["net.a"]), [("net.a".to_owned(), both)]);
    let inner = graph(&[("net.a.fc", 0), ("net.a_1.fc", 0)]);
    assert_eq!(found(&inner, &["net.a.fc"])[0].1.len(), 2);
}

#[test]
fn a_second_call_is_told_from_a_module_of_that_name() {
    // The exporter names the second call of `a` like the module `a_1`, which is there too.
    let module = graph(&[("net.a", 0), ("net.a_1", 0), ("net.a_1", 1)]);
    let at = |path: &str, nodes: &[&str]| {
        (path.to_owned(), nodes.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    assert_eq!(found(&module, &["net.a"]), [at("net.a", &["y0", "y1"])]);
    assert_eq!(found(&module, &["net.a_1"]), [at("net.a_1", &["y2"])]);
    assert_eq!(found(&module, &["net.a", "net.a_1"]), [at("net.a", &["y0", "y1"]), at("net.a_1", &["y2"])]);
}

#[test]
fn tied_weights_do_not_mix_modules() {
    let module = graph(&[("net.a", 0), ("net.b", 0), ("net.c_1", 1), ("net.c", 1)]);
    assert_eq!(found(&module, &["net.a"])[0].1, ["y0"]);
    assert_eq!(found(&module, &["net.b"])[0].1, ["y1"]);
    // Both are adapted by name, so neither is a call of the other.
    let both = found(&module, &["net.c", "net.c_1"]);
    assert_eq!(
        both,
        [("net.c".to_owned(), vec!["y3".to_owned()]), ("net.c_1".to_owned(), vec!["y2".to_owned()])]
    );
}

#[test]
fn what_peft_wraps_a_layer_in_is_no_part_of_its_path() {
    let module = graph(&[("net.a.base_layer", 0), ("net.a.base_layer_1", 0)]);
    assert_eq!(found(&module, &["net.a"]), [("net.a".to_owned(), vec!["y0".to_owned(), "y1".to_owned()])]);
}

#[test]
fn without_a_path_the_name_of_the_weight_counts() {
    let weight = "weight [1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7] : f32[4, 4]";
    let module = text(&format!(
        "%\"net.a.weight\" = {weight}\n%y = matmul(%x, %\"net.a.weight\") : f32[1, 4]
         %w = {weight} from \"net.b.weight\"\n%z = matmul(%x, %w) : f32[1, 4]"
    ));
    assert_eq!(paths(&module, &["net.a", "net.b"]), ["net.a", "net.b"]);
}

#[test]
fn shapes_must_fit() {
    let module = text(
        "%k = weight [1, 2, 3, 4, 5, 6, 7, 8] : f32[2, 4, 1, 1]
         %y = conv(%image, %k) : f32[1, 2, 8, 8] from \"net.pointwise\"
         %m = weight [1, 2, 3, 4, 5, 6, 7, 8] : f32[4, 2]
         %z = matmul(%x, %m) : f32[1, 2] from \"net.linear\"",
    );
    let at = |path: &str, a: &[usize], b: &[usize]| sized(ModulePath::Dotted(path.to_owned()), a, b);
    for (path, a, b) in [
        ("net.pointwise", &[3, 4, 1, 1][..], &[2, 3][..]),
        ("net.pointwise", &[3, 4], &[2, 3]),
        ("net.linear", &[3, 4], &[2, 3]),
        ("net.linear", &[3, 4, 1, 1], &[2, 3]),
    ] {
        let sites = vec![at(path, a, b)];
        let matches = find(&module, sites.clone(), &MatchOptions::default()).expect("it fits");
        let (lora_a, lora_b) = fitted(&matches.targets[0], &sites[0]).expect("it fits");
        let expected = if path == "net.linear" { &[3, 4][..] } else { &[3, 4, 1, 1] };
        assert_eq!((lora_a.sizes(), lora_b.sizes()), (expected, &[2, 3][..]), "{path} {a:?}");
    }
    for (path, a, b) in [
        ("net.pointwise", &[3, 4, 3, 3][..], &[2, 3][..]),
        ("net.linear", &[3, 4, 3, 3], &[2, 3]),
        ("net.linear", &[3, 2], &[4, 3]),
        ("net.linear", &[3, 5], &[2, 3]),
        ("net.linear", &[3, 4], &[5, 3]),
    ] {
        let message = refusal(&module, vec![at(path, a, b)]);
        assert!(message.contains("does not fit") && message.contains("4 channels in and 2 out"), "{message}");
    }
}

#[test]
fn products_that_join_channels_and_kernel_fit_a_convolution() {
    let module = text(
        "%k = weight [1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7] : f32[1, 4, 2, 2]
         %y = conv(%image, %k) : f32[1, 1, 7, 7] from \"net.conv\"",
    );
    let plain = sized(ModulePath::Dotted("net.conv".to_owned()), &[1, 16], &[1, 1]);
    assert!(refusal(&module, vec![plain.clone()]).contains("kernel [2, 2]"));
    let joined = AdapterSite { form: Form::LoHa, ..plain };
    let matches = find(&module, vec![joined.clone()], &MatchOptions::default()).expect("it fits");
    let (lora_a, _) = fitted(&matches.targets[0], &joined).expect("it fits");
    assert_eq!(lora_a.sizes(), [1, 4, 2, 2]);
}

#[test]
fn factors_of_groups_fit_a_layer_with_as_many() {
    let module = text(
        "%k = weight [1, 2, 3, 4] : f32[2, 2, 1, 1]
         %y = conv(%image, %k) {group = 2} : f32[1, 2, 8, 8] from \"net.grouped\"",
    );
    let graph = module.main().expect("one graph");
    let plain = sized(ModulePath::Dotted("net.grouped".to_owned()), &[4, 4, 1, 1], &[2, 4]);
    let known = ["net.grouped".to_owned()];
    for (groups, fits) in [(1, true), (2, true), (4, false)] {
        let site = AdapterSite { groups, ..plain.clone() };
        let by_graph = find(&module, vec![site.clone()], &MatchOptions::default()).map(|_| ());
        let by_path = match_paths(graph, &known, &[adapter(vec![site])], &MatchOptions::default());
        for matched in [by_graph, by_path.map(|_| ())] {
            match matched {
                Ok(()) => assert!(fits, "{groups}"),
                Err(error) => {
                    assert!(
                        !fits && error.to_string().contains("4 groups has them; the layer has 2"),
                        "{error}"
                    );
                }
            }
        }
    }
}

#[test]
fn dilated_convolutions_are_refused() {
    let module = text(
        "%k = weight [1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7] : f32[1, 4, 2, 2]
         %y = conv(%image, %k) {dilations = [2, 2]} : f32[1, 1, 6, 6] from \"net.dilated\"",
    );
    let site = sized(ModulePath::Dotted("net.dilated".to_owned()), &[2, 4, 2, 2], &[1, 2]);
    assert!(refusal(&module, vec![site]).contains("dilated"));
}

#[test]
fn products_with_different_weights_in_one_module_are_ambiguous() {
    let module = graph(&[("net.a", 0), ("net.a", 1)]);
    assert!(refusal(&module, vec![site("net.a")]).contains("different weights"));
}

/// A checkpoint with the weight of number `weight` as PyTorch keeps it, under each path.
fn checkpoint(weights: &[(&str, usize)]) -> (tempfile::TempDir, SafeTensorsFile) {
    let bytes: Vec<Vec<u8>> = weights
        .iter()
        .map(|(_, weight)| {
            // Transposed: channels out first.
            let element = |index: usize| (((index % 4 * 4 + index / 4) * 7 + weight) % 11) as f32;
            (0..16).flat_map(|index| element(index).to_le_bytes()).collect()
        })
        .collect();
    let views = weights.iter().zip(&bytes).map(|((path, _), bytes)| {
        let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![4, 4], bytes);
        (format!("{path}.weight"), view.expect("sized"))
    });
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("base.safetensors");
    std::fs::write(&path, safetensors::serialize(views, None).expect("sound")).expect("written");
    let file = SafeTensorsFile::open(&path).expect("sound");
    (folder, file)
}

#[test]
fn the_checkpoint_confirms_decides_and_contradicts() {
    let module = graph(&[("net.a", 0), ("net.b", 1), ("lost.in.export", 2), ("net.two", 3), ("net.two", 4)]);
    let (_folder, base) = checkpoint(&[("net.a", 0), ("net.b", 0), ("other.c", 2), ("net.two", 4)]);
    let options = MatchOptions { base: Some(&base), ..MatchOptions::default() };
    let found = |path: &str| find(&module, vec![site(path)], &options);
    assert_eq!(found("net.a").expect("confirmed").targets[0].path, "net.a");
    let by_content = found("other.c").expect("decided");
    assert_eq!((by_content.targets[0].path.as_str(), by_content.notes.len()), ("lost.in.export", 1));
    let error = found("net.b").expect_err("the weight of another").to_string();
    assert!(error.contains("by its path it is `net.b`, by the weight in the checkpoint `net.a`"), "{error}");
    assert_eq!(found("net.two").expect("told apart").targets[0].nodes.len(), 1);
}
