//! Bundles of the trained testbed: the same bytes whatever happens on the way, and only what changed is done again.
//!
//! The model of a bundle runs in LiteRT where `QUAD_PYTHON` names a Python that has it; that test is ignored otherwise.
//! `QUAD_KILLS` says how many builds are killed at random points; a few unless it is set.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Trial};
use quad_frontends::data::safetensors::{self, SafeTensorsFile};
use quad_ir::interpret::NamedTensors;
use quad_ir::tensor::Tensor;
use serde_json::Value;
use tempfile::TempDir;

/// Builds that are killed where nobody says.
const KILLS: usize = 3;

/// The tests that need nothing else.
const TESTS: &[(&str, fn())] = &[
    (
        "a_second_build_does_nothing_and_threads_make_no_difference",
        a_second_build_does_nothing_and_threads_make_no_difference,
    ),
    (
        "an_adapter_that_changes_has_only_its_own_stages_done",
        an_adapter_that_changes_has_only_its_own_stages_done,
    ),
    (
        "builds_that_are_killed_go_on_and_come_to_the_same_bytes",
        builds_that_are_killed_go_on_and_come_to_the_same_bytes,
    ),
    ("a_later_adapter_is_packed_as_if_it_had_been_known", a_later_adapter_is_packed_as_if_it_had_been_known),
    ("what_was_locked_is_compared", what_was_locked_is_compared),
    ("an_adapter_without_effect_fails_the_build", an_adapter_without_effect_fails_the_build),
    ("wrong_jobs_are_refused_before_anything_is_written", wrong_jobs_are_refused_before_anything_is_written),
    ("messages_of_jobs_are_explained", messages_of_jobs_are_explained),
    ("places_that_cannot_be_written_are_said", places_that_cannot_be_written_are_said),
    ("the_first_job_is_written_from_what_is_there", the_first_job_is_written_from_what_is_there),
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let test = |(name, test): &(&str, fn())| {
        let test = *test;
        Trial::test(*name, move || {
            test();
            Ok(())
        })
    };
    let mut trials: Vec<Trial> = TESTS.iter().map(test).collect();
    let python = std::env::var_os("QUAD_PYTHON");
    let name = "a_later_adapter_runs_in_litert";
    trials.push(test(&(name, a_later_adapter_runs_in_litert)).with_ignored_flag(python.is_none()));
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn testbed() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/testbed");
    folder.canonicalize().expect("the testbed is there")
}

/// A job with these adapters of the testbed, on as few samples as there can be.
fn job(adapters: &[&str], targets: &str) -> String {
    let bed = testbed();
    let adapter = |name: &&str| {
        format!(
            "[adapters.{name}]\npath = \"{0}/lora/{name}\"\ndata = \"{0}/data/{name}.calib.safetensors\"\n",
            bed.display()
        )
    };
    format!(
        "model = \"{}/models/base.legacy17.onnx\"\n{}[calibration]\nsamples = 1\n[anchor]\npolicy = \"edge\"\n\
         [verify]\nsamples = 1\nshuffle = 2\n{targets}",
        bed.display(),
        adapters.iter().map(adapter).collect::<String>()
    )
}

const TARGETS: &str = "[targets.litert]\n[targets.onnx]\n";

fn quad(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_quad"))
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("quad starts")
}

#[track_caller]
fn expect(code: i32, output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    assert_eq!(output.status.code(), Some(code), "stdout:\n{out}\nstderr:\n{err}");
    out
}

/// All files in `folder` with their contents.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut left = vec![folder.to_owned()];
    while let Some(at) = left.pop() {
        for entry in fs::read_dir(&at).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                left.push(path);
            } else {
                let name = path.strip_prefix(folder).expect("a file in it").to_owned();
                found.insert(name, fs::read(&path).expect("a file"));
            }
        }
    }
    found
}

