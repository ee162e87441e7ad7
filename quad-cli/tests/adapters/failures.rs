//! What adapters were lost by in silence elsewhere, each with what happens here.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use quad_frontends::data::safetensors::{self, SafeTensorsFile};
use quad_ir::interpret::NamedTensors;
use quad_ir::tensor::Tensor;

use crate::bench::{Bench, lora, model, quad};

const MODEL: &str = "unet2_base.legacy17.onnx";
const KOHYA: &str = "taskB/kohya/taskB.safetensors";

/// The file `name` with its tensors changed by `change`.
pub(crate) fn changed(
    bench: &Bench,
    name: &str,
    change: impl Fn(String, Tensor) -> Vec<(String, Tensor)>,
) -> PathBuf {
    let file = SafeTensorsFile::open(&lora(name)).expect("an adapter");
    let tensors: NamedTensors =
        file.tensors().iter().cloned().flat_map(|(name, tensor)| change(name, tensor)).collect();
    let path = bench.path("changed.safetensors");
    safetensors::write(&path, &tensors, file.metadata()).expect("written");
    path
}

pub(crate) fn scaled(tensor: &Tensor, factor: f32) -> Tensor {
    let elements = tensor.to_f32().expect("floats").iter().map(|element| element * factor).collect();
    Tensor::from_vec(tensor.sizes(), elements).expect("as many")
}

/// What `quad adapter verify` says, which must end with `code`.
fn verify(code: i32, model_name: &str, adapter: &Path) -> String {
    let model = model(model_name);
    quad(code, &["adapter".as_ref(), "verify".as_ref(), model.as_os_str(), adapter.as_os_str()])
}

