//! Finds the adapters in what real exporters wrote, and none where there are none.

use std::path::Path;

use quad_frontends::adapter::branches::{self, Kind};
use quad_frontends::onnx;

/// How many branches of which kind, rank and scale.
type Groups = Vec<(Kind, u64, f64, usize)>;

fn groups(model: &str) -> Groups {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/tiny/models");
    let module = onnx::import(&folder.join(model)).expect("a sound model");
    let mut groups = Groups::new();
    for branch in branches::find(module.main().expect("one graph")) {
        let (kind, rank, scale) = (branch.kind, branch.rank, branch.scale);
        match groups.iter_mut().find(|group| (group.0, group.1, group.2) == (kind, rank, scale)) {
            Some(group) => group.3 += 1,
            None => groups.push((kind, rank, scale, 1)),
        }
    }
    groups.sort_by_key(|group| group.0);
    groups
}

#[test]
fn every_adapted_layer_is_found() {
    use Kind::{Convolution, Linear};
    let task_a = vec![(Linear, 4, 1.0, 32)];
    let task_b = vec![(Linear, 8, 2.0, 40), (Convolution, 8, 2.0, 8)];
    let task_c = vec![(Linear, 4, 0.5, 40), (Convolution, 8, 1.0, 23)];
    let large_b = vec![(Linear, 8, 2.0, 160), (Convolution, 8, 2.0, 32)];
    for (model, expected) in [
        ("unet2_lora_taskA.legacy17.onnx", &task_a),
        ("unet2_lora_taskA.legacy17.nofold.onnx", &task_a),
        ("unet2_lora_taskA.dynamo18.onnx", &task_a),
        ("unet2_lora_taskB.legacy17.onnx", &task_b),
        ("unet2_lora_taskB.dynamo18.onnx", &task_b),
        ("unet2_lora_taskC.legacy17.onnx", &task_c),
        ("unet4_lora_taskB.legacy17.onnx", &large_b),
        ("unet4_lora_taskB.dynamo18.onnx", &large_b),
    ] {
        assert_eq!(groups(model), *expected, "{model}");
    }
}

#[test]
fn models_without_an_adapter_have_no_branch() {
    for model in [
        "unet2_base.legacy17.onnx",
        "unet2_base.dynamo18.onnx",
        "unet2_base.dynamo23.onnx",
        "unet2_base_fp16.legacy17.onnx",
        "unet2_merged_taskA.legacy17.onnx",
        "unet2_merged_taskB.legacy17.onnx",
        "unet2_merged_taskC.legacy17.onnx",
        "clip_text.legacy17.onnx",
        "clip_text.dynamo18.onnx",
        "vae_encoder.legacy17.onnx",
        "vae_decoder.dynamo18.onnx",
    ] {
        assert_eq!(groups(model), [], "{model}");
    }
}
