//! The commands that run passes, with one pass more that is broken: what they print, write, and end with.
//!
//! This program is the tool as well as the test: with `TOOL` in its environment it runs the command line.

use std::fs;
use std::process::{Command, ExitCode, Output};

use libtest_mimic::{Arguments, Failed, Trial};
use quad_ir::graph::{Graph, NodeRef, Patch, ValueRef};
use quad_ir::loc::Loc;
use quad_ir::ops::{OpKind, Sub};
use quad_passes::context::Context;
use quad_passes::pass::{Pass, PassError, PassInfo};
use quad_passes::registry::Registry;
use quad_passes::rule::{Rule, Skip, apply_rules, because};
use serde_json::Value;
use tempfile::TempDir;

/// Makes this program the tool.
const TOOL: &str = "QUAD_TEST_IS_TOOL";

/// A test and its name.
type Test = (&'static str, fn() -> Result<(), Failed>);

/// A model with something dead, and three subtractions, of which two give 0 either way round.
const MODEL: &str = "\
quad 1

graph @main(%x: f32[batch, 4], %z: f32[batch, 4]) {
  %dead = relu(%x) : f32[batch, 4]
  %nothing = sub(%x, %x) : f32[batch, 4]
  %a = tanh(%z) : f32[batch, 4]
  %b = add(%a, %nothing) : f32[batch, 4]
  %c = sub(%b, %x) : f32[batch, 4]
  %d = sub(%z, %z) : f32[batch, 4]
  %e = add(%c, %d) : f32[batch, 4]
  %f = sigmoid(%e) : f32[batch, 4]
  return \"y\" = %f, \"a\" = %a
}
";

/// Commutes subtractions, which is wrong.
#[derive(Clone, Debug, Default)]
struct Commute;

const INFO: PassInfo = PassInfo { name: "commute", source: "//! Commutes subtractions, which is wrong.\n" };

impl Pass for Commute {
    fn info(&self) -> &'static PassInfo {
        &INFO
    }

    fn run(&self, graph: &mut Graph, cx: &mut Context) -> Result<(), PassError> {
        apply_rules(graph, &[self], cx)
    }
}

impl Rule for Commute {
    fn name(&self) -> &'static str {
        "commute-subtraction"
    }

    fn roots(&self) -> &'static [OpKind] {
        &[OpKind::Sub, OpKind::Tanh]
    }

    fn rewrite(&self, root: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
        if root.is::<Sub>().is_none() {
            return Err(because(root, "it is no subtraction"));
        }
        if matches!(root.loc(), Loc::Rewritten { .. }) {
            return Err(Skip::NoMatch);
        }
        let operands: Vec<_> = root.operands().flatten().map(ValueRef::id).collect();
        let y = patch.add_value(Sub, &[operands[1], operands[0]])?;
        Ok(patch.replace(root.result().id(), y)?)
    }
}

fn main() -> ExitCode {
    if std::env::var_os(TOOL).is_some() {
        return quad_cli::run(&Registry::standard().with::<Commute>("wrong"), std::env::args_os());
    }
    let tests: [Test; 10] = [
        ("passes_are_listed_and_have_manuals", passes_are_listed_and_have_manuals),
        ("opt_writes_prints_and_counts", opt_writes_prints_and_counts),
        ("opt_checks_every_pass", opt_checks_every_pass),
        ("opt_dumps_and_skips", opt_dumps_and_skips),
        ("fuel_limits_changes", fuel_limits_changes),
        ("usage_is_explained", usage_is_explained),
        ("explain_counts_reasons", explain_counts_reasons),
        ("bisect_names_the_change", bisect_names_the_change),
        ("bisect_says_that_a_pipeline_holds", bisect_says_that_a_pipeline_holds),
        ("reduce_writes_a_small_model", reduce_writes_a_small_model),
    ];
    let trials = tests.into_iter().map(|(name, test)| Trial::test(name, test)).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// A folder with the model.
fn scratch() -> Result<TempDir, Failed> {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("model.quad"), MODEL)?;
    Ok(folder)
}

fn quad(folder: &TempDir, arguments: &str) -> Result<Output, Failed> {
    let mut command = Command::new(std::env::current_exe()?);
    Ok(command.current_dir(folder.path()).env(TOOL, "1").args(arguments.split_whitespace()).output()?)
}