#[track_caller]
fn same(a: &Path, b: &Path) {
    let (a, b) = (contents(a), contents(b));
    assert!(a.keys().eq(b.keys()), "{:?}\n{:?}", a.keys(), b.keys());
    let differing: Vec<&PathBuf> =
        a.iter().filter(|(name, bytes)| b[*name] != **bytes).map(|(name, _)| name).collect();
    assert!(differing.is_empty(), "{differing:?}");
}

/// A bundle of two adapters that was built without a break, with how long it took.
fn reference() -> &'static (TempDir, Duration) {
    static REFERENCE: OnceLock<(TempDir, Duration)> = OnceLock::new();
    REFERENCE.get_or_init(|| {
        let folder = TempDir::new().expect("a folder");
        fs::write(folder.path().join("quad.toml"), job(&["edge", "inpaint"], TARGETS)).expect("a file");
        let started = Instant::now();
        expect(0, &quad(folder.path(), &["build", "--jobs", "2"]));
        (folder, started.elapsed())
    })
}

/// The stages that a build with --json did, and not those that were there.
fn done(output: &str) -> Vec<String> {
    let value: Value = serde_json::from_str(output).expect("JSON");
    let stages = value["stages"].as_array().expect("stages");
    let done = stages.iter().filter(|stage| !stage["seconds"].is_null());
    done.map(|stage| stage["stage"].as_str().expect("a name").to_owned()).collect()
}

fn a_second_build_does_nothing_and_threads_make_no_difference() {
    let folder = reference().0.path();
    let again = expect(0, &quad(folder, &["build", "--json"]));
    assert_eq!(done(&again), Vec::<String>::new());
    assert!(again.contains("\"written\": false"), "{again}");
    let elsewhere = TempDir::new().expect("a folder");
    let (job, out) = (folder.join("quad.toml"), elsewhere.path().join("out"));
    let arguments = ["build", job.to_str().expect("text"), "-o", out.to_str().expect("text"), "--jobs", "1"];
    expect(0, &quad(folder, &arguments));
    same(&folder.join("bundle"), &out);
    let verified = expect(0, &quad(folder, &["bundle", "verify", "bundle"]));
    assert!(verified.contains("are as the page says"), "{verified}");
    let shown = expect(0, &quad(folder, &["bundle", "inspect", "bundle"]));
    assert!(shown.contains("encodings of edge") && shown.contains("model.qdq.onnx"), "{shown}");
}

fn an_adapter_that_changes_has_only_its_own_stages_done() {
    let folder = TempDir::new().expect("a folder");
    let mine = folder.path().join("mine");
    let copy = |from: &str| {
        fs::create_dir_all(&mine).expect("a folder");
        for file in ["adapter_config.json", "adapter_model.safetensors"] {
            fs::copy(testbed().join("lora").join(from).join(file), mine.join(file)).expect("a copy");
        }
    };
    let text = job(&["edge", "inpaint"], "[targets.litert]\n");
    let path = testbed().join("lora/inpaint");
    let text = text.replace(path.to_str().expect("text"), "mine");
    fs::write(folder.path().join("quad.toml"), text).expect("a file");
    copy("inpaint");
    expect(0, &quad(folder.path(), &["build"]));
    copy("deblur");
    let again = done(&expect(0, &quad(folder.path(), &["build", "--json"])));
    // The profile looks at all adapters; with another one as its anchor it comes to the same bytes.
    let others: Vec<&String> =
        again.iter().filter(|stage| !stage.contains("inpaint") && !stage.starts_with("profile")).collect();
    assert!(others.is_empty(), "{again:?}");
    assert!(again.contains(&"verify inpaint on litert".to_owned()), "{again:?}");
}

