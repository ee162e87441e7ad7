//! Constants that are stored in 64 bits, as biases beside products of 16 bits are: ONNX reads none of these, so the numbers that
//! they stand for are written instead.

use std::borrow::Cow;

use quad_ir::dtype::DType;
use quad_ir::graph::{Edit, Graph, NodeRef, Patch, ValueId, ValueRef};
use quad_ir::ops::DequantizeLinear;

use super::export::WriteError;

/// The name under which the new nodes say where they come from.
const RULE: &str = "wide-constants";

/// `graph`, or a copy in which no constant of 64 bits is dequantized.
pub(crate) fn without_wide_constants(graph: &Graph) -> Result<Cow<'_, Graph>, WriteError> {
    let wide: Vec<NodeRef<'_>> = graph.nodes().filter(|node| reads_wide_constant(*node)).collect();
    if wide.is_empty() {
        return Ok(Cow::Borrowed(graph));
    }
    let fault = |error: &dyn std::error::Error| WriteError::Layout(error.to_string());
    let edit = edit(graph, &wide).map_err(|error| fault(&*error))?;
    let mut copy = graph.clone();
    copy.apply(edit).map_err(|error| fault(&error))?;
    Ok(Cow::Owned(copy))
}

fn edit(graph: &Graph, wide: &[NodeRef<'_>]) -> Result<Edit, Box<dyn std::error::Error>> {
    let mut patch = Patch::new(graph, RULE);
    for node in wide {
        patch.on_behalf_of(node.id());
        let operands: Vec<Option<ValueId>> =
            node.operands().map(|operand| operand.map(ValueRef::id)).collect();
        let real = patch.add_recipe(node.op().clone(), &operands)?;
        patch.replace(node.result().id(), real)?;
    }
    patch.erase_unread();
    Ok(patch.finish()?)
}

fn reads_wide_constant(node: NodeRef<'_>) -> bool {
    node.is::<DequantizeLinear>().is_some()
        && node.operand("x").is_some_and(|x| x.ty().dtype == DType::I64)
        && node.operands().flatten().all(|operand| operand.weight().is_some())
}

#[cfg(test)]
mod tests {
    use quad_ir::interpret::{Interpreter, NamedTensors};
    use quad_ir::tensor::Tensor;
    use quad_ir::text::{self, NoWeights};

    use crate::onnx;

    const BIASED: &str = r#"quad 1
graph @main(%x: f32[2]) {
  %stored = weight [4611686018427387904, -3] : i64[2]
  %scale = weight 0.5 : f32[]
  %bias = dequantize_linear(%stored, %scale) : f32[2]
  %y = add(%x, %bias) : f32[2]
  return "y" = %y
}
"#;

    #[test]
    fn a_constant_of_64_bits_is_written_as_numbers() {
        let module = text::parse(BIASED, &NoWeights).expect("a graph");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("model.onnx");
        onnx::write(module.main().expect("it runs"), &path).expect("written");
        let written = onnx::import(&path).expect("read");
        let graph = written.main().expect("it runs");
        assert!(
            graph.nodes().all(|node| node.is::<super::DequantizeLinear>().is_none()),
            "nothing is dequantized"
        );
        let x = Tensor::from_vec(&[2], vec![1.0f32, 2.0]).expect("two");
        let inputs = NamedTensors::from([("x".to_owned(), x)]);
        let run = |graph| Interpreter::new(graph).run(&inputs).expect("runs");
        assert_eq!(run(graph), run(module.main().expect("it runs")));
    }

    #[test]
    fn computed_integers_of_64_bits_are_refused() {
        let computed = BIASED.replace("(%x: f32[2])", "(%x: f32[2], %i: i64[2])");
        let computed = computed.replace("dequantize_linear(%stored", "dequantize_linear(%i");
        let module = text::parse(&computed, &NoWeights).expect("a graph");
        let folder = tempfile::tempdir().expect("a folder");
        let error = onnx::write(module.main().expect("it runs"), &folder.path().join("model.onnx"));
        assert!(error.expect_err("refused").to_string().contains("dequantize_linear of i64"));
    }
}
