//! Our rules of vendors' compilers against what LiteRT's plugins do, on the graphs of one operation in
//! `tests/litert/single.operations`.
//!
//! Qualcomm's plugin compiles with Qualcomm's libraries. MediaTek's and Samsung's send what they legalize to stand-ins of our
//! own, which take everything: that a model is legal there says that the plugin can legalize it, and no more.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::{Failed, Trial};
use quad_ir::text::{self, NoWeights};
use quad_litert::flatbuffer;
use quad_litert::lower::{Settings, lower};
use quad_litert::vendor::{VendorRules, exynos, neuropilot, qualcomm};
use quad_tests::paths;
use serde::Deserialize;

/// What the script says of a model.
#[derive(Debug, Deserialize)]
struct Verdict {
    model: String,
    whole: bool,
    log: String,
}

/// A plugin and the rules that are ours of it.
#[derive(Clone, Copy, Debug)]
struct Vendor {
    name: &'static str,
    soc: &'static str,
    /// What the stand-in pretends to be.
    version: &'static str,
    rules: &'static VendorRules,
}

const VENDORS: [Vendor; 4] = [
    Vendor { name: "qualcomm", soc: "SM8750", version: "", rules: &qualcomm::RULES },
    Vendor { name: "mediatek", soc: "mt6989", version: "8.2.0", rules: &neuropilot::PLUGIN_RULES },
    Vendor { name: "mediatek", soc: "mt6991", version: "8.2.24", rules: &neuropilot::PLUGIN_RULES },
    Vendor { name: "samsung", soc: "E9965", version: "", rules: &exynos::RULES },
];

/// A trial for each plugin.
pub(crate) fn trials() -> Vec<Trial> {
    let trial = |vendor: Vendor| {
        Trial::test(format!("rules of {} {}", vendor.name, vendor.soc), move || check(vendor))
    };
    VENDORS.into_iter().map(trial).collect()
}

fn check(vendor: Vendor) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let ours = write_all(folder.path(), vendor.rules)?;
    let models: Vec<PathBuf> = ours.keys().map(|name| folder.path().join(format!("{name}.tflite"))).collect();
    let theirs = ask(vendor, &models)?;
    let mut wrong = Vec::new();
    for (name, reasons) in &ours {
        let verdict = theirs.get(name).ok_or_else(|| format!("the script says nothing of {name}"))?;
        if verdict.whole != reasons.is_empty() {
            let log = verdict.log.lines().rev().take(3).collect::<Vec<_>>().join(" | ");
            wrong.push(format!("{name}: taken {}, ours {reasons:?}; {log}", verdict.whole));
        }
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(format!("{} of {} differ:\n{}", wrong.len(), ours.len(), wrong.join("\n")).into())
    }
}

/// Writes every graph as a model into `folder`; why the rules are against each.
fn write_all(folder: &Path, rules: &VendorRules) -> Result<BTreeMap<String, Vec<String>>, Failed> {
    let text = std::fs::read_to_string(paths::root().join("tests/litert/single.operations"))?;
    let module = text::parse(&text, &NoWeights).map_err(|error| error.show().to_string())?;
    let mut ours = BTreeMap::new();
    for graph in &module.graphs {
        let name = graph.name().to_string();
        let model = lower(graph, &Settings::default()).map_err(|error| format!("{name}: {error}"))?;
        flatbuffer::write_file(&model, &folder.join(format!("{name}.tflite")))?;
        let subgraph = &model.subgraphs[0];
        let reasons = subgraph.operators.iter().flat_map(|operator| rules.reasons(operator, subgraph));
        ours.insert(name, reasons.map(|reason| reason.to_string()).collect());
    }
    if ours.len() < 100 {
        return Err(format!("{} graphs are too few to judge the rules", ours.len()).into());
    }
    Ok(ours)
}

/// Whether the plugin of `vendor` takes all operators of `model`, as one; the stand-in pretends to be `version`.
pub(crate) fn takes_whole(
    vendor: &str,
    soc: &'static str,
    version: &'static str,
    model: &Path,
) -> Result<(), Failed> {
    let vendor = VENDORS.into_iter().find(|found| found.name == vendor).ok_or("a vendor in the list")?;
    let verdicts = ask(Vendor { soc, version, ..vendor }, &[model.to_owned()])?;
    match verdicts.values().next() {
        Some(verdict) if verdict.whole => Ok(()),
        verdict => Err(format!("the compiler does not take the model whole: {verdict:?}").into()),
    }
}

/// What the plugin says of `models`, by name.
fn ask(vendor: Vendor, models: &[PathBuf]) -> Result<BTreeMap<String, Verdict>, Failed> {
    let python = std::env::var_os("QUAD_PYTHON").ok_or("QUAD_PYTHON is not set")?;
    let output = Command::new(python)
        .arg(paths::root().join("tests/python/apply_litert_plugin.py"))
        .args([vendor.name, vendor.soc])
        .args(models)
        .env("QUAD_NEURON_VERSION", vendor.version)
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let mut verdicts = BTreeMap::new();
    for line in String::from_utf8(output.stdout)?.lines() {
        let verdict: Verdict = serde_json::from_str(line)?;
        let name = Path::new(&verdict.model).file_stem().map(|stem| stem.to_string_lossy().into_owned());
        verdicts.insert(name.unwrap_or_default(), verdict);
    }
    Ok(verdicts)
}
