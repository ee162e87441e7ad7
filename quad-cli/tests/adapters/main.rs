//! LoRA adapters from the command line: what real tools wrote gives what PyTorch computed, and what used to go wrong in
//! silence is an error that says what and where.

mod bench;
mod failures;
mod merged;

use std::path::Path;

use bench::{Bench, SINGLE_PRECISION, close, lora, models, quad};

/// Files of `task` in all dialects that say what alpha is.
fn dialects(task: &str) -> Vec<String> {
    let mut files = vec![
        format!("{task}/peft"),
        format!("{task}/diffusers/pytorch_lora_weights.safetensors"),
        format!("{task}/diffusers_old"),
        format!("{task}/kohya/{task}.safetensors"),
        format!("{task}/kohya/{task}.fp16.safetensors"),
    ];
    if task == "taskA" {
        files.push("taskA/diffusers_attnproc".to_owned());
    }
    files
}

/// Runs all dialects of `task` on `models` and compares with what PyTorch computed.
#[track_caller]
fn check_task(task: &str, models: &[&str]) {
    let bench = Bench::new("unet2.npz");
    let expected = bench.expected(task, "0");
    for model in models {
        for file in dialects(task) {
            let found = bench.run(&bench::model(model), &[lora(&file).as_os_str()], "0");
            // These files were rounded to 16 bits; the model computes in 32.
            let allowed = if file.contains("fp16") { 5e-3 } else { SINGLE_PRECISION };
            close(&found, &expected, allowed, &format!("{model}, {file}"));
        }
    }
}

const EXPORTERS: [&str; 3] =
    ["unet2_base.legacy17.onnx", "unet2_base.dynamo18.onnx", "unet2_base.dynamo23.onnx"];

#[test]
fn attention_adapters_of_all_dialects_give_what_pytorch_computed() {
    check_task("taskA", &EXPORTERS);
}

#[test]
fn adapters_with_convolutions_by_one_give_what_pytorch_computed() {
    check_task("taskB", &EXPORTERS);
}

#[test]
fn adapters_of_mixed_ranks_with_convolutions_give_what_pytorch_computed() {
    check_task("taskC", &EXPORTERS);
}

#[test]
fn a_batch_that_is_a_symbol_is_no_obstacle() {
    let bench = Bench::new("unet2.npz");
    for model in ["unet2_base.legacy17.dynbatch.onnx", "unet2_base.dynamo18.dynbatch.onnx"] {
        let found = bench.run(&bench::model(model), &[lora("taskC/peft").as_os_str()], "b3_0");
        close(&found, &bench.expected("taskC", "b3_0"), SINGLE_PRECISION, model);
    }
}

#[test]
fn an_adapter_equals_the_model_that_it_was_merged_into() {
    let bench = Bench::new("unet2.npz");
    for task in ["taskA", "taskB", "taskC"] {
        let merged = bench.run(&bench::model(&format!("unet2_merged_{task}.legacy17.onnx")), &[], "1");
        let found = bench.run(
            &bench::model("unet2_base.legacy17.onnx"),
            &[lora(&format!("{task}/peft")).as_os_str()],
            "1",
        );
        close(&found, &merged, SINGLE_PRECISION, task);
    }
}

#[test]
fn without_an_adapter_an_exposed_model_is_its_base_bit_for_bit() {
    let bench = Bench::new("unet2.npz");
    for model in EXPORTERS {
        let base = bench.run(&bench::model(model), &[], "0");
        for strength in ["fold", "input"] {
            let exposed = bench.expose(model, &["taskB/peft", "taskC/peft"], &["--strength", strength]);
            assert_eq!(bench.run(&exposed, &[], "0"), base, "{model}, {strength}");
        }
        let zero = format!("{}=0", lora("taskC/peft").display());
        assert_eq!(bench.run(&bench::model(model), &[zero.as_ref()], "0"), base, "{model}, strength 0");
    }
}

