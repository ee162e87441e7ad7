//! The arithmetic of ONNX Runtime's kernels, operation by operation: `quad_onnxruntime` computes the same bits.
//!
//! ONNX Runtime is asked where `QUAD_PYTHON` names a Python that has it, on processors whose kernels are known; the tests are
//! ignored otherwise.

use libtest_mimic::{Arguments, Failed, Trial};
use quad_frontends::onnx;
use quad_ir::dtype::DType;
use quad_ir::graph::{Graph, Output, ValueId};
use quad_ir::interpret::{Interpreter, NamedTensors};
use quad_ir::loc::Loc;
use quad_ir::ops::layout::DataLayout;
use quad_ir::ops::source::Binding;
use quad_ir::ops::{
    Conv, Gelu, Gemm, GroupNorm, InstanceNorm, LayerNorm, MatMul, Op, Sigmoid, Softmax, Swish,
};
use quad_ir::types::TensorType;
use quad_onnxruntime::{CpuKernels, is_this_processor};
use quad_passes::check::Draw;
use quad_tests::onnxruntime::OnnxRuntime;

/// An operation, its name here, and the sizes of its operands.
struct Case {
    name: &'static str,
    op: Op,
    sizes: Vec<Vec<usize>>,
    /// Whether the second operand is stored with the model.
    has_constant: bool,
}

impl Case {
    fn new(name: &'static str, op: impl Into<Op>, sizes: &[&[usize]]) -> Self {
        let sizes = sizes.iter().map(|sizes| sizes.to_vec()).collect();
        Self { name, op: op.into(), sizes, has_constant: false }
    }

    fn with_constant(self) -> Self {
        Self { has_constant: true, ..self }
    }

    /// The graph, and its inputs: numbers with 18 digits, so that sums of products are rounded.
    fn graph(&self) -> Result<(Graph, NamedTensors), Failed> {
        let (mut graph, mut inputs) = (Graph::new("main"), NamedTensors::new());
        let mut draw = Draw::new(7);
        let mut operands: Vec<Option<ValueId>> = Vec::new();
        for (index, sizes) in self.sizes.iter().enumerate() {
            let tensor = draw.tensor(DType::F32, sizes)?;
            operands.push(Some(if self.has_constant && index == 1 {
                graph.add_constant(&tensor, Loc::Built)?
            } else {
                let name = format!("operand_{index}");
                let dims: Vec<u64> = sizes.iter().map(|size| *size as u64).collect();
                let ty = TensorType::known(DType::F32, &dims);
                inputs.insert(name.clone(), tensor);
                graph.add_input(&name, ty, Binding::Run, Loc::Built)?
            }));
        }
        let node = graph.add(self.op.clone(), &operands, Loc::Built)?;
        let value = graph.node(node).result().id();
        graph.set_outputs(vec![Output { name: "y".into(), value }])?;
        Ok((graph, inputs))
    }

    fn check(&self) -> Result<(), Failed> {
        let (graph, inputs) = self.graph()?;
        let folder = tempfile::tempdir()?;
        let model = folder.path().join("model.onnx");
        onnx::write(&graph, &model)?;
        let runtime = OnnxRuntime::shared()?.ok_or("QUAD_PYTHON is set")?;
        let expected = bits(&runtime.run(&model, &inputs)?)?;
        let found = bits(&Interpreter::new(&graph).with_kernels(&CpuKernels).run(&inputs)?)?;
        let differ = found.iter().zip(&expected).filter(|(found, expected)| found != expected).count();
        if differ > 0 || found.len() != expected.len() {
            return Err(format!("{differ} of {} numbers differ", expected.len()).into());
        }
        Ok(())
    }
}

fn bits(outputs: &NamedTensors) -> Result<Vec<u32>, Failed> {
    let tensor = outputs.values().next().ok_or("an output")?;
    Ok(tensor.to_f32()?.iter().map(|number| number.to_bits()).collect())
}

