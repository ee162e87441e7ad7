//! Adapters find their layers in what both exporters wrote, and the layers are the right ones.

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::{delta, fixtures};
use quad_frontends::adapter::matching::{self, MatchOptions, Matches, WeightLayout};
use quad_frontends::adapter::{self, Adapter, Component, ReadOptions, branches};
use quad_frontends::data::safetensors::SafeTensorsFile;
use quad_frontends::onnx;
use quad_ir::graph::{Graph, NodeId};
use quad_ir::module::Module;
use quad_ir::text::{MemoryWeights, parse, print};

fn read(file: &str) -> Adapter {
    adapter::read(&fixtures().join("tiny/lora").join(file), &ReadOptions::default()).expect("a sound adapter")
}

fn import(model: &str) -> Module {
    onnx::import(&fixtures().join("tiny/models").join(model)).expect("a sound model")
}

fn matches(module: &Module, adapters: &[Adapter]) -> Matches {
    let graph = module.main().expect("one graph");
    matching::match_sites(graph, adapters, &MatchOptions::default()).unwrap_or_else(|error| panic!("{error}"))
}

const TASKS: [(&str, usize); 3] = [("taskA", 32), ("taskB", 48), ("taskC", 63)];

const BASES: [&str; 4] = [
    "unet2_base.legacy17.onnx",
    "unet2_base.dynamo18.onnx",
    "unet2_base.dynamo23.onnx",
    "unet2_base_fp16.legacy17.onnx",
];

/// The paths of the targets with the first product of each.
fn layers(matches: &Matches) -> BTreeMap<String, NodeId> {
    matches.targets.iter().map(|target| (target.path.clone(), target.nodes[0].node)).collect()
}

#[test]
fn all_79_layers_of_the_three_tasks_are_found_in_every_export() {
    let adapters = TASKS.map(|(task, _)| read(&format!("{task}/peft")));
    for model in BASES {
        let matches = matches(&import(model), &adapters);
        assert_eq!(matches.targets.len(), 79, "{model}");
        assert!(matches.notes.is_empty() && matches.unused.is_empty(), "{model}: {:?}", matches.notes);
        assert!(matches.targets.iter().all(|target| target.nodes.len() == 1), "{model}");
        let of = |adapter| {
            let is_of = |target: &&matching::Target| target.sites.iter().any(|site| site.adapter == adapter);
            matches.targets.iter().filter(is_of).count()
        };
        assert_eq!([of(0), of(1), of(2)], [32, 48, 63], "{model}");
    }
}

