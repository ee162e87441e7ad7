//! The first job of someone: commented, with what was found of the model and its adapters.

use std::fmt::Write as _;
use std::path::Path;

use super::TargetKind;

/// What is known of a model and its adapters.
#[derive(Clone, Debug)]
pub struct Draft<'d> {
    /// The model, as the job is to name it.
    pub model: &'d Path,
    /// What the model takes and gives: a line each.
    pub interface: Vec<String>,
    /// Symbolic sizes.
    pub sizes: Vec<String>,
    /// The adapters.
    pub adapters: Vec<DraftAdapter<'d>>,
    /// Data of adapters that have none of their own.
    pub data: Option<&'d Path>,
}

/// What is known of one adapter.
#[derive(Clone, Debug)]
pub struct DraftAdapter<'d> {
    /// Its name.
    pub name: &'d str,
    /// Where it is.
    pub path: &'d Path,
    /// Its samples.
    pub data: Option<&'d Path>,
    /// What it is like, in a few words.
    pub about: String,
}

/// The text of a job for what `draft` has.
pub fn template(draft: &Draft<'_>) -> String {
    let mut text = String::from(
        "# A job for `quad build`. Paths are relative to this file. What is commented out has the value that is shown.\n\n",
    );
    for line in &draft.interface {
        let _ = writeln!(text, "# {line}");
    }
    let _ = writeln!(text, "model = {}", quoted(draft.model));
    text.push_str("# The passes that make the graph that is quantized: `quad passes` lists all.\n# pipeline = \"frozen\"\n");
    for adapter in &draft.adapters {
        write_adapter(&mut text, adapter, draft.data.is_some());
    }
    text.push_str(
        "\n# [expose]\n# rank = \"largest\"    # or a number, or \"sum\" for several adapters at a time\n\
         # form = \"plain\"      # or \"rank-normalized\"\n# strength = \"fold\"   # or \"input\", to be changed at each run\n\
         # allow-unused = []   # patterns of sites that the model may lack\n",
    );
    write_sizes(&mut text, &draft.sizes);
    text.push_str("\n[calibration]\n");
    match draft.data {
        Some(data) => {
            let _ = writeln!(text, "data = {}  # of adapters that have none of their own", quoted(data));
        }
        None => text.push_str("# data = \"samples.npz\"  # of adapters that have none of their own\n"),
    }
    text.push_str(
        "# samples = 64         # the first so many; all where nothing is said\n\
         # ignore = []          # arrays in the data that are no inputs\n\
         \n[precision]\ndefault = \"w8a16\"      # bits of weights and activations; w8a8 is smaller and less exact\n\
         # mixed = [{ pattern = \"mid_block.*\", precision = \"w8a8\" }]\n# float = []            # patterns of values that stay floats\n\
         # method = \"min-max\"   # or percentile=99.99, entropy, mse\n# weights = \"per-channel\"\n\
         \n[anchor]\npolicy = \"unified\"     # or an adapter, \"qss\", or \"auto\" for what is measured to be best\n\
         \n[verify]\nsamples = 4\n# peak = 2.0           # the spread that outputs can have\n\
         # min-psnr = 30.0      # the build fails below that\n\
         \n# Targets: each table is a folder of the bundle.\n[targets.litert]\n\n[targets.onnx]\n\
         \n# [targets.neuropilot]\n# arch = \"mdla5.5\"\n\n# [targets.qnn]\n# soc = \"SM8750\"\n",
    );
    let others: Vec<&str> = TargetKind::ALL.map(TargetKind::name).to_vec();
    let _ = writeln!(text, "\n# Known targets: {}.", others.join(", "));
    text
}

fn write_adapter(text: &mut String, adapter: &DraftAdapter<'_>, has_shared: bool) {
    let _ = writeln!(text, "\n# {}", adapter.about);
    let _ = writeln!(text, "[adapters.{}]", key(adapter.name));
    let _ = writeln!(text, "path = {}", quoted(adapter.path));
    match adapter.data {
        Some(data) => {
            let _ = writeln!(text, "data = {}", quoted(data));
        }
        None if has_shared => {}
        None => text
            .push_str("data = \"\"  # samples to calibrate with: .npz, .safetensors, or a folder of them\n"),
    }
}

fn write_sizes(text: &mut String, sizes: &[String]) {
    if !sizes.is_empty() {
        text.push_str("\n[sizes]\n");
    }
    for size in sizes {
        let _ = writeln!(text, "{} = 1", key(size));
    }
}

/// A path as a string of TOML.
fn quoted(path: &Path) -> String {
    toml::Value::String(path.display().to_string()).to_string()
}

/// A name as a key of TOML.
fn key(name: &str) -> String {
    let is_bare = |found: char| found.is_ascii_alphanumeric() || "-_".contains(found);
    if !name.is_empty() && name.chars().all(is_bare) {
        name.to_owned()
    } else {
        toml::Value::String(name.to_owned()).to_string()
    }
}
