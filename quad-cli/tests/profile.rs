//! `quad profile` on the trained testbed: encodings that PyTorch found for the same data, rules of targets, files of other
//! tools, and what it says when something is wrong.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use quad_quantize::profile::{Profile, Role};
use serde_json::Value;
use tempfile::TempDir;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/testbed")
}

/// A folder with `edge.stats`: all samples of one adapter of the testbed.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = TempDir::new().expect("a temporary folder");
        let of = |path: &str| fixtures().join(path).display().to_string();
        let ran = Command::new(env!("CARGO_BIN_EXE_quad"))
            .current_dir(folder.path())
            .args(["calibrate", &of("models/base.legacy17.onnx"), "-o", "edge.stats"])
            .args(["--adapter", &format!("edge={}", of("lora/edge"))])
            .args(["--data", &format!("edge={}", of("data/edge.calib.safetensors"))])
            .args(["--ignore", "target", "--ignore", "out.*"])
            .output()
            .expect("runs");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        folder
    });
    folder.path()
}

/// `quad profile` with `arguments`, separated by spaces, in the folder.
fn run(arguments: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quad"));
    command.arg("profile").args(arguments.split_whitespace()).current_dir(folder());
    command.output().expect("runs")
}

/// What it prints when it does what it is asked for.
#[track_caller]
fn done(arguments: &str) -> String {
    let ran = run(arguments);
    assert!(ran.status.success(), "{arguments}: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).expect("text")
}

/// Asserts that it refuses, and says all of `parts`.
#[track_caller]
fn refused(arguments: &str, parts: &[&str]) {
    let ran = run(arguments);
    assert_eq!(ran.status.code(), Some(2), "{arguments}");
    let said = String::from_utf8_lossy(&ran.stderr);
    for part in parts {
        assert!(said.contains(part), "{arguments}: `{part}` is not in\n{said}");
    }
}

fn read(name: &str) -> Profile {
    Profile::read(&folder().join(name)).expect("a profile")
}

#[test]
fn encodings_are_those_that_pytorch_found() {
    let printed = done("make edge.stats --anchor edge -o reference.profile");
    assert!(printed.contains("anchor") && printed.contains("edge"), "{printed}");
    let profile = read("reference.profile");
    let text = fs::read_to_string(fixtures().join("encodings/W8A16.edge.excerpt.json")).expect("the excerpt");
    let theirs: Value = serde_json::from_str(&text).expect("JSON");
    let mut compared = 0;
    for (name, encoding) in theirs["activation_encodings"].as_object().expect("encodings") {
        // The model of the excerpt has a branch with nodes of its own.
        let Some(entry) = profile.entries.get(name) else { continue };
        let (scale, zero_point) = entry.encoding.parameters().next().expect("a scale");
        let expected = encoding[0]["scale"].as_f64().expect("a scale");
        assert!((f64::from(scale) / expected - 1.0).abs() < 1e-4, "{name}: {scale} and {expected}");
        assert_eq!(i64::from(zero_point), -encoding[0]["offset"].as_i64().expect("an offset"), "{name}");
        compared += 1;
    }
    assert_eq!(compared, 37);
}

#[test]
fn the_same_statistics_give_the_same_bytes() {
    for (options, output) in
        [("", "a.profile"), ("", "b.profile"), (" --method percentile=99.9 --precision w8a8", "c.profile")]
    {
        done(&format!("make edge.stats --anchor unified{options} -o {output}"));
    }
    let bytes = |name: &str| fs::read(folder().join(name)).expect("a profile");
    assert_eq!(bytes("a.profile"), bytes("b.profile"));
    assert!(done("diff a.profile b.profile").contains("the same"));
    let ran = run("diff a.profile c.profile");
    let printed = String::from_utf8_lossy(&ran.stdout);
    assert_eq!(ran.status.code(), Some(1));
    for part in ["precision", "w8a8", "method", "encodings differ", "scale ", "more: --all"] {
        assert!(printed.contains(part), "`{part}` is not in\n{printed}");
    }
    assert!(String::from_utf8_lossy(&run("diff a.profile c.profile --all").stdout).contains("u16 -> u8"));
    let difference: Value =
        serde_json::from_slice(&run("diff a.profile c.profile --json").stdout).expect("JSON");
    assert!(difference["changed"].as_array().expect("changes").len() > 1000);
}

#[test]
fn targets_get_what_they_ask_for() {
    done("make edge.stats --anchor edge --rules litert -o litert.profile");
    let litert = read("litert.profile");
    let softmaxes = litert.entries.iter().filter(|(name, _)| name.contains("/softmax"));
    let fixed = softmaxes.map(|(_, entry)| entry.encoding.parameters().next()).collect::<Vec<_>>();
    assert!(fixed.len() >= 50 && fixed.iter().all(|found| *found == Some((1.0 / 32768.0, 0))), "{fixed:?}");
    assert!(litert.of_role(Role::Activation).all(|(_, entry)| entry.encoding.is_symmetric()));
    assert!(litert.of_role(Role::Bias).count() > 80);
    // All adapted layers are products at each position, of which 16 bits are right; filters of 16 bits are read as 8.
    assert!(litert.of_role(Role::Slot).all(|(_, entry)| entry.encoding.stored.bits() == 16));
    done("make edge.stats --anchor edge --rules litert --precision w8a8 -o narrow.profile");
    assert!(read("narrow.profile").of_role(Role::Slot).all(|(_, entry)| entry.encoding.stored.bits() == 8));

    let printed = done("show litert.profile --entries");
    for part in ["rules", "litert", "activations", "i64 per channel", "sample", "on a float island"] {
        assert!(printed.contains(part), "`{part}` is not in the printed profile");
    }
    let json: Value = serde_json::from_str(&done("show litert.profile --json")).expect("JSON");
    assert_eq!(json["entries"]["sample"]["stored"], "i16");
    let rules = done("rules qnn");
    assert!(rules.contains("32639") && !rules.contains("litert"), "{rules}");

    done("make edge.stats --anchor edge --mixed mid_block.*=w4a8-slots8 --float conv_out -o mixed.profile");
    let mixed = read("mixed.profile");
    let of_middle = |name: &str| name.starts_with("mid_block.") && name.contains("lora_");
    let slots: Vec<u32> = mixed
        .of_role(Role::Slot)
        .filter(|(name, _)| of_middle(name))
        .map(|(_, entry)| entry.encoding.stored.bits())
        .collect();
    assert!(!slots.is_empty() && slots.iter().all(|bits| *bits == 8), "{slots:?}");
    assert!(mixed.floats.values().any(|reason| reason.contains("`conv_out`")));
}

#[test]
fn a_quantized_model_names_the_profile_in_the_file() {
    // With biases of 64 bits, which are left out for ONNX.
    done("make edge.stats --anchor edge --rules litert -o wide.profile");
    let hash = read("wide.profile").hash();
    for output in ["wide.quad", "wide.onnx"] {
        let ran = Command::new(env!("CARGO_BIN_EXE_quad"))
            .current_dir(folder())
            .arg("quantize")
            .arg(fixtures().join("models/base.legacy17.onnx"))
            .args(["--adapter", &format!("edge={}", fixtures().join("lora/edge").display())])
            .args(["--profile", "wide.profile", "-o", output])
            .output()
            .expect("runs");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        let bytes = fs::read(folder().join(output)).expect("a model");
        assert!(bytes.windows(hash.len()).any(|part| part == hash.as_bytes()), "{output} does not name it");
    }
}

#[test]
fn files_of_other_tools_come_and_go() {
    done("make edge.stats --anchor edge --precision w8a8 -o own.profile");
    for format in ["aimet-0.6.1", "aimet-1.0.0", "aimet-2.0.0"] {
        let printed = done(&format!("export own.profile --format {format} -o {format}.json"));
        assert!(printed.contains("lost:") && printed.contains("floats"), "{printed}");
        done(&format!("import {format}.json --format {format} --stats edge.stats -o {format}.profile"));
        let (own, back) = (read("own.profile"), read(&format!("{format}.profile")));
        assert_eq!(own.entries.len(), back.entries.len());
        for (name, entry) in &own.entries {
            assert_eq!(back.entries[name].encoding, entry.encoding, "{format} {name}");
        }
    }
    let excerpt = fixtures().join("encodings/W8A16.edge.excerpt.json");
    let printed = done(&format!(
        "import {} --format aimet-0.6.1 --stats edge.stats -o other.profile",
        excerpt.display()
    ));
    assert!(printed.contains("tensors that the model has not: 8"), "{printed}");
    assert_eq!(read("other.profile").entries.len(), 37);
    let wrong = format!("import {} --format aimet-2.0.0 --stats edge.stats -o x.profile", excerpt.display());
    refused(&wrong, &["states version 0.6.1"]);
}

#[test]
fn what_cannot_be_made_is_said() {
    refused(
        "make edge.stats --anchor relight -o x.profile",
        &["no statistics of adapter `relight`, only of edge"],
    );
    refused("make edge.stats --anchor qss -o x.profile", &["quad qss", "--scores"]);
    refused("make edge.stats --anchor edge --precision w8 -o x.profile", &["w8a16-slots8"]);
    refused("make edge.stats --anchor edge --rules hexagon -o x.profile", &["reference, litert, qnn"]);
    refused("make edge.stats --anchor edge --method max -o x.profile", &["percentile=P"]);
    refused("make edge.stats --anchor edge --rank-normalized -o x.profile", &["--form rank-normalized"]);
    assert!(!folder().join("x.profile").exists());

    let scores =
        r#"{"graph": "other", "divergence": "mse", "precision": "w8a16", "qss": {"edge": 1.0}, "psnr": {}}"#;
    fs::write(folder().join("other.scores"), scores).expect("written");
    refused("make edge.stats --anchor qss --scores other.scores -o x.profile", &["another model"]);
    let graph = read_graph();
    fs::write(folder().join("own.scores"), scores.replace("other", &graph)).expect("written");
    let printed = done("make edge.stats --anchor qss --scores own.scores -o scored.profile");
    assert!(printed.contains("highest QSS"), "{printed}");
    let said = |precision: &str| {
        let ran = run(&format!(
            "make edge.stats --anchor qss --scores own.scores --precision {precision} -o scored.profile"
        ));
        String::from_utf8_lossy(&ran.stderr).into_owned()
    };
    assert!(said("w8a8").contains("measured in w8a16, and the profile has w8a8"), "{}", said("w8a8"));
    assert!(!said("w8a16").contains("measured in"), "{}", said("w8a16"));

    done("make edge.stats --anchor edge -o edited.profile");
    let path = folder().join("edited.profile");
    let text = fs::read_to_string(&path).expect("a profile");
    fs::write(&path, text.replacen("\"zero_point\":3", "\"zero_point\":4", 1)).expect("written");
    refused("show edited.profile", &["changed after it was written", "quad profile make"]);
}

fn read_graph() -> String {
    done("make edge.stats --anchor edge -o graph.profile");
    read("graph.profile").graph
}
