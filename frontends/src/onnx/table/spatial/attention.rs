//! Scaled dot product attention.

use quad_ir::graph::NodeRef;
use quad_ir::ops::{Attention, LinearAttention};

use crate::onnx::context::{NodeContext, Values};
use crate::onnx::error::NodeError;
use crate::onnx::export::WriteError;
use crate::onnx::table::read_regular;
use crate::onnx::write_node::WriteNode;

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

/// The size of the chunks is a hint for speed.
pub(super) fn read_linear(context: &mut NodeContext<'_, '_>) -> Result<Values, NodeError> {
    for heads in ["q_num_heads", "kv_num_heads"] {
        if !context.has(heads) {
            return Err(NodeError::MissingAttribute(heads));
        }
    }
    context.ignore("chunk_size");
    read_regular::<LinearAttention>(context)
}

/// Windows came with operator set 25, lengths without padding with 24.
pub(super) fn opset(node: NodeRef<'_>) -> i64 {
    if has_windows(node) {
        25
    } else if node.operands().len() > 6 {
        24
    } else {
        23
    }
}

/// Windows are written only where there are any.
pub(super) fn write(node: &mut WriteNode<'_>) -> Result<(), WriteError> {
    let windows = has_windows(node.node);
    let mut attributes = node.attributes(&[])?;
    attributes.retain(|attribute| {
        attribute.name != WITH_QK && (windows || !attribute.name.ends_with("_window_size"))
    });
    node.emit(attributes);
    Ok(())
}

fn has_windows(node: NodeRef<'_>) -> bool {
    node.is::<Attention>().is_some_and(|op| op.left_window_size >= 0 || op.right_window_size >= 0)
}
