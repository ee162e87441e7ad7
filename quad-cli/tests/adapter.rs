//! `quad adapter` as users run it, and what hostile adapter files do to it.

mod measured;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use quad_frontends::data::safetensors;
use quad_ir::interpret::NamedTensors;
use quad_ir::tensor::Tensor;
use serde_json::Value;

/// No hostile file may keep the program busy for longer, on the processor.
const TIME_LIMIT: Duration = Duration::from_secs(1);

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/tiny/lora").join(name)
}

fn inspect(adapters: &[PathBuf], options: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quad"));
    command.args(["adapter", "inspect"]).args(adapters).args(options).output().expect("quad starts")
}

fn shown(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{err}");
    out.into_owned()
}

/// The cells of the row called `name`, which are two spaces or more apart.
fn row(shown: &str, name: &str) -> Vec<String> {
    let line = shown
        .lines()
        .find(|line| line.starts_with(name))
        .unwrap_or_else(|| panic!("{name} is not in\n{shown}"));
    line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).skip(1).map(str::to_owned).collect()
}

#[test]
fn several_adapters_are_shown_side_by_side() {
    let adapters = [fixture("taskA/peft"), fixture("taskC/kohya/taskC.safetensors")];
    let shown = shown(&inspect(&adapters, &[]));
    for (name, cells) in [
        ("dialect", ["peft", "kohya"]),
        ("component", ["not said", "unet"]),
        ("sites", ["32", "63"]),
        ("kind", ["linear", "linear (40), conv (23)"]),
        ("form", ["LoRA", "LoRA"]),
        ("type", ["f32", "f32"]),
        ("rank", ["4", "4 (40), 8 (23)"]),
        ("alpha", ["4", "2 (40), 8 (23)"]),
        ("scale", ["1", "0.5 (40), 1 (23)"]),
    ] {
        assert_eq!(row(&shown, name), cells, "{name}");
    }
    assert!(!shown.contains("warnings"), "{shown}");
}

#[test]
fn ranges_are_those_of_the_factors() {
    let facts: Value =
        serde_json::from_str(&shown(&inspect(&[fixture("taskA/peft")], &["--json"]))).expect("JSON");
    let sites = facts[0]["sites"].as_array().expect("sites");
    let largest =
        |name: &str| sites.iter().map(|site| site[name].as_f64().expect("a number")).fold(0.0, f64::max);
    // As the tool that trained it reported: A from -0.3209 to 0.3160, B from -0.6351 to 0.9816.
    assert!((largest("lora_a_absmax") - 0.320_897_9).abs() < 1e-6, "{}", largest("lora_a_absmax"));
    assert!((largest("lora_b_absmax") - 0.981_626_7).abs() < 1e-6, "{}", largest("lora_b_absmax"));
    assert_eq!(facts[0]["components"][""], 32);
    assert_eq!(sites[0]["lora_a"], serde_json::json!([4, 16]));
}

#[test]
fn warnings_are_shown() {
    let file = fixture("taskB/diffusers/pytorch_lora_weights.nometa.safetensors");
    let shown = shown(&inspect(&[file], &[]));
    assert!(shown.contains("alpha is not stored for 48 sites of unet"), "{shown}");
    assert_eq!(row(&shown, "alpha"), ["none"]);
}

#[test]
fn what_cannot_be_read_ends_with_code_2() {
    let output = inspect(&[fixture("taskA/peft"), fixture("absent.safetensors")], &[]);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    assert!(message.starts_with("error: ") && message.contains("absent.safetensors"), "{message}");
}

/// A file with `header` and `data` behind it.
fn file(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
}

/// A header with two factors of `rank` and 4 channels, and their bytes.
fn pair(rank: usize) -> (String, Vec<u8>) {
    let bytes = 16 * rank;
    let header = format!(
        r#"{{"unet.a.lora_A.weight":{{"dtype":"F32","shape":[{rank},4],"data_offsets":[0,{bytes}]}},
            "unet.a.lora_B.weight":{{"dtype":"F32","shape":[4,{rank}],"data_offsets":[{bytes},{}]}}}}"#,
        2 * bytes
    );
    (header, vec![0x3f; 2 * bytes])
}

