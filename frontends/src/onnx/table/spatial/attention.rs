//! Scaled dot product attention.

use quad_ir::ops::Attention;

use crate::onnx::context::{NodeContext, Values};
use crate::onnx::error::NodeError;
use crate::onnx::export::{WriteError, WriteNode};

/// Our attribute for whether the scores are a result; a file says so by naming the output.
const WITH_QK: &str = "with_qk";

/// The scores are computed only when their output is named.
pub(super) fn read(context: &mut NodeContext<'_, '_>) -> Result<Values, NodeError> {
    let with_qk = context.output_count() > 3;
    let op = Attention { with_qk, ..context.op()? };
    let operands = context.operands().to_vec();
    let node = context.add(op, &operands)?;
    Ok(context.results(node))
}

/// Windows came with operator set 25, padded keys with 24.
pub(super) fn write(node: &mut WriteNode<'_>) -> Result<(), WriteError> {
    let windows =
        node.node.is::<Attention>().is_some_and(|op| op.left_window_size >= 0 || op.right_window_size >= 0);
    let mut attributes = node.attributes(&[])?;
    attributes.retain(|attribute| {
        attribute.name != WITH_QK && (windows || !attribute.name.ends_with("_window_size"))
    });
    if windows {
        node.needs_opset(25);
    } else if node.node.operands().len() > 6 {
        node.needs_opset(24);
    }
    node.emit(attributes);
    Ok(())
}