fn builds_that_are_killed_go_on_and_come_to_the_same_bytes() {
    let (reference, took) = reference();
    let kills = std::env::var("QUAD_KILLS").ok().and_then(|count| count.parse().ok()).unwrap_or(KILLS);
    let folder = TempDir::new().expect("a folder");
    let job = reference.path().join("quad.toml");
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for kill in 0..kills {
        // Xorshift: other points in every round, the same ones in every run.
        for shift in [13, -7_i32, 17] {
            state ^= if shift > 0 { state << shift } else { state >> -shift };
        }
        let at = took.mul_f64((state % 1000) as f64 / 1000.0);
        let mut build = Command::new(env!("CARGO_BIN_EXE_quad"))
            .args(["build", job.to_str().expect("text"), "-o", "out"])
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("quad starts");
        std::thread::sleep(at);
        // SIGKILL; one that has ended already is only waited for.
        let _ = build.kill();
        build.wait().expect("a process of this test");
        let out = folder.path().join("out");
        if out.exists() {
            expect(0, &quad(folder.path(), &["bundle", "verify", "out"]));
        }
        // Every third goes on from what it finds, the others from nothing.
        if kill % 3 != 0 {
            fs::remove_dir_all(folder.path().join(".quad-cache")).expect("a folder");
            if out.exists() {
                fs::remove_dir_all(&out).expect("a folder");
            }
        }
    }
    let arguments = ["build", job.to_str().expect("text"), "-o", "out"];
    expect(0, &quad(folder.path(), &arguments));
    same(&reference.path().join("bundle"), &folder.path().join("out"));
    let left: Vec<_> = fs::read_dir(folder.path())
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    assert_eq!(left.len(), 2, "nothing but the bundle and the cache: {left:?}");
}

fn a_later_adapter_is_packed_as_if_it_had_been_known() {
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("quad.toml"), job(&["edge", "inpaint", "relight"], TARGETS))
        .expect("a file");
    expect(0, &quad(folder.path(), &["build"]));
    // Of a bundle alone: nothing that it was made from is there.
    let alone = TempDir::new().expect("a folder");
    for (name, bytes) in contents(&reference().0.path().join("bundle")) {
        let to = alone.path().join("bundle").join(name);
        fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
        fs::write(to, bytes).expect("a file");
    }
    let relight = format!("relight={}", testbed().join("lora/relight").display());
    expect(0, &quad(alone.path(), &["bundle", "add-adapter", "bundle", &relight]));
    for target in ["litert", "onnx"] {
        let file = format!("bundle/{target}/adapters/relight.safetensors");
        let read = |at: &TempDir| fs::read(at.path().join(&file)).expect("a packed adapter");
        assert!(read(&folder) == read(&alone), "{file} differs");
    }
    expect(0, &quad(alone.path(), &["bundle", "verify", "bundle"]));
    expect(2, &quad(alone.path(), &["bundle", "add-adapter", "bundle", &relight]));
    expect(0, &quad(alone.path(), &["bundle", "add-adapter", "bundle", &relight, "--replace"]));
    fs::write(alone.path().join("bundle/onnx/profile.json"), "{}").expect("a file");
    let found = expect(1, &quad(alone.path(), &["bundle", "verify", "bundle"]));
    assert!(found.contains("onnx/profile.json: has 2 bytes"), "{found}");
}

/// The quality of an output in LiteRT, in decibels, against what `PyTorch` computed with the adapter `expected`.
fn in_litert(bundle: &Path, adapter: &str, expected: &str) -> f64 {
    let python = std::env::var_os("QUAD_PYTHON").expect("the test is ignored without one");
    let data = testbed().join("../demo");
    let output = Command::new(python)
        .arg(testbed().join("../../python/run_bundle_litert.py"))
        .args([bundle, Path::new(adapter)])
        .args([data.join(format!("{expected}.inputs.npz")), data.join(format!("{expected}.expected.npz"))])
        .arg("2")
        .output()
        .expect("Python starts");
    let figures: Value = serde_json::from_str(&expect(0, &output)).expect("JSON");
    figures["out_sample"].as_f64().expect("the output of the model")
}

