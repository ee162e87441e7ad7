//! Adapters as real tools wrote them: every dialect of a task is the same adapter.

mod common;

use std::path::PathBuf;

use common::{deltas, distance, fixtures};
use quad_frontends::adapter::{self, Adapter, Component, Dialect, Modules, ReadOptions, SiteKind, Warning};

fn folder() -> PathBuf {
    fixtures().join("tiny/lora")
}

fn read(file: &str) -> Adapter {
    adapter::read(&folder().join(file), &ReadOptions::default())
        .unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// As [`read`], with the modules that the task adapts, so that names with underscores get their dots back.
fn read_resolved(file: &str, task: &str) -> Adapter {
    let paths: Vec<String> =
        read(&format!("{task}/peft")).sites.iter().map(|site| site.path.to_string()).collect();
    let modules = Some(Modules::new().with(Component::Unet, paths));
    let options = ReadOptions { modules, ..ReadOptions::default() };
    adapter::read(&folder().join(file), &options).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// How many sites of which kind, rank and scale.
fn groups(adapter: &Adapter) -> Vec<(SiteKind, usize, f64, usize)> {
    let mut groups: Vec<(SiteKind, usize, f64, usize)> = Vec::new();
    for site in &adapter.sites {
        let (kind, rank, scale) = (site.kind, site.rank(), site.scale);
        match groups.iter_mut().find(|group| (group.0, group.1, group.2) == (kind, rank, scale)) {
            Some(group) => group.3 += 1,
            None => groups.push((kind, rank, scale, 1)),
        }
    }
    groups.sort_by_key(|group| group.0);
    groups
}

#[test]
fn ranks_kinds_and_scales_are_those_of_the_training() {
    use SiteKind::{Conv, Linear};
    assert_eq!(groups(&read("taskA/peft")), [(Linear, 4, 1.0, 32)]);
    assert_eq!(groups(&read("taskB/peft")), [(Linear, 8, 2.0, 40), (Conv, 8, 2.0, 8)]);
    assert_eq!(groups(&read("taskC/peft")), [(Linear, 4, 0.5, 40), (Conv, 8, 1.0, 23)]);
    for task in ["taskA", "taskB", "taskC"] {
        let expected = groups(&read(&format!("{task}/peft")));
        for file in [
            "diffusers".to_owned(),
            format!("kohya/{task}.safetensors"),
            format!("kohya/{task}.fp16.safetensors"),
        ] {
            assert_eq!(groups(&read(&format!("{task}/{file}"))), expected, "{task}/{file}");
        }
    }
}

#[test]
fn all_dialects_of_a_task_are_the_same_adapter() {
    for task in ["taskA", "taskB", "taskC"] {
        let expected = deltas(&read(&format!("{task}/peft")));
        for (file, dialect, tolerance) in [
            ("diffusers".to_owned(), Dialect::Diffusers, 0.0),
            // Scales are part of the factors there, rounded to f32 once.
            ("diffusers_old".to_owned(), Dialect::DiffusersOld, 1e-6),
            (format!("kohya/{task}.safetensors"), Dialect::Kohya, 0.0),
            (format!("kohya/{task}.fp16.safetensors"), Dialect::Kohya, 1e-3),
        ] {
            let found = read_resolved(&format!("{task}/{file}"), task);
            assert_eq!(found.dialect, dialect, "{file}");
            let distance = distance(&expected, &deltas(&found));
            assert!(distance <= tolerance, "{task}/{file}: {distance}");
        }
    }
}

#[test]
fn processors_of_attention_are_the_projections() {
    let found = read("taskA/diffusers_attnproc");
    assert_eq!((found.dialect, found.sites.len()), (Dialect::AttentionProcessor, 32));
    assert!(found.sites.iter().any(|site| site.path.as_str().ends_with("attn1.to_out.0")));
    assert_eq!(distance(&deltas(&read("taskA/peft")), &deltas(&found)), 0.0);
}

#[test]
fn without_metadata_the_scale_is_one_and_that_is_said() {
    for (task, sites) in [("taskA", 32), ("taskB", 48), ("taskC", 63)] {
        let found = read(&format!("{task}/diffusers/pytorch_lora_weights.nometa.safetensors"));
        assert_eq!(found.warnings, [Warning::AlphaUnknown { component: Component::Unet, sites }]);
        assert!(found.sites.iter().all(|site| site.scale == 1.0 && site.alpha.is_none()));
    }
    let wrong = deltas(&read("taskB/diffusers/pytorch_lora_weights.nometa.safetensors"));
    assert_eq!(distance(&deltas(&read("taskB/peft")), &wrong), 0.5, "half of the trained scale");
}

#[test]
fn names_with_underscores_stay_until_the_modules_are_known() {
    let plain = read("taskC/kohya/taskC.safetensors");
    assert!(plain.sites.iter().all(|site| matches!(site.path, adapter::ModulePath::Mangled(_))));
    let resolved = read_resolved("taskC/kohya/taskC.safetensors", "taskC");
    assert!(resolved.sites.iter().all(|site| matches!(site.path, adapter::ModulePath::Dotted(_))));
}

#[test]
fn a_module_that_the_model_lacks_is_named_with_what_is_near() {
    let modules =
        Modules::new().with(Component::Unet, ["down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"]);
    let options = ReadOptions { modules: Some(modules), ..ReadOptions::default() };
    let file = folder().join("taskA/kohya/taskA.safetensors");
    let error = adapter::read(&file, &options).expect_err("31 modules are missing").to_string();
    for part in ["taskA.safetensors", "31 of its modules", "attn1_to_k", "attn1.to_q"] {
        assert!(error.contains(part), "{part} is not in: {error}");
    }
}
