//! `quad qss`, `quad sweep` and `quad adapter check` on the trained testbed with a sample or two: what they write, and what
//! they refuse.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use quad_frontends::data::safetensors::{self, SafeTensorsFile};
use quad_ir::dtype::DType;
use quad_ir::interpret::NamedTensors;
use quad_ir::tensor::Tensor;
use quad_quantize::profile::{Profile, Role};
use serde_json::Value;
use tempfile::TempDir;

fn fixtures() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/testbed");
    folder.canonicalize().expect("the fixtures")
}

/// The model with the adapter at `adapter`, called `edge`, and data.
fn given(adapter: &Path) -> String {
    let (folder, adapter) = (fixtures().display().to_string(), adapter.display());
    format!(
        "{folder}/models/base.legacy17.onnx --adapter edge={adapter} \
         --data edge={folder}/data/edge.calib.safetensors --ignore target --ignore out.*"
    )
}

fn edge() -> PathBuf {
    fixtures().join("lora/edge")
}

/// Writes `edge` with all numbers multiplied with `factor`.
fn altered(name: &str, factor: f32) -> PathBuf {
    const TENSORS: &str = "adapter_model.safetensors";
    let path = folder().join(name);
    fs::create_dir_all(&path).expect("a folder");
    fs::copy(edge().join("adapter_config.json"), path.join("adapter_config.json")).expect("copied");
    let adapter = SafeTensorsFile::open(&edge().join(TENSORS)).expect("an adapter");
    let times = |(name, tensor): &(String, Tensor)| {
        let elements = tensor.to_f32().expect("floats").iter().map(|element| factor * element).collect();
        (name.clone(), Tensor::from_vec::<f32>(tensor.sizes(), elements).expect("as many"))
    };
    let tensors: NamedTensors = adapter.tensors().iter().map(times).collect();
    safetensors::write(&path.join(TENSORS), &tensors, adapter.metadata()).expect("written");
    path
}

/// A folder with statistics of two samples.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = TempDir::new().expect("a temporary folder");
        let ran = run_in(folder.path(), &format!("calibrate {} --samples 2 -o edge.stats", given(&edge())));
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        folder
    });
    folder.path()
}

fn run_in(folder: &Path, arguments: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quad"));
    command.args(arguments.split_whitespace()).current_dir(folder).output().expect("runs")
}

/// What `quad` with `arguments` says as JSON, and on standard error, when it ends with `code`.
#[track_caller]
fn told(code: i32, arguments: &str) -> (Value, String) {
    let ran = run_in(folder(), arguments);
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert_eq!(ran.status.code(), Some(code), "{arguments}: {said}");
    (serde_json::from_slice(&ran.stdout).unwrap_or_default(), said)
}

/// A sweep over one sample and the layers in the middle, with these options.
fn sweep(options: &str) -> String {
    let few = "--float *_blocks* --samples 1 --order-samples 1 --steps 2";
    format!("sweep {} --stats edge.stats {few} --json {options}", given(&edge()))
}

#[test]
fn a_share_and_a_quality_give_profiles() {
    let (half, _) = told(0, &sweep("--share 50 -o half.profile"));
    let layers = half["order"].as_array().expect("layers").len();
    assert_eq!(half["chosen"]["layers"], layers.div_ceil(2));
    assert_eq!(half["chosen"]["output"], "half.profile");
    let stored = |name: &str| {
        let profile = Profile::read(&folder().join(name)).expect("a profile");
        let count = |dtype| {
            profile.of_role(Role::Activation).filter(|(_, entry)| entry.encoding.stored == dtype).count()
        };
        [count(DType::U8), count(DType::U16)]
    };
    assert!(stored("half.profile").iter().all(|count| *count > 5), "{:?}", stored("half.profile"));
    let model = format!("{}/models/base.legacy17.onnx", fixtures().display());
    let adapter = format!("edge={}/lora/edge", fixtures().display());
    told(0, &format!("quantize {model} --adapter {adapter} --profile half.profile -o half.quad"));

    let psnr = |at: usize| half["points"][at]["fidelity"][0]["psnr"].as_f64().expect("decibels");
    let between = f64::midpoint(psnr(0), psnr(2));
    let (found, _) = told(0, &sweep(&format!("--quality {between} -o good.profile")));
    let chosen = &found["chosen"];
    assert!(chosen["fidelity"][0]["psnr"].as_f64().expect("decibels") >= between, "{chosen}");
    let count = chosen["layers"].as_u64().expect("a number") as usize;
    assert!(count > 0 && count < layers && stored("good.profile")[0] > 0, "{chosen}");

    let (none, _) = told(1, &sweep("--quality 149 -o none.profile"));
    assert!(none["chosen"]["layers"].is_null() && none["chosen"]["output"].is_null(), "{}", none["chosen"]);
    assert!(!folder().join("none.profile").exists());
}

#[test]
fn another_adapter_under_the_same_name_is_refused() {
    let other = given(&altered("other", 0.5));
    for command in ["qss", "sweep"] {
        let (_, said) = told(2, &format!("{command} {other} --stats edge.stats --samples 1"));
        assert!(said.contains("statistics of another adapter called `edge`, whose slots differ"), "{said}");
    }
}

#[test]
fn patterns_say_what_they_reach() {
    let patterns = "--mixed *mid_block*=w8a8 --mixed mid_blok.*=w8a8 --float conv_out --float nah*";
    let (told, said) =
        told(0, &format!("qss {} --stats edge.stats --samples 1 --json {patterns}", given(&edge())));
    let reach = &told["patterns"];
    for kind in ["weights", "activations", "slots"] {
        assert!(reach[0][kind].as_u64().is_some_and(|count| count > 0), "{kind}: {reach}");
    }
    assert_eq!(reach[1]["nearest"][0], "mid_block", "{reach}");
    assert!(reach[2]["weights"] == 1 && reach[3]["activations"] == 0, "{reach}");
    assert!(
        said.contains("warning: --mixed `mid_blok.*` reaches nothing") && said.contains("`nah*`"),
        "{said}"
    );
    assert!(!said.contains("--float `conv_out`"), "{said}");
}

#[test]
fn a_verdict_says_what_it_goes_by() {
    let model = fixtures().join("models/base.legacy17.onnx");
    told(0, "profile make edge.stats --anchor edge -o edge.profile");
    let check = |adapter: &Path| {
        format!("adapter check edge.profile {} --model {} --json", adapter.display(), model.display())
    };
    let (slots, _) = told(0, &check(&edge()));
    assert!(
        slots["measured"] == false && slots["expected"].is_null() && slots["verdict"] == "fit",
        "{slots}"
    );
    let ran = run_in(folder(), &check(&edge()).replace(" --json", ""));
    let printed = String::from_utf8_lossy(&ran.stdout);
    assert!(printed.contains("verdict on the slots alone, outputs not measured: fit"), "{printed}");
    let (_, said) = told(2, &check(&altered("zeros", 0.0)));
    assert!(said.contains("changes nothing: at each of its"), "{said}");
}

#[test]
fn rules_go_by_the_names_of_targets_too() {
    told(0, "profile make edge.stats --anchor edge --target litert-qualcomm -o a.profile");
    told(0, "profile make edge.stats --anchor edge --rules litert -o b.profile");
    let read = |name: &str| fs::read(folder().join(name)).expect("a profile");
    assert_eq!(read("a.profile"), read("b.profile"));
}