/// Fewer and more columns than the inner axis has places, rests of vectors, single rows and columns.
fn products() -> Vec<Case> {
    let transposed = Gemm { transB: true, ..Gemm::default() };
    vec![
        Case::new("matmul, wide", MatMul, &[&[64, 30], &[30, 500]]),
        Case::new("matmul, deep", MatMul, &[&[64, 700], &[700, 20]]),
        Case::new("matmul of batches", MatMul, &[&[2, 3, 64, 300], &[2, 3, 300, 40]]),
        Case::new("matmul of one row", MatMul, &[&[1, 203], &[203, 40]]),
        Case::new("matmul of one column", MatMul, &[&[47, 203], &[203, 1]]),
        Case::new("matmul by one matrix", MatMul, &[&[5, 1, 203], &[203, 40]]),
        Case::new("matmul by a constant", MatMul, &[&[64, 700], &[700, 20]]).with_constant(),
        Case::new("gemm", Gemm::default(), &[&[30, 300], &[300, 50], &[50]]),
        Case::new("gemm, transposed", transposed.clone(), &[&[30, 300], &[50, 300], &[30, 1]]),
        Case::new("gemm of one row", transposed.clone(), &[&[1, 300], &[50, 300], &[50]]),
        Case::new("gemm by a constant", transposed.clone(), &[&[3, 700], &[20, 700], &[20]]).with_constant(),
        Case::new("gemm of one row by a constant", transposed, &[&[1, 700], &[20, 700], &[20]])
            .with_constant(),
    ]
}

fn convolutions() -> Vec<Case> {
    let plain = Conv::default();
    let padded = Conv { pads: vec![1; 4], ..Conv::default() };
    let strided =
        Conv { strides: vec![2, 1], pads: vec![0, 1, 1, 0], dilations: vec![1, 2], ..Conv::default() };
    let channels_last = Conv { layout: DataLayout::Nhwc, ..padded.clone() };
    vec![
        Case::new("conv, wide", padded.clone(), &[&[1, 48, 16, 16], &[48, 48, 3, 3], &[48]]),
        Case::new("conv, deep", padded.clone(), &[&[2, 192, 4, 4], &[96, 192, 3, 3]]),
        Case::new("conv, strided", strided, &[&[1, 40, 9, 12], &[24, 40, 3, 2], &[24]]),
        Case::new("conv, channels last", channels_last, &[&[1, 8, 8, 64], &[48, 3, 3, 64], &[48]]),
        Case::new("conv, pointwise", plain.clone(), &[&[1, 300, 7, 9], &[20, 300, 1, 1], &[20]]),
        Case::new("conv of a line", plain.clone(), &[&[1, 160, 50], &[30, 160, 3]]),
        Case::new("conv to one channel", padded, &[&[1, 70, 6, 6], &[1, 70, 3, 3]]),
        Case::new("conv to one channel, pointwise", plain.clone(), &[&[1, 70, 6, 6], &[1, 70, 1, 1]]),
        Case::new("conv of one place", plain, &[&[1, 100, 1, 1], &[47, 100, 1, 1], &[47]]),
    ]
}

fn normalizations() -> Vec<Case> {
    let groups = |num_groups: u64| GroupNorm { num_groups, ..GroupNorm::default() };
    let channels_last = GroupNorm { layout: DataLayout::Nhwc, ..groups(32) };
    let layer = LayerNorm::default();
    vec![
        Case::new("group_norm", groups(16), &[&[2, 48, 5, 7], &[48], &[48]]),
        Case::new("group_norm, channels last", channels_last, &[&[1, 8, 8, 160], &[160], &[160]]),
        Case::new("group_norm of one group", groups(1), &[&[1, 6, 5, 7], &[6], &[6]]),
        Case::new("instance_norm", InstanceNorm::default(), &[&[2, 12, 5, 7], &[12], &[12]]),
        Case::new("layer_norm", layer.clone(), &[&[3, 20, 96], &[96], &[96]]),
        Case::new("layer_norm with a rest", layer.clone(), &[&[50, 103], &[103], &[103]]),
        Case::new("layer_norm of few", layer.clone(), &[&[50, 7], &[7], &[7]]),
        Case::new("layer_norm without bias", layer, &[&[50, 44], &[44]]),
    ]
}

fn functions() -> Vec<Case> {
    vec![
        Case::new("softmax", Softmax { axis: -1 }, &[&[2, 30, 300]]),
        Case::new("softmax of few", Softmax { axis: 2 }, &[&[2, 30, 3]]),
        Case::new("softmax along another axis", Softmax { axis: 1 }, &[&[2, 30, 40]]),
        Case::new("sigmoid", Sigmoid, &[&[3, 1000]]),
        Case::new("swish", Swish::default(), &[&[3, 1000]]),
        Case::new("swish of a factor", Swish { alpha: 1.702.into() }, &[&[3, 1000]]),
        Case::new("gelu", Gelu::default(), &[&[3, 1007]]),
    ]
}

fn main() {
    let can_be_asked = std::env::var_os("QUAD_PYTHON").is_some() && is_this_processor();
    let cases = [products(), convolutions(), normalizations(), functions()].into_iter().flatten();
    let trials =
        cases.map(|case| Trial::test(case.name, move || case.check()).with_ignored_flag(!can_be_asked));
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit();
}
