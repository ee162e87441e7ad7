//! Every operation of the table on the simulator, with activations of 8 and of 16 bits, for four chips, against the
//! interpreter on the numbers that the stored operands stand for.
//!
//! How far results are off is measured in steps of their encodings, and written to a table in `docs/generated`. That is
//! made anew by `QUAD_BLESS=1 ./test.sh --package quad-qnn --test simulator`.

mod cases;
mod provider;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use libtest_mimic::Failed;
use quad_ir::dtype::DType;
use quad_ir::graph::{Graph, Output, ValueId};
use quad_ir::interpret::{Interpreter, NamedTensors};
use quad_ir::loc::Loc;
use quad_ir::ops::source::Binding;
use quad_ir::ops::{Flatten, Op};
use quad_ir::tensor::Tensor;
use quad_ir::types::{Encoded, Quant, TensorType};
use quad_qnn::model::DataType;
use quad_qnn::native::{Native, Program, Run};
use quad_qnn::raise::{Form, raise};
use quad_qnn::table::{Setting, lower};

use crate::support::{Numbers, SOCS, Test, soc, unpack};
use cases::{Case, Operand};

pub(crate) const TESTS: &[Test] = &[
    ("matrix: every operation of the table is as exact as it should be", matrix),
    ("matrix: every operation of the table has a case", every_operation_has_a_case),
];