#[test]
fn one_exposed_model_takes_adapters_of_all_ranks_and_kinds() {
    let bench = Bench::new("unet2.npz");
    let adapters = ["taskA/peft", "taskB/kohya/taskB.safetensors", "taskC/diffusers"];
    for (model, options) in [
        ("unet2_base.legacy17.onnx", &["--strength", "fold"][..]),
        ("unet2_base.dynamo18.onnx", &["--strength", "input"]),
        ("unet2_base.dynamo18.onnx", &["--form", "rank-normalized", "--rank", "12"]),
    ] {
        let exposed = bench.expose(model, &adapters, options);
        for (task, adapter) in ["taskA", "taskB", "taskC"].iter().zip(adapters) {
            let found = bench.run(&exposed, &[lora(adapter).as_os_str()], "0");
            close(
                &found,
                &bench.expected(task, "0"),
                SINGLE_PRECISION,
                &format!("{model}, {options:?}, {adapter}"),
            );
        }
        // Names with underscores fit an exposed model too.
        let found = bench.run(&exposed, &[lora("taskC/kohya/taskC.safetensors").as_os_str()], "0");
        close(&found, &bench.expected("taskC", "0"), SINGLE_PRECISION, "kohya, exposed");
    }
}

#[test]
fn a_model_lowered_for_an_npu_takes_adapters_as_before_and_does_not_depend_on_them() {
    let bench = Bench::new("unet2.npz");
    let adapters = ["taskA/peft", "taskB/kohya/taskB.safetensors", "taskC/diffusers"];
    for (model, options) in [
        ("unet2_base.legacy17.onnx", &["--strength", "fold"][..]),
        ("unet2_base.dynamo18.onnx", &["--form", "rank-normalized", "--rank", "12"]),
    ] {
        let exposed = bench.expose(model, &adapters, options);
        let lowered = bench.lower(&exposed);
        bench::takes_slots_only(&lowered);
        close(&bench.run(&lowered, &[], "0"), &bench.expected("base", "0"), SINGLE_PRECISION, model);
        for (task, adapter) in ["taskA", "taskB", "taskC"].iter().zip(adapters) {
            let adapter = lora(adapter);
            let found = bench.run(&lowered, &[adapter.as_os_str()], "0");
            let what = format!("{model}, {options:?}, {task}");
            close(&found, &bench.expected(task, "0"), SINGLE_PRECISION, &what);
            let (packed, _) = bench.pack(&lowered, adapter.as_os_str());
            assert_eq!(bench.run(&lowered, &[packed.as_os_str()], "0"), found, "{what}, packed");
        }
    }
}

#[test]
fn models_lowered_for_an_npu_are_the_same_for_adapters_of_other_values() {
    let bench = Bench::new("unet2.npz");
    let adapter = "taskC/kohya/taskC.safetensors";
    // The same sites and ranks with other numbers everywhere; the change is that of the adapter times -3.
    let other = failures::changed(&bench, adapter, |name, tensor| {
        let factor = if name.ends_with("lora_up.weight") { -3.0 } else { 1.0 };
        vec![(name, failures::scaled(&tensor, factor))]
    });
    let other = other.to_str().expect("a path");
    for options in [&["--strength", "fold"][..], &["--form", "rank-normalized"]] {
        let [one, another] = [adapter, other]
            .map(|file| bench.lower(&bench.expose("unet2_base.legacy17.onnx", &[file], options)));
        let (packed, digest) = bench.pack(&one, other.as_ref());
        let other_digest = bench.pack(&another, lora(adapter).as_os_str()).1;
        assert_eq!(digest, other_digest, "{options:?}: one frozen graph");
        // So what was packed for one of them is for the other too.
        let found = bench.run(&another, &[packed.as_os_str()], "0");
        let merged = merged::run(&bench, "unet2_base.legacy17.onnx", &[(adapter, -3.0)], "0");
        close(&found, &merged, SINGLE_PRECISION, &format!("{options:?}"));
    }
}

#[test]
fn exposed_models_do_not_depend_on_the_values_of_adapters() {
    let bench = Bench::new("unet2.npz");
    let one = bench.expose("unet2_base.legacy17.onnx", &["taskB/peft"], &[]);
    let other = bench.expose("unet2_base.legacy17.onnx", &["taskB/kohya/taskB.fp16.safetensors"], &[]);
    assert_eq!(std::fs::read(one).expect("written"), std::fs::read(other).expect("written"));
}

#[test]
fn an_exposed_model_may_be_onnx() {
    let bench = Bench::new("unet2.npz");
    let (model, adapter, exposed) =
        (models().join(EXPORTERS[0]), lora("taskC/peft"), bench.path("exposed.onnx"));
    let arguments = ["lora".as_ref(), "expose".as_ref(), model.as_os_str(), "--adapter".as_ref()];
    quad(0, &[&arguments[..], &[adapter.as_os_str(), "-o".as_ref(), exposed.as_os_str()]].concat());
    close(&bench.run(&exposed, &[], "0"), &bench.expected("base", "0"), SINGLE_PRECISION, "without");
    for file in ["taskC/peft", "taskC/kohya/taskC.safetensors"] {
        let found = bench.run(&exposed, &[lora(file).as_os_str()], "0");
        close(&found, &bench.expected("taskC", "0"), SINGLE_PRECISION, file);
    }
}

