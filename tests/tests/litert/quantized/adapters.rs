//! One file serves three adapters and none, which are inputs; each is as good in the runtime as in the interpreter.

use std::io::Write as _;
use std::path::PathBuf;

use libtest_mimic::Failed;
use quad_frontends::data::npz;
use quad_ir::interpret::NamedTensors;
use quad_tests::litert::RESOLVERS;

use super::{Prepared, Quantized, quad, text};
use crate::{interpreted, litert};

/// How far the runtime may be from the interpreter, in decibels, over the samples of a task. Only a trained model has figures
/// that stay: one of random weights may be better by more.
const ALLOWED: f64 = 0.5;

/// Samples of each task. In 8 bits single ones are up to a decibel apart, in either direction: steps are coarse, and what is
/// rounded otherwise goes through hundreds of values that are stored in turn. Models of random weights, which nothing made
/// insensitive, are half a decibel apart for single samples in 16 bits, too.
fn samples(precision: &str, is_trained: bool) -> usize {
    if precision == "w8a8" || !is_trained { 4 } else { 1 }
}

/// What is computed for a task.
struct Task {
    name: &'static str,
    inputs: Vec<NamedTensors>,
    /// By the model in floats.
    expected: Vec<NamedTensors>,
}

pub(super) fn check(prepared: &Prepared) -> Result<(), Failed> {
    let tasks: Vec<Task> = prepared
        .source
        .adapters
        .iter()
        .chain(&["none"])
        .map(|name| task(prepared, name))
        .collect::<Result<_, _>>()?;
    let is_trained = prepared.source.is_testbed();
    prepared.quantized.iter().try_for_each(|quantized| compare(quantized, &tasks, is_trained))
}

/// `quad run --kernels litert` computes what the reference kernels of the runtime do, to the bit.
pub(super) fn command(prepared: &Prepared) -> Result<(), Failed> {
    let task = prepared.source.adapters[0];
    let inputs = prepared.source.inputs(task, 0)?;
    for quantized in &prepared.quantized {
        let at = |name: String| prepared.folder.path().join(name);
        let precision = quantized.precision;
        let [given, computed] = ["in", "out"].map(|kind| at(format!("{kind}.{precision}.npz")));
        let packed = text(&at(format!("{precision}.{task}.safetensors")));
        npz::write(&given, &inputs)?;
        let files = ["--inputs", &text(&given), "--outputs", &text(&computed)];
        let run = ["run", &text(&quantized.typed), "--kernels", "litert", "--adapter", &packed];
        quad(&[&run[..], &files].concat())?;
        let run = quantized.with_slots(task, &inputs)?;
        let theirs = litert()?.run(&quantized.written, "reference", &[&run])?.remove(0);
        if npz::read(&computed)? != theirs {
            return Err(format!("{precision}: other bits").into());
        }
    }
    Ok(())
}

fn task(prepared: &Prepared, name: &'static str) -> Result<Task, Failed> {
    let is_trained = prepared.source.is_testbed();
    let most = super::PRECISIONS
        .into_iter()
        .map(|precision| samples(precision, is_trained))
        .max()
        .unwrap_or_default();
    let inputs: Vec<NamedTensors> =
        (0..most).map(|index| prepared.source.inputs(name, index)).collect::<Result<_, _>>()?;
    let expected = inputs.iter().map(|inputs| floats(prepared, name, inputs)).collect::<Result<_, _>>()?;
    Ok(Task { name, inputs, expected })
}

/// What the model computes in floats.
fn floats(prepared: &Prepared, task: &str, inputs: &NamedTensors) -> Result<NamedTensors, Failed> {
    let [given, computed]: [PathBuf; 2] =
        ["given", "computed"].map(|kind| prepared.folder.path().join(format!("{kind}.{task}.npz")));
    npz::write(&given, inputs)?;
    let (model, adapter) = (text(&prepared.source.model()?), text(&prepared.source.adapter(task)));
    let adapter = if task == "none" { vec![] } else { vec!["--adapter", &adapter] };
    let files = [text(&given), text(&computed)];
    quad(&[&["run", &model, "--inputs", &files[0], "--outputs", &files[1]][..], &adapter].concat())?;
    Ok(npz::read(&computed)?)
}

/// Every set of kernels switches between all tasks and comes back to the first.
fn compare(quantized: &Quantized, tasks: &[Task], is_trained: bool) -> Result<(), Failed> {
    let count = samples(quantized.precision, is_trained);
    let runs = |task: &Task| -> Result<Vec<NamedTensors>, Failed> {
        task.inputs[..count].iter().map(|inputs| quantized.with_slots(task.name, inputs)).collect()
    };
    let runs: Vec<Vec<NamedTensors>> = tasks.iter().map(runs).collect::<Result<_, _>>()?;
    let mut ours = Vec::new();
    for (task, runs) in tasks.iter().zip(&runs) {
        let found =
            runs.iter().map(|run| interpreted(&quantized.module, run)).collect::<Result<Vec<_>, _>>()?;
        ours.push(decibels(&found, &task.expected)?);
    }
    let order: Vec<&NamedTensors> = runs.iter().flatten().chain(&runs[0]).collect();
    let mut wrong = Vec::new();
    for resolver in RESOLVERS {
        let found = litert()?.run(&quantized.written, resolver, &order)?;
        let found: Vec<&[NamedTensors]> = found.chunks(count).collect();
        if found[0] != found[tasks.len()] {
            wrong.push(format!("{resolver}: the first adapter gives something else the second time"));
        }
        for (index, task) in tasks.iter().enumerate() {
            let theirs = decibels(found[index], &task.expected)?;
            writeln!(
                std::io::stdout(),
                "{} {resolver} {}: {theirs:.2} dB, {:.2} dB in the interpreter",
                quantized.precision,
                task.name,
                ours[index]
            )?;
            let loss = ours[index] - theirs;
            if loss > ALLOWED || (is_trained && -loss > ALLOWED) {
                wrong.push(format!("{resolver}, {}: {theirs:.2} dB, {:.2} dB here", task.name, ours[index]));
            }
            // An adapter that does nothing would be as good as none.
            if index > 0 && found[index] == found[0] {
                wrong.push(format!("{resolver}: {} computes what {} does", task.name, tasks[0].name));
            }
        }
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(format!("{}: {}", quantized.precision, wrong.join("; ")).into())
    }
}

/// The mean over samples of the ratio of the range of the only output to its error, in decibels.
fn decibels(found: &[NamedTensors], reference: &[NamedTensors]) -> Result<f64, Failed> {
    let mut sum = 0.0;
    for (found, reference) in found.iter().zip(reference) {
        let (name, reference) = reference.iter().next().ok_or("an output")?;
        let found = found.get(name).ok_or("the same output")?.to_f64()?;
        let reference = reference.to_f64()?;
        let (low, high) =
            reference.iter().fold((f64::MAX, f64::MIN), |(low, high), x| (low.min(*x), high.max(*x)));
        let error: f64 = found.iter().zip(&reference).map(|(a, b)| (a - b) * (a - b)).sum::<f64>()
            / reference.len() as f64;
        sum += 10.0 * ((high - low) * (high - low) / error).log10();
    }
    Ok(sum / found.len() as f64)
}