/// What it printed, after checking how it ended.
fn expect(code: i32, output: &Output) -> Result<String, Failed> {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.code() == Some(code) {
        Ok(out.into_owned())
    } else {
        Err(format!("{out}\n{err}").into())
    }
}

/// That all of `parts` are in `text`.
fn has(text: &str, parts: &[&str]) -> Result<(), Failed> {
    let missing = parts.iter().find(|part| !text.contains(**part));
    missing.map_or(Ok(()), |part| Err(format!("`{part}` is not in\n{text}").into()))
}

fn passes_are_listed_and_have_manuals() -> Result<(), Failed> {
    let folder = scratch()?;
    has(
        &expect(0, &quad(&folder, "passes")?)?,
        &["wrong\n", "commute", "Commutes subtractions", "clean\n", "dce"],
    )?;
    has(
        &expect(0, &quad(&folder, "passes dce")?)?,
        &["dce (clean)", "Removes nodes that nothing reads.", "Before:"],
    )?;
    let all: Value = serde_json::from_str(&expect(0, &quad(&folder, "passes --json")?)?)?;
    let dce = all["passes"].as_array().and_then(|all| all.iter().find(|pass| pass["name"] == "dce"));
    let dce = dce.ok_or("dce is not listed")?;
    has(&dce.to_string(), &["\"area\":\"clean\"", "Removes nodes"])?;
    has(
        &String::from_utf8_lossy(&quad(&folder, "passes nonsense")?.stderr),
        &["no pass or pipeline `nonsense`"],
    )
}

fn opt_writes_prints_and_counts() -> Result<(), Failed> {
    let folder = scratch()?;
    let arguments = "opt model.quad -p dce,dce -o out.onnx --stats --time-passes --check-each --size batch=3";
    let said = expect(0, &quad(&folder, arguments)?)?;
    has(
        &said,
        &["pass", "changes", "ms", "outputs agree", "2 passes, 1 change, 10 nodes before and 9 after"],
    )?;
    has(&said, &["written to out.onnx"])?;
    has(&expect(0, &quad(&folder, "inspect out.onnx")?)?, &["sigmoid"])?;
    let report: Value = serde_json::from_str(&expect(0, &quad(&folder, "opt model.quad -p dce --json")?)?)?;
    has(&report.to_string(), &["\"nodes_before\":10", "\"nodes_after\":9", "\"rules\":{\"dce\":1}"])?;
    let printed = expect(0, &quad(&folder, "opt model.quad -p dce,dce --print-after-changed")?)?;
    has(&printed, &["// after dce (number 1, 1 change)", "%f = sigmoid(%e)"])?;
    if printed.contains("number 2") || printed.contains("%dead") {
        return Err(printed.into());
    }
    has(
        &expect(0, &quad(&folder, "opt model.quad -p dce,dce --print-after-all")?)?,
        &["(number 2, 0 changes)"],
    )?;
    has(&expect(0, &quad(&folder, "opt model.quad -p dce --print-after=dce")?)?, &["// after dce"])?;
    has(&expect(0, &quad(&folder, "opt model.quad -p dce --print-after")?)?, &["// after the last pass"])
}

fn opt_checks_every_pass() -> Result<(), Failed> {
    let folder = scratch()?;
    let said = expect(1, &quad(&folder, "opt model.quad -p dce,commute --check-each -o out.quad")?)?;
    has(&said, &["after `commute` output `y` is off by", "quad bisect model.quad -p 'dce,commute'"])?;
    if folder.path().join("out.quad").exists() {
        return Err("a model that is wrong was written".into());
    }
    let said = expect(1, &quad(&folder, "opt model.quad -p commute --check-each --json")?)?;
    let report: Value = serde_json::from_str(&said)?;
    has(&report.to_string(), &["\"holds\":false", "\"pass\":\"commute\""])?;
    // Without the check nobody notices.
    expect(0, &quad(&folder, "opt model.quad -p dce,commute --verify-each")?)?;
    Ok(())
}

