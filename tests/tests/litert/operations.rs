//! Single operations on stored integers: the files of `tests/litert`.
//!
//! A file is a module in the text form under a line that says what is expected: `//! litert: 1, 0, 2` is how many steps of
//! an output's encoding each set of kernels may be off the interpreter, in the order of [`RESOLVERS`]. After a semicolon,
//! `largest` says that inputs are the largest numbers in place of drawn ones, and `exact` that the reference kernels give
//! what `quad_litert::kernels` does, to the bit. `//! refused: why` is part of the reason for which nothing is written.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::{Failed, Trial};
use quad_ir::dtype::DType;
use quad_ir::graph::{Graph, ValueId};
use quad_ir::interpret::{Interpreter, NamedTensors};
use quad_ir::tensor::Tensor;
use quad_ir::text::{self, NoWeights};
use quad_litert::flatbuffer;
use quad_litert::kernels;
use quad_litert::lower::{Settings, lower};
use quad_passes::check::Draw;
use quad_tests::litert::RESOLVERS;
use quad_tests::paths;

use crate::{interpreted, litert};

/// A trial for each file.
pub(crate) fn trials() -> Result<Vec<Trial>, Failed> {
    let files = paths::files_below(&paths::root().join("tests/litert"), "quad")?;
    let trial = |path: PathBuf| {
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        Trial::test(format!("operation {name}"), move || check(&path))
    };
    Ok(files.into_iter().map(trial).collect())
}

fn check(path: &Path) -> Result<(), Failed> {
    let text = fs::read_to_string(path)?;
    let expected =
        text.lines().find_map(|line| line.strip_prefix("//! ")).ok_or("no line says what is expected")?;
    let module = text::parse(&text, &NoWeights).map_err(|error| error.show().to_string())?;
    let graph = module.main().ok_or("a graph runs")?;
    if let Some(why) = expected.strip_prefix("refused: ") {
        return match lower(graph, &Settings::default()) {
            Err(error) if error.to_string().contains(why) => Ok(()),
            Err(error) => Err(format!("refused for another reason: {error}").into()),
            Ok(model) => Err(format!("not refused:\n{model}").into()),
        };
    }
    let expected = expected.strip_prefix("litert: ").ok_or("neither `litert:` nor `refused:`")?;
    let (steps, words) = expected.split_once(';').unwrap_or((expected, ""));
    let says = |word: &str| words.split_whitespace().any(|found| found == word);
    let allowed: Vec<i64> = steps.split(',').map(|word| word.trim().parse()).collect::<Result<_, _>>()?;
    let inputs = inputs(graph, says("largest"))?;
    let exact = if says("exact") { Some(computed(graph, &inputs)?) } else { None };
    let reference = interpreted(&module, &inputs)?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("model.tflite");
    flatbuffer::write_file(&lower(graph, &Settings::default())?, &file)?;
    let mut wrong = Vec::new();
    for (resolver, allowed) in RESOLVERS.iter().zip(allowed) {
        let found = litert()?.run(&file, resolver, &[&inputs])?.remove(0);
        for (name, reference) in &reference {
            let off = steps_off(found.get(name).ok_or("an output is missing")?, reference)?;
            if off > allowed {
                wrong.push(format!(
                    "{resolver}: output `{name}` is off by {off} steps, {allowed} are allowed"
                ));
            }
        }
    }
    for (name, exact) in exact.iter().flatten() {
        let found = litert()?.run(&file, "reference", &[&inputs])?.remove(0);
        let off = steps_off(found.get(name).ok_or("an output is missing")?, exact)?;
        if off > 0 {
            wrong.push(format!(
                "output `{name}` of the reference kernels is off our rule for them by {off} steps"
            ));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

/// The outputs whose kernels' rule is known, computed by it. Operands are the interpreter's: these graphs are one operation
/// deep.
fn computed(graph: &Graph, inputs: &NamedTensors) -> Result<NamedTensors, Failed> {
    let mut values: BTreeMap<ValueId, Tensor> = BTreeMap::new();
    Interpreter::new(graph).run_observed(inputs, &mut |value, tensor| {
        values.insert(value.id(), tensor.clone());
    })?;
    let mut outputs = NamedTensors::new();
    for output in graph.outputs() {
        let node = graph.value(output.value).producer();
        let operands: Vec<Option<Tensor>> = node
            .operands()
            .map(|operand| operand.and_then(|operand| values.get(&operand.id()).cloned()))
            .collect();
        if let Some(results) = kernels::evaluate(node, &operands) {
            outputs.insert(output.name.to_string(), results?[0].clone());
        }
    }
    if outputs.is_empty() { Err("no kernel's rule is known".into()) } else { Ok(outputs) }
}

/// Inputs of every stored value, or of the largest; floats beyond what encodings hold, so that some are cut off.
fn inputs(graph: &Graph, largest: bool) -> Result<NamedTensors, Failed> {
    let mut draw = Draw::new(11);
    let mut inputs = NamedTensors::new();
    for input in graph.inputs() {
        let sizes: Vec<usize> =
            input.ty().shape.as_known().ok_or("known sizes")?.iter().map(|n| *n as usize).collect();
        let dtype = input.ty().dtype;
        let tensor = match dtype.integer_range() {
            Some((low, high)) => {
                // Weights of 8 bits have no -128.
                let low = if dtype == DType::I8 && input.ty().quant.is_some() { low + 1 } else { low };
                let span = (high - low) as u64 + 1;
                let count = sizes.iter().product();
                let number = |_| if largest { high as i64 } else { low as i64 + draw.below(span) as i64 };
                Tensor::from_i64(dtype, &sizes, (0..count).map(number).collect())?
            }
            None => draw.tensor(dtype, &sizes)?,
        };
        inputs.insert(input.name().ok_or("an input has a name")?.to_string(), tensor);
    }
    Ok(inputs)
}

/// How many steps `found` is off, at most; of floats, thousandths of the largest.
fn steps_off(found: &Tensor, reference: &Tensor) -> Result<i64, Failed> {
    if (found.dtype(), found.sizes()) != (reference.dtype(), reference.sizes()) {
        return Err(format!("{} where {} is expected", found.ty(), reference.ty()).into());
    }
    if reference.dtype().is_float() {
        let (found, reference) = (found.to_f64()?, reference.to_f64()?);
        let largest = reference.iter().fold(f64::MIN_POSITIVE, |largest, x| largest.max(x.abs()));
        let off =
            found.iter().zip(&reference).map(|(a, b)| ((a - b).abs() / largest * 1000.0).round() as i64);
        return Ok(off.max().unwrap_or(0));
    }
    let (found, reference) = (found.to_i64()?, reference.to_i64()?);
    Ok(found.iter().zip(&reference).map(|(a, b)| (a - b).abs()).max().unwrap_or(0))
}