#[test]
fn packed_adapters_are_slots_ready_to_be_bound() {
    let bench = Bench::new("unet2.npz");
    let exposed = bench.expose("unet2_base.legacy17.onnx", &["taskB/peft"], &["--rank", "16"]);
    let packed = bench.path("packed.safetensors");
    quad(
        0,
        &[
            "adapter".as_ref(),
            "pack".as_ref(),
            exposed.as_os_str(),
            lora("taskB/peft").as_os_str(),
            "-o".as_ref(),
            packed.as_os_str(),
        ],
    );
    let found = bench.run(&exposed, &[packed.as_os_str()], "0");
    close(&found, &bench.expected("taskB", "0"), SINGLE_PRECISION, "packed");
}

#[test]
fn several_adapters_are_added_up_with_their_strengths() {
    let bench = Bench::new("unet2.npz");
    let with = |file: &str, strength: f64| format!("{}={strength}", lora(file).display());
    let three = [with("taskA/peft", 0.5), with("taskB/peft", 0.25), with("taskC/peft", -0.5)];
    let three: Vec<&std::ffi::OsStr> = three.iter().map(AsRef::as_ref).collect();
    for model in EXPORTERS {
        let found = bench.run(&bench::model(model), &three, "0");
        close(&found, &bench.expected("multi_A0.5_B0.25_C-0.5", "0"), SINGLE_PRECISION, model);
    }
    let two = [("taskB/peft", 0.7), ("taskC/kohya/taskC.safetensors", 0.3)];
    let merged = merged::run(&bench, "unet2_base.legacy17.onnx", &two, "0");
    let exposed = bench.expose("unet2_base.legacy17.onnx", &["taskB/peft", "taskC/peft"], &["--rank", "16"]);
    let two = two.map(|(file, strength)| with(file, strength));
    let two: Vec<&std::ffi::OsStr> = two.iter().map(AsRef::as_ref).collect();
    close(&bench.run(&exposed, &two, "0"), &merged, SINGLE_PRECISION, "0.7 and 0.3, exposed");
    let narrow = bench.expose("unet2_base.legacy17.onnx", &["taskB/peft", "taskC/peft"], &[]);
    let message = bench.refused_run(&narrow, &two);
    for part in ["needs rank 1", "the model has 8", "`peft` (8)", "`taskC` (4)"] {
        assert!(message.contains(part), "{part} is not in: {message}");
    }
}

#[test]
fn the_strength_goes_from_the_base_to_beyond_the_adapter() {
    let bench = Bench::new("unet2.npz");
    let model = "unet2_base.dynamo18.onnx";
    for strength in [0.0, 0.5, 1.0, 2.0] {
        let merged = merged::run(&bench, model, &[("taskC/peft", strength)], "2");
        let adapter = format!("{}={strength}", lora("taskC/peft").display());
        let found = bench.run(&bench::model(model), &[adapter.as_ref()], "2");
        close(&found, &merged, SINGLE_PRECISION, &format!("strength {strength}"));
    }
}

#[test]
fn a_strength_that_is_an_input_is_changed_without_packing_factors_again() {
    let bench = Bench::new("unet2.npz");
    let (model, file) = ("unet2_base.legacy17.onnx", "taskC/kohya/taskC.safetensors");
    let exposed = bench.expose(model, &[file], &["--strength", "input"]);
    let lowered = bench.lower(&exposed);
    let given = |strength: f64| format!("{}={strength}", lora(file).display());
    for strength in [0.0, 0.5, 1.0, 2.0] {
        let merged = merged::run(&bench, model, &[(file, strength)], "1");
        for model in [&exposed, &lowered] {
            let found = bench.run(model, &[given(strength).as_ref()], "1");
            close(&found, &merged, SINGLE_PRECISION, &format!("{}, strength {strength}", model.display()));
        }
    }
    let [half, double] =
        [0.5, 2.0].map(|strength| bench::tensors(&bench.pack(&exposed, given(strength).as_ref()).0));
    assert!(half.keys().eq(double.keys()));
    let (scales, factors): (Vec<_>, Vec<_>) =
        half.iter().partition(|(name, _)| name.ends_with(".lora_scale"));
    assert_eq!((scales.is_empty(), factors.len()), (false, 2 * scales.len()));
    assert!(scales.iter().all(|(name, scale)| double[*name] != **scale), "all strengths are in the scales");
    assert!(factors.iter().all(|(name, factor)| double[*name] == **factor), "and nowhere else");
}