fn opt_dumps_and_skips() -> Result<(), Failed> {
    let folder = scratch()?;
    expect(
        0,
        &quad(&folder, "opt model.quad -p dce,commute --skip commute --check-each --dump-dir dumped")?,
    )?;
    let mut files: Vec<String> = Vec::new();
    for file in fs::read_dir(folder.path().join("dumped"))? {
        files.push(file?.file_name().to_string_lossy().into_owned());
    }
    files.sort();
    if files == ["000-before.quad", "001-dce.quad"] { Ok(()) } else { Err(format!("{files:?}").into()) }
}

fn fuel_limits_changes() -> Result<(), Failed> {
    let folder = scratch()?;
    for fuel in [0, 1, 3] {
        let said =
            expect(0, &quad(&folder, &format!("opt model.quad -p dce,commute --fuel {fuel} --json"))?)?;
        let report: Value = serde_json::from_str(&said)?;
        if report["changes"] != fuel {
            return Err(said.into());
        }
    }
    Ok(())
}

fn usage_is_explained() -> Result<(), Failed> {
    let folder = scratch()?;
    let cases = [
        ("opt model.quad -p nonsense", "no pass or pipeline `nonsense`"),
        ("opt model.quad -p dce --skip nonsense", "no pass `nonsense` to skip"),
        ("opt model.quad -p dce --print-after=nonsense", "no pass `nonsense` to print after"),
        ("opt model.quad -p dce -o out.txt", "expected .onnx or .quad"),
        ("opt missing.quad -p dce", "missing.quad"),
        ("reduce model.quad -p dce -o out.quad", "does not fail on this model"),
        ("reduce model.quad -p dce -o out.onnx", "must end in .quad"),
        ("bisect model.quad -p dce --size batch", "such as batch=4"),
    ];
    for (arguments, message) in cases {
        let output = quad(&folder, arguments)?;
        expect(2, &output)?;
        has(&String::from_utf8_lossy(&output.stderr), &["error: ", message])?;
    }
    Ok(())
}

fn explain_counts_reasons() -> Result<(), Failed> {
    let folder = scratch()?;
    let said = expect(0, &quad(&folder, "explain model.quad -p commute,dce")?)?;
    has(&said, &["commute\n", "1 x commute-subtraction: it is no subtraction", "%a (tanh)", "1 near miss"])?;
    let report: Value =
        serde_json::from_str(&expect(0, &quad(&folder, "explain model.quad -p commute --json")?)?)?;
    has(&report.to_string(), &["\"count\":1", "\"name\":\"a\"", "it is no subtraction"])
}

fn bisect_names_the_change() -> Result<(), Failed> {
    let folder = scratch()?;
    let said = expect(1, &quad(&folder, "bisect model.quad -p dce,commute,dce")?)?;
    has(&said, &["pass `commute`: ", "rule `commute-subtraction` at %c (sub)"])?;
    has(&said, &["before\n", "%c = sub(%b, %x)", "after\n", "%c = sub(%x, %b)", "--check-each --fuel 3"])?;
    let arguments = "bisect model.quad -p dce,commute,dce --json";
    let report: Value = serde_json::from_str(&expect(1, &quad(&folder, arguments)?)?)?;
    has(&report.to_string(), &["\"change\":3", "\"rule\":\"commute-subtraction\"", "\"holds\":false"])
}

fn bisect_says_that_a_pipeline_holds() -> Result<(), Failed> {
    let folder = scratch()?;
    has(&expect(0, &quad(&folder, "bisect model.quad -p dce")?)?, &["the pipeline holds: 1 change"])?;
    let report: Value =
        serde_json::from_str(&expect(0, &quad(&folder, "bisect model.quad -p dce --json")?)?)?;
    has(&report.to_string(), &["\"holds\":true", "\"changes\":1"])
}

fn reduce_writes_a_small_model() -> Result<(), Failed> {
    let folder = scratch()?;
    let arguments = "reduce model.quad -p dce,commute -o small.quad --seed 3";
    let said = expect(0, &quad(&folder, arguments)?)?;
    has(&said, &["10 nodes became 3 nodes", "quad opt small.quad -p 'dce,commute' --check-each --seed 3"])?;
    let small = fs::read_to_string(folder.path().join("small.quad"))?;
    if small.lines().filter(|line| line.contains(" = ") && !line.contains("return")).count() != 1 {
        return Err(small.into());
    }
    expect(1, &quad(&folder, "opt small.quad -p dce,commute --check-each --seed 3")?)?;
    Ok(())
}