#[test]
fn hostile_files_end_soon_in_little_memory_and_say_what_is_wrong() {
    let (sound, data) = pair(2);
    let twice = sound.replace("lora_B", "lora_A");
    let overlapping = sound.replace("[32,64]", "[16,48]");
    let nan: Vec<u8> = data[..60].iter().copied().chain(f32::NAN.to_le_bytes()).collect();
    let entry = |number| {
        format!(r#""unet.{number}.lora_A.weight":{{"dtype":"F32","shape":[],"data_offsets":[0,0]}},"#)
    };
    let many: String = (0..150_000).map(entry).collect();
    let long_name =
        format!(r#"{{"{}":{{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}}}"#, "n".repeat(4 << 20));
    let nested = format!(r#"{{"__metadata__":{}"#, "{\"a\":".repeat(200_000));
    let cases: Vec<(&str, Vec<u8>, &[&str])> = vec![
        ("length", [&(1u64 << 63).to_le_bytes()[..], b"{}"].concat(), &["9223372036854775808"]),
        ("cut", file(&sound, &data[..63]), &["unet.a.lora_B.weight", "63 bytes"]),
        ("overlapping", file(&overlapping, &data[..48]), &["unet.a.lora_B.weight", "within those of"]),
        ("json", file("{\"a\":", b""), &["EOF"]),
        ("nested", file(&nested, b""), &["header"]),
        ("twice", file(&twice, &data), &["unet.a.lora_A.weight", "twice"]),
        ("nan", file(&sound, &nan), &["unet.a.lora_B.weight", "element 7 is NaN"]),
        ("many", file(&format!("{}}}", &many.replacen('"', "{\"", 1)[..many.len()]), b""), &["unet."]),
        ("long", file(&long_name, &[0; 4]), &["nnnn"]),
        ("empty", Vec::new(), &["8 bytes"]),
    ];
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, bytes, parts) in cases {
        let path = folder.path().join(format!("{name}.safetensors"));
        fs::write(&path, bytes).expect("written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_quad"));
        command.args(["adapter", "inspect"]).arg(&path);
        let outcome = measured::run(&mut command, &folder.path().join("stderr")).expect("quad starts");
        let message = &outcome.message;
        assert_eq!(outcome.code, Some(2), "{name}: {message}");
        assert!(message.contains(&format!("{name}.safetensors")), "{name}: {message}");
        assert!(parts.iter().all(|part| message.contains(part)), "{name}: {parts:?} are not in: {message}");
        assert!(message.len() < 2000, "{name}: a message of {} bytes", message.len());
        assert!(outcome.took < TIME_LIMIT, "{name}: took {:?}", outcome.took);
        assert!(
            outcome.peak_memory_kib < measured::MEMORY_LIMIT_KIB,
            "{name}: {} KiB",
            outcome.peak_memory_kib
        );
    }
}

/// A model with one layer and eight values behind it.
fn chain() -> String {
    let step = |step: usize| format!("  %n{step} = neg(%n{}) : f32[1, 2048, 4]\n", step - 1);
    let steps = (1..=8).map(step).collect::<Vec<_>>().concat();
    format!(
        "quad 1

graph @main(%x: f32[1, 2048, 4]) {{
  %w = weight [1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0] : f32[4, 4]
  %v = weight [0.5, 0.25, -0.5, 1.0] : f32[4, 1]
  %n0 = matmul(%x, %w) : f32[1, 2048, 4] from \"l\"
{steps}  %y = matmul(%n8, %v) : f32[1, 2048, 1]
  return \"y\" = %y
}}
"
    )
}

/// Numbers of all sizes, so that statistics are large.
fn numbers(sizes: &[usize], scale: f32) -> Tensor {
    let number = |at: usize| {
        let mixed = (at as u32).wrapping_mul(2_654_435_761);
        scale * ((mixed >> 8) as f32 - 8e6) * 0.5f32.powi((mixed % 41) as i32)
    };
    Tensor::from_vec(sizes, (0..sizes.iter().product()).map(number).collect()).expect("as many")
}

#[test]
fn more_samples_to_check_with_take_no_more_memory() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, arrays: &[(&str, Tensor)]| {
        let arrays: NamedTensors =
            arrays.iter().map(|(name, array)| ((*name).to_owned(), array.clone())).collect();
        safetensors::write(&folder.path().join(name), &arrays, &[].into()).expect("written");
    };
    fs::write(folder.path().join("model.quad"), chain()).expect("written");
    write(
        "a.safetensors",
        &[("l.lora_A.weight", numbers(&[2, 4], 1e-9)), ("l.lora_B.weight", numbers(&[4, 2], 1e-9))],
    );
    for samples in [40, 200] {
        write(&format!("{samples}.safetensors"), &[("x", numbers(&[samples, 2048, 4], 1e-6))]);
    }
    let quad = |arguments: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quad"));
        command.current_dir(folder.path()).args(arguments.split_whitespace());
        let outcome = measured::run(&mut command, &folder.path().join("stderr")).expect("quad starts");
        assert_eq!(outcome.code, Some(0), "{}", outcome.message);
        outcome.peak_memory_kib
    };
    quad("calibrate model.quad --adapter a=a.safetensors --data a=40.safetensors -o a.stats");
    quad("profile make a.stats --anchor a --precision w8a8 -o a.profile");
    let [few, many] = [40, 200].map(|samples| {
        quad(&format!(
            "adapter check a.profile a.safetensors --model model.quad --data {samples}.safetensors --most-loss 999"
        ))
    });
    // The samples and the outputs of all runs are 10 MiB more, the statistics of single samples would be 60.
    assert!(many < few + 30 * 1024, "{few} KiB with 40 samples, {many} KiB with 200");
}