#[track_caller]
fn contains(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

#[test]
fn a_renamed_module_is_named_with_what_is_near() {
    let bench = Bench::new("unet2.npz");
    let adapter = changed(&bench, KOHYA, |name, tensor| {
        vec![(
            name.replace("down_blocks_0_attentions_0_proj_in", "down_blocks_0_attentions_0_projection"),
            tensor,
        )]
    });
    let message = bench.refused_run(&model(MODEL), &[adapter.as_os_str()]);
    contains(&message, &["1 site", "attentions_0_projection", "down_blocks.0.attentions.0.proj_in"]);
    contains(&verify(1, MODEL, &adapter), &["off  every tensor is bound once", "attentions_0_projection"]);
}

#[test]
fn factors_of_zeros_do_not_take_effect() {
    let bench = Bench::new("unet2.npz");
    let adapter = changed(&bench, KOHYA, |name, tensor| {
        let factor = if name.contains("mid_block") && name.ends_with("lora_up.weight") { 0.0 } else { 1.0 };
        vec![(name, scaled(&tensor, factor))]
    });
    let said = verify(1, MODEL, &adapter);
    contains(&said, &["off  no layer's change is zero", "zero everywhere", "mid_block", ".lora_B"]);
}

/// The adapter with half of the rank at one end of a convolution, given by its `axis`.
fn half_of_a_rank(bench: &Bench, leaf: &str, axis: usize) -> PathBuf {
    changed(bench, KOHYA, |name, tensor| {
        let is_first = name.contains("mid_block_attentions_0_proj_in") && name.ends_with(leaf);
        let halved = |tensor: &Tensor| {
            let mut sizes = tensor.sizes().to_vec();
            sizes[axis] /= 2;
            let elements = tensor.to_f32().expect("floats")[..tensor.len() / 2].to_vec();
            Tensor::from_vec(&sizes, elements).expect("as many")
        };
        let tensor = if is_first { halved(&tensor) } else { tensor };
        vec![(name, tensor)]
    })
}

#[test]
fn factors_of_different_ranks_are_refused() {
    let bench = Bench::new("unet2.npz");
    let adapter = half_of_a_rank(&bench, "lora_down.weight", 0);
    let message = bench.refused_run(&model(MODEL), &[adapter.as_os_str()]);
    contains(&message, &["mid_block_attentions_0_proj_in"]);
}

#[test]
fn a_second_factor_of_half_the_rank_is_not_taken_for_groups() {
    let bench = Bench::new("unet2.npz");
    let adapter = half_of_a_rank(&bench, "lora_up.weight", 1);
    let exposed = bench.expose(MODEL, &[KOHYA], &[]);
    for model in [&model(MODEL), &exposed] {
        let message = bench.refused_run(model, &[adapter.as_os_str()]);
        contains(
            &message,
            &["changed", "mid_block_attentions_0_proj_in", "for rank 8", "for rank 4", "2 groups"],
        );
    }
}

#[test]
fn a_layer_is_exposed_once() {
    let bench = Bench::new("unet2.npz");
    let (exposed, adapter, out) = (bench.expose(MODEL, &[KOHYA], &[]), lora(KOHYA), bench.path("out.quad"));
    let expose = ["lora", "expose", "--rank", "12", "--adapter"].map(OsStr::new);
    let message = quad(
        2,
        &[&expose[..], &[adapter.as_os_str(), exposed.as_os_str(), "-o".as_ref(), out.as_os_str()]].concat(),
    );
    contains(&message, &["takes adapters already", "quad adapter pack", "expose the model"]);
    assert!(!out.exists());
}

#[test]
fn a_graph_that_packs_is_not_dropped_by_onnx() {
    let bench = Bench::new("unet2.npz");
    let (exposed, hoisted) = (bench.expose(MODEL, &[KOHYA], &[]), bench.path("hoisted.quad"));
    let opt = |code: i32, input: &Path, output: &Path| {
        let pass = ["-p".as_ref(), "hoist-adapter".as_ref(), "-o".as_ref()];
        quad(code, &[&["opt".as_ref(), input.as_os_str()], &pass[..], &[output.as_os_str()]].concat())
    };
    opt(0, &exposed, &hoisted);
    let out = bench.path("out.onnx");
    contains(&opt(2, &exposed, &out), &["@pack", "write .quad"]);
    let convert = ["convert".as_ref(), hoisted.as_os_str(), "-o".as_ref(), out.as_os_str()];
    contains(&quad(2, &convert), &["@pack", "write .quad"]);
    assert!(!out.exists());
}

#[test]
fn outputs_that_are_no_numbers_any_more_do_not_hold() {
    let bench = Bench::new("unet2.npz");
    let adapter = changed(&bench, KOHYA, |name, tensor| {
        let factor = if name.ends_with("lora_up.weight") { 1e30 } else { 1.0 };
        vec![(name, scaled(&tensor, factor))]
    });
    contains(&verify(1, MODEL, &adapter), &["off  outputs are finite where the base's are"]);
}

#[test]
fn a_missing_alpha_is_told() {
    let bench = Bench::new("unet2.npz");
    let adapter = lora("taskB/diffusers/pytorch_lora_weights.nometa.safetensors");
    let (_, output) = bench.start_run(&model(MODEL), &[adapter.as_os_str()], "0", &[]);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{message}");
    contains(&message, &["note: ", "alpha is not stored for 48 sites", "taken to be 1"]);
}

#[test]
fn tensors_of_a_text_encoder_do_not_vanish_in_a_unet() {
    let bench = Bench::new("unet2.npz");
    let adapter = changed(&bench, KOHYA, |name, tensor| {
        let copy = name.starts_with("lora_unet_mid_block_attentions_0_proj_in.").then(|| {
            name.replace(
                "lora_unet_mid_block_attentions_0_proj_in",
                "lora_te_text_model_encoder_layers_0_mlp_fc1",
            )
        });
        std::iter::once((name, tensor.clone())).chain(copy.map(|copy| (copy, tensor))).collect()
    });
    let message = bench.refused_run(&model(MODEL), &[adapter.as_os_str()]);
    contains(&message, &["text_encoder", "text_model_encoder_layers_0_mlp_fc1"]);
    let (_, output) =
        bench.start_run(&model(MODEL), &[adapter.as_os_str()], "0", &["--allow-unused", "text_encoder.*"]);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{message}");
    contains(&message, &["note: ", "text_model_encoder_layers_0_mlp_fc1", "`text_encoder.*` allows"]);
    let said = quad(
        0,
        &[
            "adapter".as_ref(),
            "verify".as_ref(),
            model(MODEL).as_os_str(),
            adapter.as_os_str(),
            "--allow-unused".as_ref(),
            "text_encoder.*".as_ref(),
        ],
    );
    contains(&said, &["every tensor is bound once: those of 48 layers; 1 site left out"]);
}

#[test]
fn a_change_that_is_rounded_away_does_not_take_effect() {
    let bench = Bench::new("unet2.npz");
    let adapter = changed(&bench, KOHYA, |name, tensor| {
        let factor = if name.ends_with("lora_up.weight") { 1e-9 } else { 1.0 };
        vec![(name, scaled(&tensor, factor))]
    });
    let said = verify(1, "unet2_base_fp16.legacy17.onnx", &adapter);
    contains(
        &said,
        &["off  no layer's change is zero", "48 zero everywhere", "off  outputs differ from the base's"],
    );
}

#[test]
fn a_tensor_that_is_there_twice_is_refused() {
    let bench = Bench::new("unet2.npz");
    let entry = |from: usize| {
        format!(
            r#""lora_unet_conv_in.lora_up.weight":{{"dtype":"F32","shape":[1,1],"data_offsets":[{from},{}]}}"#,
            from + 4
        )
    };
    let header = format!("{{{},{}}}", entry(0), entry(4));
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(&[0; 8]);
    let adapter = bench.file("twice.safetensors", &bytes);
    contains(
        &bench.refused_run(&model(MODEL), &[adapter.as_os_str()]),
        &["lora_unet_conv_in.lora_up.weight", "twice"],
    );
}

#[test]
fn an_adapter_packed_for_another_base_is_refused_although_all_shapes_fit() {
    let bench = Bench::new("unet2.npz");
    let base = bench.expose(MODEL, &["taskB/peft"], &[]);
    let text = std::fs::read_to_string(&base).expect("a text");
    let other = bench.path("other.quad");
    // The same model with one bias changed: a number is enough.
    let at = text.find("weight [").expect("a small weight") + "weight [".len();
    let end = at + text[at..].find([',', ']']).expect("an element");
    std::fs::write(&other, format!("{}0.125{}", &text[..at], &text[end..])).expect("written");
    let sidecar = |path: &Path| PathBuf::from(format!("{}.safetensors", path.display()));
    std::fs::copy(sidecar(&base), sidecar(&other)).expect("copied");
    let packed = bench.path("packed.safetensors");
    let adapter = lora("taskB/peft");
    quad(
        0,
        &[
            "adapter".as_ref(),
            "pack".as_ref(),
            base.as_os_str(),
            adapter.as_os_str(),
            "-o".as_ref(),
            packed.as_os_str(),
        ],
    );
    assert_eq!(crate::bench::interface(&base), crate::bench::interface(&other));
    contains(
        &bench.refused_run(&other, &[packed.as_os_str()]),
        &["was packed for another model", "pack the adapter again"],
    );
    let weighted = format!("{}=0.5", packed.display());
    contains(&bench.refused_run(&base, &[weighted.as_ref()]), &["cannot be given a strength"]);
}

#[test]
fn nothing_is_exposed_without_an_adapter() {
    let bench = Bench::new("unet2.npz");
    let out = bench.path("out.quad");
    let message = quad(
        2,
        &["lora".as_ref(), "expose".as_ref(), model(MODEL).as_os_str(), "-o".as_ref(), out.as_os_str()],
    );
    contains(&message, &["nothing to expose"]);
    assert!(!out.exists());
    let adapter = lora("taskB/peft");
    let message = quad(
        2,
        &[
            "adapter".as_ref(),
            "pack".as_ref(),
            model(MODEL).as_os_str(),
            adapter.as_os_str(),
            "-o".as_ref(),
            out.as_os_str(),
        ],
    );
    contains(&message, &["takes no adapter yet"]);
}

#[test]
fn a_checkpoint_of_another_model_contradicts_the_names() {
    let bench = Bench::new("unet2.npz");
    let [one, two] = ["mid_block.attentions.0.proj_in.weight", "mid_block.attentions.0.proj_out.weight"];
    // A checkpoint in which two modules have each other's weights.
    let swapped = NamedTensors::from([(one.to_owned(), weight(two)), (two.to_owned(), weight(one))]);
    let message = expose_with_base(&bench, 2, &swapped);
    contains(&message, &["mid_block.attentions.0.proj_in", "mid_block.attentions.0.proj_out", "checkpoint"]);
}

#[test]
fn a_checkpoint_of_a_later_training_is_not_the_models() {
    let bench = Bench::new("unet2.npz");
    let [one, two] = ["mid_block.attentions.0.proj_in.weight", "mid_block.attentions.0.proj_out.weight"];
    let mut base = NamedTensors::from([(one.to_owned(), weight(one)), (two.to_owned(), weight(two))]);
    expose_with_base(&bench, 0, &base);
    base.insert(two.to_owned(), scaled(&weight(two), 1.01));
    let message = expose_with_base(&bench, 2, &base);
    contains(
        &message,
        &["1 site", "mid_block.attentions.0.proj_out", "is not in the model", "base is another"],
    );
}

/// The elements of a weight of the model.
fn weight(name: &str) -> Tensor {
    let module = quad_frontends::onnx::import(&model(MODEL)).expect("a model");
    let graph = module.main().expect("one graph");
    let id = graph.find(name).and_then(quad_ir::graph::ValueRef::weight).expect("a weight");
    graph.weights().tensor(id).expect("its elements")
}

/// What `quad lora expose` says with a checkpoint of these tensors; it must end with `code`.
#[track_caller]
fn expose_with_base(bench: &Bench, code: i32, tensors: &NamedTensors) -> String {
    let base = bench.path("base.safetensors");
    safetensors::write(&base, tensors, &BTreeMap::new()).expect("written");
    let (out, adapter) = (bench.path("out.quad"), lora("taskB/peft"));
    quad(
        code,
        &[
            "lora".as_ref(),
            "expose".as_ref(),
            model(MODEL).as_os_str(),
            "--adapter".as_ref(),
            adapter.as_os_str(),
            "--base".as_ref(),
            base.as_os_str(),
            "-o".as_ref(),
            out.as_os_str(),
        ],
    )
}