fn a_later_adapter_runs_in_litert() {
    let alone = TempDir::new().expect("a folder");
    let bundle = alone.path().join("bundle");
    for (name, bytes) in contents(&reference().0.path().join("bundle")) {
        let to = bundle.join(name);
        fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
        fs::write(to, bytes).expect("a file");
    }
    let deblur = format!("deblur={}", testbed().join("lora/deblur").display());
    expect(0, &quad(alone.path(), &["bundle", "add-adapter", "bundle", &deblur]));
    let (own, other) = (in_litert(&bundle, "deblur", "deblur"), in_litert(&bundle, "edge", "deblur"));
    assert!(own > 30.0, "{own} dB");
    assert!(other < own - 6.0, "another adapter does something else: {other} dB, {own} dB");
}

fn what_was_locked_is_compared() {
    let folder = TempDir::new().expect("a folder");
    let (path, text) = (folder.path().join("quad.toml"), job(&["edge"], "[targets.litert]\n"));
    fs::write(&path, &text).expect("a file");
    let lock = folder.path().join("quad.lock");
    let nothing = expect(1, &quad(folder.path(), &["build", "--check"]));
    assert!(nothing.contains("is not in the lock"), "{nothing}");
    expect(0, &quad(folder.path(), &["build", "--update"]));
    let clean = expect(0, &quad(folder.path(), &["build", "--check"]));
    assert!(clean.contains("nothing differs from"), "{clean}");
    let before = contents(&lock);
    for (old, new, shows) in [
        ("samples = 1\n[anchor]", "samples = 2\n[anchor]", "profile.json"),
        (
            "[targets.litert]",
            "[precision]\ndefault = \"w8a8\"\n[targets.litert]",
            "+  \"precision\": \"w8a8\"",
        ),
        ("lora/edge", "lora/deblur", "manifest.json"),
        ("[calibration]", "[expose]\nrank = 9\n[calibration]", "+"),
    ] {
        fs::write(&path, text.replace(old, new)).expect("a file");
        let changed = expect(1, &quad(folder.path(), &["build", "--check"]));
        assert!(changed.contains(shows), "{new}: {changed}");
        assert_eq!(before, contents(&lock), "--check changes nothing");
    }
    expect(0, &quad(folder.path(), &["build", "--update"]));
    expect(0, &quad(folder.path(), &["build", "--check"]));
}

fn an_adapter_without_effect_fails_the_build() {
    let folder = TempDir::new().expect("a folder");
    let from = testbed().join("lora/edge");
    fs::create_dir(folder.path().join("zero")).expect("a folder");
    fs::copy(from.join("adapter_config.json"), folder.path().join("zero/adapter_config.json"))
        .expect("a copy");
    let file = SafeTensorsFile::open(&from.join("adapter_model.safetensors")).expect("an adapter");
    let zero = |(name, tensor): &(String, Tensor)| {
        (name.clone(), Tensor::zeros(tensor.dtype(), tensor.sizes()).expect("zeros"))
    };
    let zeros: NamedTensors = file.tensors().iter().map(zero).collect();
    safetensors::write(&folder.path().join("zero/adapter_model.safetensors"), &zeros, &BTreeMap::new())
        .expect("a file");
    let text = job(&["edge", "inpaint"], "[targets.litert]\n");
    let path = testbed().join("lora/inpaint");
    let text = text.replace(path.to_str().expect("text"), "zero");
    fs::write(folder.path().join("quad.toml"), &text).expect("a file");
    let said = expect(1, &quad(folder.path(), &["build"]));
    assert!(said.contains("adapter `inpaint` changes nothing on target `litert`"), "{said}");
    assert!(!folder.path().join("bundle").exists());
    let much = job(&["edge"], "[targets.litert]\n").replace("shuffle = 2", "shuffle = 2\nmin-psnr = 140.0");
    fs::write(folder.path().join("quad.toml"), much).expect("a file");
    let said = expect(1, &quad(folder.path(), &["build"]));
    assert!(said.contains("the job asks for 140.00 dB"), "{said}");
    assert!(!folder.path().join("bundle").exists());
}