#[test]
fn a_model_exported_with_its_adapter_becomes_what_the_base_becomes() {
    let bench = Bench::new("unet2.npz");
    for (base, unmerged, task) in [
        ("unet2_base.legacy17.onnx", "unet2_lora_taskA.legacy17.onnx", "taskA"),
        ("unet2_base.legacy17.onnx", "unet2_lora_taskA.legacy17.nofold.onnx", "taskA"),
        ("unet2_base.dynamo18.onnx", "unet2_lora_taskA.dynamo18.onnx", "taskA"),
        ("unet2_base.legacy17.onnx", "unet2_lora_taskB.legacy17.onnx", "taskB"),
        ("unet2_base.dynamo18.onnx", "unet2_lora_taskB.dynamo18.onnx", "taskB"),
        ("unet2_base.legacy17.onnx", "unet2_lora_taskC.legacy17.onnx", "taskC"),
    ] {
        let adapter = format!("{task}/kohya/{task}.safetensors");
        let from_base = bench.expose(base, &[&adapter], &[]);
        let lifted = bench.path("lifted.safetensors");
        let from_unmerged = bench.expose(unmerged, &[], &["--lifted", &lifted.display().to_string()]);
        assert_eq!(bench::interface(&from_base), bench::interface(&from_unmerged), "{unmerged}");
        let adapter = lora(&adapter);
        let one = bench.run(&from_base, &[adapter.as_os_str()], "0");
        let other = bench.run(&from_unmerged, &[adapter.as_os_str()], "0");
        close(&other, &one, 1e-5, unmerged);
        close(&one, &bench.expected(task, "0"), SINGLE_PRECISION, unmerged);
        let from_model = bench.run(&from_unmerged, &[lifted.as_os_str()], "0");
        close(&from_model, &one, 1e-5, &format!("{unmerged} with its own adapter"));
        // The adapter in the model is left out when another one is given.
        let swapped = bench.run(&bench::model(unmerged), &[lora("taskC/peft").as_os_str()], "0");
        close(&swapped, &bench.expected("taskC", "0"), SINGLE_PRECISION, &format!("{unmerged} with taskC"));
    }
}

#[test]
fn a_deep_model_is_no_different() {
    let bench = Bench::new("unet4.npz");
    for model in ["unet4_lora_taskB.legacy17.onnx", "unet4_lora_taskB.dynamo18.onnx"] {
        let lifted = bench.path("lifted.safetensors");
        let exposed = bench.expose(model, &[], &["--lifted", &lifted.display().to_string()]);
        close(&bench.run(&exposed, &[], "0"), &bench.expected("base", "0"), SINGLE_PRECISION, model);
        let with = bench.run(&exposed, &[lifted.as_os_str()], "0");
        close(
            &with,
            &bench.expected("taskB", "0"),
            SINGLE_PRECISION,
            &format!("{model} with its own adapter"),
        );
    }
}

#[test]
fn adapters_that_take_effect_are_proven_to() {
    for (model, file) in [
        ("unet2_base.legacy17.onnx", "taskC/kohya/taskC.safetensors"),
        ("unet2_base.dynamo23.onnx", "taskA/diffusers_attnproc"),
        ("unet2_base_fp16.legacy17.onnx", "taskB/peft"),
    ] {
        let model = models().join(model);
        let said = quad(
            0,
            &[
                "adapter".as_ref(),
                "verify".as_ref(),
                model.as_os_str(),
                lora(file).as_os_str(),
                "--json".as_ref(),
            ],
        );
        let report: serde_json::Value = serde_json::from_str(&said).expect("JSON");
        assert_eq!(report["holds"], true, "{report}");
        assert_eq!(report["checks"].as_array().map(Vec::len), Some(6), "{report}");
    }
    let other = Path::new("--other");
    let said = quad(
        0,
        &[
            "adapter".as_ref(),
            "verify".as_ref(),
            models().join("unet2_base.legacy17.onnx").as_os_str(),
            lora("taskA/peft").as_os_str(),
            other.as_os_str(),
            lora("taskC/peft").as_os_str(),
        ],
    );
    assert!(said.contains("takes effect"), "{said}");
}
