//! Mistakes that users make: each ends with exit code 2 and one message that says what to do, and leaves no file behind.
//!
//! `docs/troubleshooting.md` explains each of these messages; a line here without one there fails.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

use quad_frontends::data::npz;
use quad_ir::interpret::NamedTensors;
use quad_ir::tensor::Tensor;
use tempfile::TempDir;

mod sandbox;

/// What is typed, and a part of the message.
const WRONG: &[(&str, &str)] = &[
    // Files
    ("quad inspect none.onnx", "does not exist; check the path"),
    ("quad inspect cut.onnx", "is cut short"),
    ("quad inspect text.onnx", "is not an ONNX model"),
    ("quad inspect in.npz", "the extension tells the format of a model"),
    ("quad convert unet.onnx -o unet.pt", "the extension tells the format of a model"),
    ("quad convert unet.onnx -o nowhere/out.onnx", "cannot be written: No such file or directory"),
    ("quad convert unet.onnx -o unet.onnx/out.onnx", "cannot be written: Not a directory"),
    // No space left looks the same: a write that fails half-way.
    ("trap '' XFSZ; ulimit -f 8; quad convert unet.onnx -o out.onnx", "cannot be written: File too large"),
    (
        "trap '' XFSZ; ulimit -f 8; quad calibrate unet.onnx --adapter a=a --data a.npz -o out.stats",
        "cannot be written: File too large",
    ),
    // Outputs that are inputs, and outputs without a place
    (
        "quad calibrate unet.onnx --adapter a=a --data a.npz -o unet.onnx",
        "is an input of this command (the model)",
    ),
    ("quad calibrate unet.onnx --adapter a=a --data a.npz -o a.npz", "(the data)"),
    ("quad calibrate --merge stats -o stats", "is an input of this command"),
    ("quad profile make stats --anchor a -o stats", "is an input of this command"),
    (
        "quad profile import in.json --format aimet-0.6.1 --stats stats -o stats",
        "is an input of this command",
    ),
    ("quad profile export profile --format aimet-0.6.1 -o ./profile", "is an input of this command"),
    (
        "quad qss unet.onnx --adapter a=a --data a.npz --stats stats -o unet.onnx",
        "is an input of this command (the model)",
    ),
    ("quad qss unet.onnx --adapter a=a --data a.npz --stats stats --plot stats", "ends in .svg or .html"),
    ("quad sweep unet.onnx --adapter a=a --data a.npz --stats stats --plot a.png", "ends in .svg or .html"),
    (
        "quad qss unet.onnx --adapter a=a --data a.npz --stats stats --plot nowhere/a.svg",
        "cannot be written: No such file or directory",
    ),
    (
        "quad calibrate unet.onnx --adapter a=a --data a.npz -o nowhere/stats",
        "cannot be written: No such file or directory",
    ),
    ("quad adapter pack quantized.quad style.safetensors -o style.safetensors", "(an adapter)"),
    ("quad adapter pack quantized.quad a -o quantized.quad.safetensors", "(the weights of the model)"),
    ("quad run unet.onnx --inputs in.npz --outputs linked.npz", "(the inputs)"),
    ("quad run unet.onnx --inputs in.npz --outputs out.safetensors", "ends in .npz"),
    (
        "quad quantize unet.onnx --adapter a=a --profile profile -o unet.onnx",
        "is an input of this command (the model)",
    ),
    ("quad opt unet.onnx -p dce -o unet.onnx", "is an input of this command (the model)"),
    ("quad reduce quantized.quad -p dce -o quantized.quad", "is an input of this command (the model)"),
    ("quad lora expose unet.onnx --adapter style.safetensors -o unet.onnx", "is an input of this command"),
    (
        "quad convert unet.onnx --target litert -o out.tflite --keep quantized.quad --profile quantized.quad",
        "is an input of this command",
    ),
    ("quad new unet.onnx --adapter a=a --force -o unet.onnx", "is an input of this command"),
    // Adapters
    ("quad adapter inspect none", "cannot be read: No such file or directory"),
    ("quad adapter inspect cut.safetensors", "is no sound safetensors file"),
    ("quad adapter inspect kohya", "name the file in it: `kohya/style.safetensors`"),
    ("quad lora expose unet.onnx --adapter other -o out.quad", "cannot be matched to layers of the model"),
    (
        "quad calibrate unet.onnx --adapter a=a --adapter a=b --data a.npz -o out",
        "two adapters are called `a`",
    ),
    ("quad adapter pack unet.onnx a -o out.safetensors", "the model takes no adapter yet"),
    ("quad adapter pack quantized.quad b -o out.safetensors", "sites are not in the model"),
    (
        "quad run unet.onnx --adapter packed.safetensors --inputs in.npz --outputs out.npz",
        "was packed for another model",
    ),
    // Data
    ("quad calibrate unet.onnx --adapter a=a --data channels.npz -o out", "the input of that name"),
    ("quad calibrate unet.onnx --adapter a=a --data more.npz -o out", "is no input; the model takes"),
    ("quad calibrate unet.onnx --adapter a=a --data less.npz -o out", "has no array; given are"),
    ("quad calibrate unet.onnx --adapter a=a --data nan.npz -o out", "has NaN, which no encoding holds"),
    ("quad calibrate unet.onnx --adapter a=a --data nan.npz -o out", "(its data: `nan.npz`)"),
    (
        "quad calibrate unet.onnx --adapter a=a --data double.npz -o out",
        "in NumPy, `array.astype('float32')`",
    ),
    ("quad run unet.onnx --inputs double.npz --outputs out.npz", "in NumPy, `array.astype('float32')`"),
    ("quad compare empty.npz empty.npz", "there is nothing to compare"),
    ("quad calibrate unet.onnx --adapter a=a --data b=b.npz -o out", "there is no adapter `b`"),
    ("quad calibrate unet.onnx --adapter auto=a --data a.npz -o out", "no adapter can be called"),
    ("quad run unet.onnx --inputs channels.npz --outputs out.npz", "does not hold what `unet.onnx` takes"),
    ("quad run unet.onnx --inputs in.npz --outputs out.npz --max-memory 1k", "allow it more than"),
    ("quad calibrate quantized.quad --data a.npz -o out", "is quantized already"),
    // Profiles
    ("quad profile show stats", "is no profile, as `quad profile make` writes: it is statistics"),
    (
        "quad quantize unet.onnx --adapter a=a --profile in.npz -o out.quad",
        "is no profile, as `quad profile make`",
    ),
    ("quad quantize unet.onnx --profile profile -o out.quad", "with all of its adapters, `--adapter a=PATH`"),
    (
        "quad adapter check profile a --model unet.onnx --fit-loss 20 --most-loss 10",
        "is more than --most-loss",
    ),
    (
        "quad sweep unet.onnx --adapter a=a --data a.npz --stats stats --low w16a16",
        "has more bits than --precision",
    ),
    (
        "quad sweep unet.onnx --adapter a=a --data a.npz --stats stats -o out",
        "by --share PERCENT or --quality DB",
    ),
    ("quad profile make stats --anchor nobody -o out", "there are no statistics of adapter"),
    ("quad profile make stats --anchor qss -o out", "goes by measured scores"),
    ("quad profile make stats --anchor a --precision w3a99 -o out", "is no precision"),
    ("quad profile make stats --anchor a --rules qualcom -o out", "are no rules"),
    (
        "quad quantize unet.onnx --adapter a=b --profile profile -o out.quad",
        "the profile is of another graph",
    ),
    ("quad adapter check profile b --model unet.onnx", "give the model that was calibrated"),
    // Targets and passes
    ("quad convert unet.onnx --target tflite -o out.tflite", "there is no target"),
    ("quad convert unet.onnx --target qnn -o out", "needs --soc"),
    ("quad check quantized.quad --target qnn --soc SM1", "has no architecture"),
    ("quad opt unet.onnx -p fuse-silo -o out.quad", "there is no pass or pipeline"),
    ("quad opt unet.onnx -p 'npu{' -o out.quad", "pipeline, column 4"),
    ("quad frobnicate", "unrecognized subcommand"),
];