/// A job that is wrong, and what the message says.
const WRONG: &[(&str, &str, &str)] = &[
    ("model = ", "modle = ", "there is no key `modle` here; did you mean `model`?"),
    ("[calibration]\nsamples", "[calibration]\nsample", "did you mean `samples`?"),
    ("[calibration]", "[calibrate]", "there is no key `calibrate` here; did you mean `calibration`?"),
    ("[targets.litert]", "[targets.litrt]", "there is no key `litrt` here; did you mean `litert`?"),
    ("[targets.litert]", "[targets]", "the job has no target"),
    ("[targets.litert]", "[targets.litert]\nrule = \"qnn\"", "did you mean `rules`?"),
    ("[targets.litert]", "[targets.litert]\nrules = \"quick\"", "quick"),
    ("[targets.litert]", "[targets.neuropilot]\narch = \"mdla9\"", "has no architecture `mdla9`"),
    ("[targets.litert]", "[targets.qnn]", "`qnn` needs `soc`"),
    ("[targets.litert]", "[targets.qnn]\nsoc = \"SM1\"", "SM1"),
    ("[targets.litert]", "[targets.qnn]\nsoc = \"SM8750\"\nlibraries = \"nowhere\"", "there is no `nowhere`"),
    ("[targets.litert]", "[targets.onnx]\narch = \"x\"", "`onnx` is for no generation"),
    ("[targets.litert]", "[targets.litert]\nio-types = \"i64\"", "there is no word `i64` here"),
    ("[targets.litert]", "", "missing field `targets`"),
    ("base.legacy17.onnx", "absent.onnx", "which is to be the model"),
    ("lora/edge", "lora/absent", "which is to be an adapter"),
    ("edge.calib", "absent.calib", "which is to be data"),
    ("[adapters.edge]", "[adapters.base]", "`base` cannot be the name of an adapter"),
    ("[adapters.edge]", "[adapters.\"../edge\"]", "cannot be the name of an adapter"),
    (
        "policy = \"edge\"",
        "policy = \"egde\"",
        "there is no policy and no adapter `egde`; did you mean `edge`?",
    ),
    ("policy = \"edge\"", "policy = \"edge\"\nmargin = 2.0", "a number from 0 to 1"),
    ("samples = 1\n[anchor]", "samples = 0\n[anchor]", "a sample at least"),
    ("samples = 1\n[anchor]", "samples = -1\n[anchor]", "quad.toml:6:11"),
    ("[calibration]", "[precision]\ndefault = \"w3a2\"\n[calibration]", "w3a2"),
    ("[calibration]", "[precision]\nmethod = \"guess\"\n[calibration]", "guess"),
    ("[calibration]", "[expose]\nrank = 0\n[calibration]", "expected a rank"),
    ("[calibration]", "[expose]\nform = \"flat\"\n[calibration]", "expected one of plain, rank-normalized"),
    ("[calibration]", "[expose]\nrank = 2\n[calibration]", "rank 2 is too little"),
    ("[verify]", "[verify]\nsamples = \"all\"\n[verify]", "quad.toml:"),
    ("shuffle = 2", "shuffle = ", "quad.toml:"),
    ("edge.calib.safetensors", "../lora/edge/adapter_model.safetensors", "has no array; given are"),
    ("lora/edge", "data", "data"),
    ("models/base.legacy17.onnx", "lora/edge/adapter_config.json", "the extension tells the format"),
    ("model = ", "pipeline = \"frozn\"\nmodel = ", "frozn"),
    ("model = ", "pipeline = \"dce\"\nmodel = ", "makes no graph @pack"),
];