/// A test that needs a Python.
type PythonTest = (&'static str, fn(&Path) -> Result<(), Failed>);

/// Tests that need ONNX Runtime's provider.
pub(crate) const PROVIDER: &[PythonTest] = &[(
    "matrix: linear operations of the provider are those of the cpu",
    provider::linear_operations_are_those_of_the_cpu,
)];
pub(crate) use provider::python;

/// Tests that need no library.
pub(crate) const PORTABLE: &[(&str, fn())] =
    &[("matrix: raised graphs compute what operations do", raised_graphs_compute_what_operations_do)];

/// Bits of activations.
pub(crate) const WIDTHS: [u32; 2] = [8, 16];

/// The cases of one width as graphs, and what they compute.
struct Sheet {
    width: u32,
    /// With results in their encodings.
    stored: Graph,
    inputs: NamedTensors,
    /// The exact results in steps of their encodings, by case.
    exact: BTreeMap<&'static str, Vec<f64>>,
}

/// Steps that each case is off by, by chip.
pub(crate) type Steps = BTreeMap<(&'static str, u32), BTreeMap<&'static str, f64>>;

fn matrix(native: &Native) -> Result<(), Failed> {
    let mut steps = Steps::new();
    for width in WIDTHS {
        let all = || cases::all().into_iter().filter(|case| case.is_for(width));
        let sheet = Sheet::new(width, &all().collect::<Vec<_>>())?;
        for name in SOCS {
            let off = sheet.run(native, name).or_else(|_| one_by_one(native, all(), width, name))?;
            for (case, off) in off {
                steps.entry((case, width)).or_default().insert(name, off);
            }
        }
    }
    let cases = cases::all();
    let mut wrong = String::new();
    for ((case, width), by_soc) in &steps {
        let limit = cases.iter().find(|one| one.name == *case).map_or(0.0, |case| case.limit(*width));
        for (soc, off) in by_soc.iter().filter(|(_, off)| off.is_nan() || **off > limit) {
            writeln!(wrong, "{case}, {width} bits, {soc}: {off:.2} steps, at most {limit}")?;
        }
    }
    if !wrong.is_empty() {
        return Err(wrong.into());
    }
    table::check(&table::text(&cases, &steps))
}

/// Steps that raised graphs are off at most where they compute with more roundings than the operation itself, by width.
const ROUNDED_MORE: &[(&str, [f64; 2])] = &[
    // What is normalized is stored, scaled by up to three times the least factor, stored again and shifted.
    ("group_norm", [4.0, 4.0]),
    ("group_norm, few places", [4.0, 4.0]),
    // The sum is stored in steps of its own before the bias is added.
    ("conv, large bias", [2.0, 2.0]),
];

/// What lowering makes, in operations of the IR again, computes what the operations do: so lowered graphs are right even
/// where nothing runs them, and so are the ONNX models that are made of them.
fn raised_graphs_compute_what_operations_do() {
    let mut wrong = String::new();
    for width in WIDTHS {
        let cases: Vec<Case> = cases::all().into_iter().filter(|case| case.is_for(width)).collect();
        let sheet =
            Sheet::new(width, &cases).unwrap_or_else(|why| panic!("{}", why.message().unwrap_or("failed")));
        let off = sheet.run_raised().unwrap_or_else(|why| panic!("{}", why.message().unwrap_or("failed")));
        for (case, off) in off {
            let more = ROUNDED_MORE.iter().find(|(name, _)| *name == case);
            let most = more.map_or(1.0, |(_, most)| most[usize::from(width == 16)]);
            if off > most {
                let _ = writeln!(wrong, "{case}, {width} bits: {off:.2} steps, at most {most}");
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

fn every_operation_has_a_case(_: &Native) -> Result<(), Failed> {
    let kinds: Vec<&str> = cases::all().iter().map(|case| case.op.def().name()).collect();
    let none: Vec<&str> = quad_qnn::table::operations()
        .filter(|name| !kinds.contains(name) && !["input", "weight"].contains(name))
        .collect();
    if none.is_empty() { Ok(()) } else { Err(format!("no case has {}", none.join(", ")).into()) }
}

impl Sheet {
    fn new(width: u32, cases: &[Case]) -> Result<Self, Failed> {
        let (real, inputs) = graph(cases, width, &BTreeMap::new())?;
        let results = Interpreter::new(&real).run(&inputs)?;
        let mut encodings = BTreeMap::new();
        let mut exact = BTreeMap::new();
        for case in cases {
            let values = results[case.name].to_f64()?;
            let encoded = case.result_encoding(width, &values);
            if let Some(encoded) = &encoded {
                let (scale, zero) =
                    (f64::from(encoded.quant.scales[0].get()), f64::from(encoded.quant.zero_points[0]));
                let (low, high) = encoded.stored.integer_range().ok_or("an integer type")?;
                let steps = values.iter().map(|value| (value / scale + zero).clamp(low as f64, high as f64));
                // Numbers that are moved are whole steps.
                let whole = |step: f64| if case.is_moved() { step.round() } else { step };
                exact.insert(case.name, steps.map(whole).collect());
            } else {
                exact.insert(case.name, values);
            }
            encodings.insert(case.name, encoded);
        }
        let (stored, _) = graph(cases, width, &encodings)?;
        Ok(Self { width, stored, inputs, exact })
    }

    /// How many steps each case is off by.
    fn run(&self, native: &Native, name: &str) -> Result<BTreeMap<&'static str, f64>, Failed> {
        let soc = soc(name);
        let lowered = lower(&self.stored, Setting { soc })?;
        let run: Run =
            self.inputs.iter().map(|(name, tensor)| (name.clone(), tensor.bytes().to_vec())).collect();
        let outputs = native
            .execute(&Program::Graph(Box::new(lowered.graph.clone())), soc, &[run])
            .map_err(|error| format!("{} bits, {name}: {error}", self.width))?;
        let mut found = NamedTensors::new();
        for (name, bytes) in &outputs[0] {
            let tensor = lowered.graph.outputs().find(|tensor| tensor.name == *name).ok_or("no output")?;
            let sizes: Vec<usize> = tensor.dims.iter().map(|size| *size as usize).collect();
            let elements = if tensor.data_type.is_fixed() {
                Tensor::from_vec(&sizes, unpack(tensor.data_type, bytes))?
            } else {
                let half = tensor.data_type == DataType::Float16;
                Tensor::new(if half { DType::F16 } else { DType::F32 }, &sizes, bytes.clone().into())?
            };
            found.insert(name.clone(), elements);
        }
        self.distances(&found)
    }

    /// How many steps each case is off by where the interpreter runs what is lowered.
    fn run_raised(&self) -> Result<BTreeMap<&'static str, f64>, Failed> {
        let lowered = lower(&self.stored, Setting { soc: soc(SOCS[2]) })?;
        let raised = raise(&lowered.graph, Form::Qdq, &BTreeSet::new())?;
        self.distances(&Interpreter::new(&raised.graph).run(&self.inputs)?)
    }

    /// How many steps the results `found`, stored integers or real numbers, are off by.
    fn distances(&self, found: &NamedTensors) -> Result<BTreeMap<&'static str, f64>, Failed> {
        let mut off = BTreeMap::new();
        for (case, exact) in &self.exact {
            let tensor = found.get(*case).ok_or("an output is missing")?;
            let found = tensor.to_f64()?;
            if found.len() != exact.len() {
                return Err(format!("{case}: {} elements, not {}", found.len(), exact.len()).into());
            }
            let largest = exact.iter().fold(0.0, |most: f64, value| most.max(value.abs()));
            let differences = found.iter().zip(exact).map(|(found, exact)| (found - exact).abs());
            let most = differences.fold(0.0, f64::max);
            // Results that are real numbers have no steps: a thousandth of the largest counts as one.
            off.insert(*case, if tensor.dtype().is_float() { most / largest * 1000.0 } else { most });
        }
        Ok(off)
    }
}

/// Each case in a graph of its own, after all of them in one failed: says which fail, and why.
fn one_by_one(
    native: &Native,
    cases: impl Iterator<Item = Case>,
    width: u32,
    name: &str,
) -> Result<BTreeMap<&'static str, f64>, Failed> {
    let (mut off, mut wrong) = (BTreeMap::new(), String::new());
    for case in cases {
        let sheet = Sheet::new(width, std::slice::from_ref(&case))?;
        match sheet.run(native, name) {
            Ok(one) => off.extend(one),
            Err(why) => writeln!(wrong, "{}: {}", case.name, why.message().unwrap_or("failed"))?,
        }
    }
    if wrong.is_empty() { Ok(off) } else { Err(wrong.into()) }
}

/// All cases in one graph, with results encoded as `encodings` says, and inputs for it.
fn graph(
    cases: &[Case],
    width: u32,
    encodings: &BTreeMap<&str, Option<Encoded>>,
) -> Result<(Graph, NamedTensors), Failed> {
    let mut graph = Graph::new("main");
    let (mut inputs, mut outputs) = (NamedTensors::new(), Vec::new());
    for (seed, case) in cases.iter().enumerate() {
        let mut numbers = Numbers::new(seed as u64 + 1);
        let mut operands = Vec::new();
        for (at, operand) in case.operands.iter().enumerate() {
            let name = format!("{}.{at}", case.name);
            operands.push(add_operand(&mut graph, &mut inputs, &mut numbers, operand, width, &name)?);
        }
        let stated = encodings.get(case.name).cloned().flatten();
        let op = match (&case.op, &stated) {
            // Without an encoding it is nothing; what keeps the numbers as they are stands for it.
            (Op::Quantize(_), None) => Flatten::default().into(),
            (op, _) => op.clone(),
        };
        let node = graph.add_stated(op, &operands, &[stated], Loc::Built)?;
        let value = graph.node(node).result().id();
        outputs.push(Output { name: case.name.into(), value });
    }
    graph.set_outputs(outputs)?;
    Ok((graph, inputs))
}

fn add_operand(
    graph: &mut Graph,
    inputs: &mut NamedTensors,
    numbers: &mut Numbers,
    operand: &Operand,
    width: u32,
    name: &str,
) -> Result<Option<ValueId>, Failed> {
    let sizes = |dims: &[u64]| -> Vec<usize> { dims.iter().map(|size| *size as usize).collect() };
    Ok(Some(match operand {
        Operand::Absent => return Ok(None),
        Operand::Stored { dims, .. } => {
            let encoded = operand.encoding(width).ok_or("an encoding")?;
            let (low, high) = operand.codes(encoded.stored);
            let codes = (0..dims.iter().product()).map(|_: u64| numbers.integer(low, high)).collect();
            inputs.insert(name.to_owned(), Tensor::from_i64(encoded.stored, &sizes(dims), codes)?);
            let ty = encoded.ty(TensorType::known(encoded.stored, dims).shape);
            graph.add_input(name, ty, Binding::Run, Loc::Built)?
        }
        Operand::Weight { dims, axis, magnitude, dtype } => {
            let channels = axis.map_or(1, |axis| dims[axis]);
            let most = if *dtype == DType::I16 { 32639 } else { 127 };
            let scales: Vec<f32> = (0..channels)
                .map(|at| magnitude / most as f32 * (1.0 + at as f32 / channels as f32))
                .collect();
            let quant = Quant {
                axis: axis.map(|axis| axis as u8),
                block: None,
                zero_points: vec![0; scales.len()].into(),
                scales: scales.into_iter().map(Into::into).collect(),
                expressed: DType::F32,
            };
            let codes = (0..dims.iter().product()).map(|_: u64| numbers.integer(-most, most)).collect();
            let tensor = Tensor::from_i64(*dtype, &sizes(dims), codes)?;
            let ty = Encoded::new(*dtype, quant).ty(tensor.ty().shape);
            let weight = graph.weights_mut().add_memory(ty, tensor.bytes().clone())?;
            graph.add_weight(weight, Loc::Built)?
        }
        Operand::Real { dims, min, max } => {
            let count: u64 = dims.iter().product();
            let values: Vec<f32> = (0..count).map(|_| numbers.real(*min, *max)).collect();
            graph.add_constant(&Tensor::from_vec(&sizes(dims), values)?, Loc::Built)?
        }
        Operand::Free { dims, min, max } => {
            let count: u64 = dims.iter().product();
            let values: Vec<f32> = (0..count).map(|_| numbers.real(*min, *max)).collect();
            inputs.insert(name.to_owned(), Tensor::from_vec(&sizes(dims), values)?);
            graph.add_input(name, TensorType::known(DType::F32, dims), Binding::Run, Loc::Built)?
        }
        Operand::Integers(list) => {
            graph.add_constant(&Tensor::from_vec(&[list.len()], list.clone())?, Loc::Built)?
        }
    }))
}