#[test]
fn wrong_uses_are_refused_with_what_to_do() {
    let folder = TempDir::new().expect("a folder");
    prepare(folder.path());
    let before = listing(folder.path());
    let mut faults = Vec::new();
    for (line, part) in WRONG {
        let output = sandbox::run(folder.path(), line).expect("a shell");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let is_message = said.starts_with("error: ") && said.matches("error: ").count() == 1;
        if output.status.code() != Some(2) || !is_message || !said.contains(part) || !output.stdout.is_empty()
        {
            faults.push(format!("{line}\n  expected `{part}`, {}: {said}", output.status));
        }
        let after = listing(folder.path());
        if after != before {
            faults.push(format!("{line}\n  left {:?}", after.symmetric_difference(&before)));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_message_is_explained() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/troubleshooting.md");
    let page = fs::read_to_string(page).expect("the page");
    let missing: Vec<&str> =
        WRONG.iter().map(|(_, part)| *part).filter(|part| !page.contains(part)).collect();
    assert!(missing.is_empty(), "docs/troubleshooting.md does not explain {missing:#?}");
}

/// Names of all files in `folder`, with what tells whether they were written.
fn listing(folder: &Path) -> BTreeSet<(String, u64, SystemTime)> {
    let entries = folder.read_dir().expect("the folder").map(|entry| entry.expect("a file"));
    let known = |entry: fs::DirEntry| {
        let found = fs::metadata(entry.path()).expect("what is known of it");
        let name = entry.file_name().to_string_lossy().into_owned();
        // What lies in folders is looked at there; temporary files come and go in this one.
        let written = if found.is_dir() { SystemTime::UNIX_EPOCH } else { found.modified().expect("a time") };
        (name, found.len(), written)
    };
    entries.map(known).collect()
}

/// Fills `folder` with what is right, and then with what is wrong.
fn prepare(folder: &Path) {
    sandbox::furnish(folder).expect("the files");
    for line in [
        "quad calibrate unet.onnx --adapter a=a --data a.npz -o stats",
        "quad profile make stats --anchor a -o profile",
        "quad quantize unet.onnx --adapter a=a --profile profile -o quantized.quad",
        "quad adapter pack quantized.quad a -o packed.safetensors",
        "head -c 1000 unet.onnx > cut.onnx",
        "echo hello > text.onnx",
        "head -c 500 style.safetensors > cut.safetensors",
        "ln -s in.npz linked.npz",
        "mkdir kohya; cp style.safetensors kohya",
    ] {
        let output = sandbox::run(folder, line).expect("a shell");
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let other = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/testbed/lora/edge");
    std::os::unix::fs::symlink(other.canonicalize().expect("the adapter"), folder.join("other"))
        .expect("a link");
    spoil(folder);
}

/// Samples that do not fit.
fn spoil(folder: &Path) {
    let samples = npz::read(&folder.join("a.npz")).expect("samples");
    let write = |name: &str, change: &dyn Fn(&mut NamedTensors)| {
        let mut samples = samples.clone();
        change(&mut samples);
        npz::write(&folder.join(name), &samples).expect("an archive");
    };
    let filled = |sizes: &[usize], value: f32| {
        let count = sizes.iter().product();
        Tensor::from_vec(sizes, vec![value; count]).expect("as many values")
    };
    let insert =
        |samples: &mut NamedTensors, name: &str, tensor| drop(samples.insert(name.to_owned(), tensor));
    write("channels.npz", &|samples| insert(samples, "sample", filled(&[3, 3, 16, 16], 0.5)));
    write("nan.npz", &|samples| insert(samples, "sample", filled(&[3, 4, 16, 16], f32::NAN)));
    write("more.npz", &|samples| insert(samples, "mask", filled(&[3, 1, 16, 16], 0.5)));
    write("less.npz", &|samples| drop(samples.remove("sample")));
    write("empty.npz", &NamedTensors::clear);
    let double = |sample: &Tensor| {
        let elements = sample.to_f64().expect("numbers");
        Tensor::from_vec(sample.sizes(), elements).expect("as many")
    };
    write("double.npz", &|samples| {
        let sample = double(&samples["sample"]);
        insert(samples, "sample", sample);
    });
}