#[test]
fn every_layer_of_the_unet_has_its_path_in_every_export() {
    let paths = |model: &str| {
        let modules = matching::modules(import(model).main().expect("one"), Component::Unet);
        modules.paths(Component::Unet).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let expected = paths(BASES[0]);
    assert_eq!(expected.len(), 83);
    for path in ["conv_in", "time_embedding.linear_2", "up_blocks.0.upsamplers.0.conv"] {
        assert!(expected.iter().any(|known| known == path), "{path}");
    }
    for model in BASES {
        assert_eq!(paths(model), expected, "{model}");
    }
}

#[test]
fn every_dialect_finds_the_same_layers() {
    for (task, count) in TASKS {
        let files = ["peft", "diffusers", "diffusers_old"].map(|file| format!("{task}/{file}"));
        for model in [BASES[0], BASES[1]] {
            let module = import(model);
            let expected = layers(&matches(&module, &[read(&files[0])]));
            assert_eq!(expected.len(), count);
            for file in files.iter().chain(&[format!("{task}/kohya/{task}.safetensors")]) {
                assert_eq!(layers(&matches(&module, &[read(file)])), expected, "{file} in {model}");
            }
        }
    }
}

#[test]
fn a_layer_is_found_again_in_a_text_and_in_another_model_file() {
    let adapters = TASKS.map(|(task, _)| read(&format!("{task}/peft")));
    for model in [BASES[0], BASES[1]] {
        let module = import(model);
        let weights = MemoryWeights::of(module.main().expect("one graph").weights()).expect("readable");
        let again = parse(&print(&module).expect("printed"), &weights).expect("what was printed");
        let names = |module: &Module| -> Vec<(String, Option<String>)> {
            let graph = module.main().expect("one graph");
            let name = |node: NodeId| graph.node(node).result().name().map(ToString::to_string);
            layers(&matches(module, &adapters)).into_iter().map(|(path, node)| (path, name(node))).collect()
        };
        assert_eq!(names(&again), names(&module), "{model}");
        assert_eq!(names(&again).len(), 79);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("again.onnx");
        onnx::write(again.main().expect("one graph"), &path).expect("written");
        let written = onnx::import(&path).expect("what was written");
        assert_eq!(names(&written), names(&module), "{model}");
        let mut compact = module.clone();
        compact.graphs.iter_mut().for_each(|graph| drop(graph.compact()));
        assert_eq!(names(&compact), names(&module), "{model}");
    }
}

/// The weight of a product as `[out, in..]`, in `f64`.
fn weight(graph: &Graph, target: &matching::Target) -> Vec<f64> {
    let place = target.nodes[0];
    let operand = graph.node(place.node).operands().nth(place.weight_operand).flatten().expect("a weight");
    let weight = graph.weights().tensor(operand.weight().expect("folded")).expect("readable");
    let elements = weight.to_f64().expect("floats");
    match place.layout {
        WeightLayout::OutIn => elements,
        WeightLayout::InOut => {
            let (rows, columns) = (target.channels_in, target.channels_out);
            (0..rows * columns).map(|at| elements[at % rows * columns + at / rows]).collect()
        }
    }
}

#[test]
fn the_layers_are_those_that_merging_changes() {
    let base = import("unet2_base.legacy17.onnx");
    for (task, count) in TASKS {
        let adapter = [read(&format!("{task}/peft"))];
        let merged = import(&format!("unet2_merged_{task}.legacy17.onnx"));
        let (before, after) = (matches(&base, &adapter), matches(&merged, &adapter));
        assert_eq!((before.targets.len(), after.targets.len()), (count, count));
        for (old, new) in before.targets.iter().zip(&after.targets) {
            assert_eq!(old.path, new.path);
            let expected = delta(&adapter[0].sites[old.sites[0].site]);
            let old_weight = weight(base.main().expect("one"), old);
            let new_weight = weight(merged.main().expect("one"), new);
            let worst = expected.iter().zip(old_weight.iter().zip(&new_weight));
            let worst = worst.map(|(delta, (old, new))| (new - old - delta).abs()).fold(0.0, f64::max);
            let largest = new_weight.iter().fold(0.0f64, |largest, element| largest.max(element.abs()));
            // The merged weight is rounded to f32.
            assert!(worst <= 1e-6 * largest, "{task} {}: {worst} of {largest}", old.path);
        }
    }
}

#[test]
fn the_layers_are_those_that_branches_were_left_beside() {
    for (model, task, count) in [
        ("unet2_lora_taskA.legacy17", "taskA", 32),
        ("unet2_lora_taskA.legacy17.nofold", "taskA", 32),
        ("unet2_lora_taskA.dynamo18", "taskA", 32),
        ("unet2_lora_taskB.legacy17", "taskB", 48),
        ("unet2_lora_taskB.dynamo18", "taskB", 48),
        ("unet2_lora_taskC.legacy17", "taskC", 63),
    ] {
        let map = fixtures().join(format!("tiny/lora_name_map/{model}.json"));
        let map = std::fs::read_to_string(map).expect("a map");
        let map: serde_json::Value = serde_json::from_str(&map).expect("JSON");
        let module = import(&format!("{model}.onnx"));
        let graph = module.main().expect("one graph");
        let found = layers(&matches(&module, &[read(&format!("{task}/peft"))]));
        let mut expected = BTreeMap::new();
        for branch in branches::find(graph) {
            let name = branches::weight_name(graph, branch.down).expect("named");
            let entry = &map[&**name];
            assert_eq!(entry["factor"], "A", "{name}");
            expected.insert(entry["module"].as_str().expect("a module").to_owned(), branch.layer);
        }
        assert_eq!((&found, found.len()), (&expected, count), "{model}");
    }
}

#[test]
fn an_adapter_of_another_model_is_refused_with_what_is_near() {
    let module = import("clip_text.legacy17.onnx");
    let error =
        matching::match_sites(module.main().expect("one"), &[read("taskA/peft")], &MatchOptions::default());
    let message = error.expect_err("another model").to_string();
    assert!(message.starts_with("32 sites of adapters cannot be matched"), "{message}");
    assert!(message.contains("self_attn") && message.contains("and 22 more"), "{message}");
}

#[test]
fn modules_of_a_graph_resolve_names_with_underscores() {
    let module = import(BASES[1]);
    let modules = matching::modules(module.main().expect("one"), Component::Unet);
    let options = ReadOptions { modules: Some(modules), ..ReadOptions::default() };
    let file = fixtures().join("tiny/lora/taskC/kohya/taskC.safetensors");
    let adapter = adapter::read(&file, &options).expect("all modules are there");
    assert_eq!(adapter.sites.len(), 63);
    assert!(adapter.sites.iter().any(|site| site.path.as_str() == "up_blocks.0.upsamplers.0.conv"));
}

#[test]
fn text_encoders_are_found_with_and_without_text_model() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("encoder.safetensors");
    // The model has 32 channels, 64 within its feed-forward layers.
    let bundle = [("self_attn_q_proj", 32), ("self_attn_out_proj", 32), ("mlp_fc1", 64)].into_iter().fold(
        common::Bundle::new(),
        |bundle, (module, channels_out)| {
            let name = |leaf: &str| format!("lora_te_text_model_encoder_layers_1_{module}.{leaf}");
            let down = bundle.drawn(&name("lora_down.weight"), &[2, 32]);
            down.drawn(&name("lora_up.weight"), &[channels_out, 2])
        },
    );
    bundle.write(&path);
    let adapter = adapter::read(&path, &ReadOptions::default()).expect("sound");
    for model in ["clip_text.dynamo18.onnx", "clip_text.legacy17.onnx"] {
        let found = layers(&matches(&import(model), std::slice::from_ref(&adapter)));
        // The model was exported within a wrapper, and has no `text_model`, which the file's names have.
        let expected = ["mlp.fc1", "self_attn.out_proj", "self_attn.q_proj"];
        let expected = expected.map(|module| format!("text_encoder.encoder.layers.1.{module}"));
        assert!(found.keys().eq(&expected), "{model}: {found:?}");
    }
}

