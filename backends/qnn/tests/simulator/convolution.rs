//! One convolution with 8-bit weights by channel and 16-bit activations, through everything the libraries do.

use libtest_mimic::Failed;
use quad_qnn::model::{DataType, Encoding, Param, QnnGraph, Role, ScaleOffset};
use quad_qnn::native::{Native, NativeError, Program, Run};
use quad_qnn::soc::Soc;

use crate::support::{Numbers, Test, add, pack, per_tensor, soc, unpack};

pub(crate) const TESTS: &[Test] = &[
    ("libraries say what they are", libraries_say_what_they_are),
    ("a convolution is exact to two steps", a_convolution_is_exact),
    ("a context binary is for its chip, reproducible, and computes the same", a_binary_is_reproducible),
    ("a DLC computes the same", a_dlc_computes_the_same),
    ("a refused operation says why", a_refusal_says_why),
    ("a missing input is an error", a_missing_input_is_an_error),
];

const SIZE: usize = 8;
const INPUTS: usize = 16;
const OUTPUTS: usize = 32;
const X: (f32, i32) = (4.0 / 65535.0, 32768);
const Y: (f32, i32) = (12.0 / 65535.0, 30000);

/// A convolution, and what it computes of `stored`.
struct Case {
    graph: QnnGraph,
    stored: Vec<i64>,
    weights: Vec<i64>,
    scales: Vec<f32>,
    bias: Vec<i64>,
}

impl Case {
    fn new() -> Self {
        let mut numbers = Numbers::new(7);
        let scales: Vec<f32> = (0..OUTPUTS).map(|at| 0.002 + 0.0001 * at as f32).collect();
        let weights: Vec<i64> = (0..9 * INPUTS * OUTPUTS).map(|_| numbers.integer(-127, 127)).collect();
        let bias: Vec<i64> = (0..OUTPUTS).map(|_| numbers.integer(-500_000, 500_000)).collect();
        let stored = (0..SIZE * SIZE * INPUTS).map(|_| numbers.integer(0, 65535)).collect();
        let mut graph = QnnGraph::new("convolution");
        let features = [1, SIZE as u32, SIZE as u32];
        let sized = |channels: usize| [&features[..], &[channels as u32]].concat();
        let x =
            add(&mut graph, "x", Role::Input, DataType::Ufixed16, &sized(INPUTS), Some(per_tensor(X.0, X.1)));
        let each = |of: f32| Encoding::Axis {
            axis: 3,
            each: scales.iter().map(|scale| ScaleOffset::new(scale * of, 0)).collect(),
        };
        let data = Role::Static(pack(DataType::Sfixed8, &weights));
        let w = add(
            &mut graph,
            "w",
            data,
            DataType::Sfixed8,
            &[3, 3, INPUTS as u32, OUTPUTS as u32],
            Some(each(1.0)),
        );
        let Encoding::Axis { each: biases, .. } = each(X.0) else { unreachable!("as made above") };
        let data = Role::Static(pack(DataType::Sfixed32, &bias));
        let b = add(
            &mut graph,
            "b",
            data,
            DataType::Sfixed32,
            &[OUTPUTS as u32],
            Some(Encoding::Axis { axis: 0, each: biases }),
        );
        let y = add(
            &mut graph,
            "y",
            Role::Output,
            DataType::Ufixed16,
            &sized(OUTPUTS),
            Some(per_tensor(Y.0, Y.1)),
        );
        let params = [
            ("stride", Param::U32s(vec![2], vec![1, 1])),
            ("pad_amount", Param::U32s(vec![2, 2], vec![1, 1, 1, 1])),
            ("group", Param::U32(1)),
        ];
        graph.add_node("conv", "Conv2d", &[x, w, b], &[y], params);
        Self { graph, stored, weights, scales, bias }
    }

    fn inputs(&self) -> Run {
        vec![("x".to_owned(), pack(DataType::Ufixed16, &self.stored))]
    }

    /// The output in steps of its encoding, from exact sums.
    fn expected(&self) -> Vec<f64> {
        let mut expected = Vec::new();
        for place in 0..SIZE * SIZE {
            for output in 0..OUTPUTS {
                let sum = self.sum_at(place / SIZE, place % SIZE, output) + self.bias[output];
                let scale = f64::from(X.0) * f64::from(self.scales[output]) / f64::from(Y.0);
                expected.push((sum as f64 * scale + f64::from(Y.1)).clamp(0.0, 65535.0));
            }
        }
        expected
    }