fn wrong_jobs_are_refused_before_anything_is_written() {
    let mut wrong = Vec::new();
    for (old, new, says) in WRONG {
        let folder = TempDir::new().expect("a folder");
        let text = job(&["edge"], "[targets.litert]\n");
        assert!(text.contains(old), "{old}");
        fs::write(folder.path().join("quad.toml"), text.replace(old, new)).expect("a file");
        let output = quad(folder.path(), &["build"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let mut left: Vec<_> = fs::read_dir(folder.path())
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        left.retain(|name| name != "quad.toml" && name != ".quad-cache");
        if output.status.code() != Some(2)
            || !said.contains(says)
            || !said.contains("error: ")
            || !left.is_empty()
        {
            wrong.push(format!("{new}\n  {:?} {left:?} {said}", output.status.code()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Words of messages that the page of troubleshooting explains.
const EXPLAINED: &[&str] = &[
    "there is no key",
    "there is no word",
    "missing field",
    "which is to be",
    "cannot be the name of an adapter",
    "the job has no target",
    "there is no policy and no adapter",
    "needs `soc`",
    "makes no graph @pack",
    "is too little",
    "changes nothing on target",
    "and the job asks for",
    "is there already and is no bundle",
    "is no bundle",
];

fn messages_of_jobs_are_explained() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/troubleshooting.md");
    let page = fs::read_to_string(page).expect("the page");
    let missing: Vec<&&str> = EXPLAINED.iter().filter(|words| !page.contains(**words)).collect();
    assert!(missing.is_empty(), "docs/troubleshooting.md does not explain {missing:?}");
}

fn places_that_cannot_be_written_are_said() {
    let folder = TempDir::new().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    fs::write(at("quad.toml"), job(&["edge"], "[targets.litert]\n")).expect("a file");
    fs::write(at("file"), "").expect("a file");
    fs::create_dir_all(at("full/of")).expect("a folder");
    for (arguments, says) in [
        (&["build", "absent.toml"][..], "`quad new"),
        (&["build", "-o", "file"], "is there already and is no bundle"),
        (&["build", "-o", "full"], "is there already and is no bundle"),
        (&["build", "-o", "file/out"], "file"),
        (&["build", "--cache", "file"], "the cache cannot be used"),
        (&["build", "--target", "qnn"], "the job has no target `qnn`; it has litert"),
        (&["bundle", "inspect", "full"], "is no bundle"),
        (&["bundle", "verify", "absent"], "is no bundle"),
        (&["bundle", "add-adapter", "full", "a=b"], "is no bundle"),
        (&["new", "absent.onnx", "--adapter", "a=b", "-o", "new.toml"], "absent.onnx"),
    ] {
        let output = quad(folder.path(), arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(says), "{arguments:?}: {said}");
    }
    // Files may have 64 KiB here, as if the disk were full.
    let line = format!("trap '' XFSZ; ulimit -f 64; exec '{}' build", env!("CARGO_BIN_EXE_quad"));
    let output = Command::new("bash").args(["-c", &line]).current_dir(folder.path()).output().expect("bash");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("error: ") && !at("bundle").exists() && !at("bundle.part").exists(), "{said}");
    expect(0, &quad(folder.path(), &["build"]));
}

fn the_first_job_is_written_from_what_is_there() {
    let folder = TempDir::new().expect("a folder");
    let bed = testbed();
    let model = bed.join("models/base.legacy17.onnx");
    let adapter = format!("edge={}", bed.join("lora/edge").display());
    let data = format!("edge={}", bed.join("data/edge.calib.safetensors").display());
    let arguments = ["new", model.to_str().expect("text"), "--adapter", &adapter, "--data", &data];
    expect(0, &quad(folder.path(), &arguments));
    let path = folder.path().join("quad.toml");
    let text = fs::read_to_string(&path).expect("a job");
    assert!(
        text.contains("84 layers of rank 8") && text.contains("takes sample: f32[1, 16, 16, 16]"),
        "{text}"
    );
    expect(2, &quad(folder.path(), &arguments));
    fs::write(&path, text.replace("# samples = 64", "samples = 1")).expect("a file");
    expect(0, &quad(folder.path(), &["build", "--target", "litert"]));
}