/// A checkpoint as PyTorch has it, with the weights of the layers of `matches`.
fn checkpoint(graph: &Graph, matches: &Matches, path: &Path) {
    let bundle = matches.targets.iter().fold(common::Bundle::new(), |bundle, target| {
        let elements: Vec<f32> = weight(graph, target).iter().map(|element| *element as f32).collect();
        let sizes = [&[target.channels_out, target.channels_in], target.kernel.as_slice()].concat();
        bundle.tensor(&format!("{}.weight", target.path), &sizes, &elements)
    });
    bundle.write(path);
}

/// `module` without anything that says which module of the program a node or weight is from.
fn anonymous(module: &Module) -> Module {
    let weights = MemoryWeights::of(module.main().expect("one graph").weights()).expect("readable");
    let text = print(module).expect("printed");
    let lines: Vec<&str> = text.lines().map(|line| line.split(" from \"").next().unwrap_or(line)).collect();
    let mut module = parse(&lines.join("\n"), &weights).expect("paths may be left out");
    let graph = module.graphs.first_mut().expect("one graph");
    let values: Vec<_> = graph.nodes().map(|node| node.result().id()).collect();
    for value in values {
        graph.set_name(value, "anonymous");
    }
    module
}

#[test]
fn a_checkpoint_finds_the_layers_of_a_graph_without_names() {
    let adapters = TASKS.map(|(task, _)| read(&format!("{task}/peft")));
    let one = import("unet2_base.dynamo18.onnx");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("base.safetensors");
    checkpoint(one.main().expect("one graph"), &matches(&one, &adapters), &path);
    let base = SafeTensorsFile::open(&path).expect("sound");
    // The same weights as another exporter wrote them.
    let other = import("unet2_base.legacy17.onnx");
    let expected = matches(&other, &adapters);
    let options = MatchOptions { base: Some(&base), ..MatchOptions::default() };
    let confirmed = matching::match_sites(other.main().expect("one graph"), &adapters, &options);
    assert_eq!(layers(&confirmed.expect("no contradiction")), layers(&expected));
    let nameless = anonymous(&other);
    let graph = nameless.main().expect("one graph");
    let error = matching::match_sites(graph, &adapters, &MatchOptions::default())
        .expect_err("nothing says")
        .to_string();
    assert!(error.starts_with("143 sites"), "{error}");
    let found = matching::match_sites(graph, &adapters, &options).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(found.targets.len(), 79);
}