    fn sum_at(&self, row: usize, column: usize, output: usize) -> i64 {
        let mut sum = 0;
        for (tap_row, tap_column) in (0..9).map(|tap| (tap / 3, tap % 3)) {
            // One row and one column of zeros lie before the first.
            let (Some(from_row), Some(from_column)) =
                ((row + tap_row).checked_sub(1), (column + tap_column).checked_sub(1))
            else {
                continue;
            };
            if from_row >= SIZE || from_column >= SIZE {
                continue;
            }
            for input in 0..INPUTS {
                let x = self.stored[(from_row * SIZE + from_column) * INPUTS + input] - i64::from(X.1);
                sum += x * self.weights[((tap_row * 3 + tap_column) * INPUTS + input) * OUTPUTS + output];
            }
        }
        sum
    }
}

/// The largest difference of `run`'s only tensor from `expected`, in steps.
fn steps(run: &Run, expected: &[f64]) -> Result<f64, Failed> {
    let [(_, bytes)] = run.as_slice() else { return Err(format!("{} outputs, not one", run.len()).into()) };
    let found = unpack(DataType::Ufixed16, bytes);
    if found.len() != expected.len() {
        return Err(format!("{} elements, not {}", found.len(), expected.len()).into());
    }
    let differences = found.iter().zip(expected).map(|(found, expected)| (*found as f64 - expected).abs());
    Ok(differences.fold(0.0, f64::max))
}

fn libraries_say_what_they_are(native: &Native) -> Result<(), Failed> {
    let about = native.about()?;
    let named = about.name.contains("HTP") && about.core.major == 2 && about.build.starts_with('v');
    if named { Ok(()) } else { Err(format!("{about:?}").into()) }
}

fn a_convolution_is_exact(native: &Native) -> Result<(), Failed> {
    let case = Case::new();
    let program = Program::Graph(Box::new(case.graph.clone()));
    for name in ["SM8550", "SM8650", "SM8750", "SM8850"] {
        let outputs = native.execute(&program, soc(name), &[case.inputs()])?;
        let off = steps(&outputs[0], &case.expected())?;
        if off > 2.0 {
            return Err(format!("{name}: off by {off} steps").into());
        }
    }
    Ok(())
}

fn a_binary_is_reproducible(native: &Native) -> Result<(), Failed> {
    let case = Case::new();
    for soc in [soc("SM8550"), soc("SM8750")] {
        let compiled = native.compile(&case.graph, soc)?;
        if compiled.binary != native.compile(&case.graph, soc)?.binary {
            return Err("two builds differ".into());
        }
        if (compiled.soc_model, compiled.graph.as_str()) != (soc.model(), "convolution") {
            return Err(format!("{} {}", compiled.soc_model, compiled.graph).into());
        }
        same_as_graph(native, &case, &Program::Binary(compiled.binary), soc)?;
    }
    Ok(())
}

fn a_dlc_computes_the_same(native: &Native) -> Result<(), Failed> {
    let case = Case::new();
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("other.dlc");
    native.write_dlc(&case.graph, &path)?;
    same_as_graph(native, &case, &Program::Dlc(path), soc("SM8750"))
}

fn same_as_graph(native: &Native, case: &Case, program: &Program, soc: Soc) -> Result<(), Failed> {
    let inputs = [case.inputs()];
    let expected = native.execute(&Program::Graph(Box::new(case.graph.clone())), soc, &inputs)?;
    let found = native.execute(program, soc, &inputs)?;
    if expected == found { Ok(()) } else { Err("the outputs differ".into()) }
}

fn a_refusal_says_why(native: &Native) -> Result<(), Failed> {
    let mut case = Case::new();
    case.graph.tensors[3].data_type = DataType::Ufixed8;
    let refusals = native.refusals(&case.graph, soc("SM8750"))?;
    let [refusal] = refusals.as_slice() else { return Err(format!("{refusals:?}").into()) };
    if refusal.node != "conv" || !refusal.why.concat().contains("out[0]:QNN_DATATYPE_UFIXED_POINT_8") {
        return Err(format!("{refusal:?}").into());
    }
    match native.compile(&case.graph, soc("SM8750")) {
        Err(NativeError::Refused(again)) if again == refusals => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}

fn a_missing_input_is_an_error(native: &Native) -> Result<(), Failed> {
    let case = Case::new();
    let program = Program::Graph(Box::new(case.graph.clone()));
    let mut short = case.inputs();
    short[0].1.pop();
    for (run, expected) in [(Run::new(), "`x` is not given"), (short, "`x` has 2047 bytes")] {
        match native.execute(&program, soc("SM8750"), &[run]) {
            Err(error) if error.to_string().contains(expected) => {}
            other => return Err(format!("{other:?}").into()),
        }
    }
    Ok(())
}
