//! Normalizations.

use quad_ir::graph::ValueId;
use quad_ir::ops::{
    BatchNorm, Expand, GroupNorm, InstanceNorm, LayerNorm, LpNorm, Lrn, MeanVarianceNorm, Reshape, RmsNorm,
};
use quad_ir::types::Dim;

use super::{Row, bf16_since_22, op, read_regular};
use crate::onnx::context::{NodeContext, Values};
use crate::onnx::error::NodeError;

pub(super) const ROWS: &[Row] = &[
    op::<BatchNorm>("BatchNormalization").reading(batch_norm),
    op::<InstanceNorm>("InstanceNormalization").newer(bf16_since_22),
    op::<LayerNorm>("LayerNormalization"),
    op::<GroupNorm>("GroupNormalization").reading(group_norm).since(21),
    op::<RmsNorm>("RMSNormalization").reading(rms_norm).since(23),
    op::<Lrn>("LRN"),
    op::<LpNorm>("LpNormalization").newer(bf16_since_22),
    op::<MeanVarianceNorm>("MeanVarianceNormalization").reading(mean_variance_norm),
];

/// Before opset 14 the number of outputs said whether statistics are taken from the batch.
fn batch_norm(context: &mut NodeContext<'_, '_>) -> Result<Values, NodeError> {
    if context.opset() < 14 && context.output_count() > 1 {
        return Err(context.unsupported("training mode before opset 14"));
    }
    if context.int("spatial")?.is_some_and(|spatial| spatial != 1) {
        return Err(context.unsupported("statistics for each element, `spatial` other than 1"));
    }
    if context.opset() < 7 && !context.flag("is_test")? {
        return Err(context.unsupported("training mode before opset 14"));
    }
    context.ignore("consumed_inputs");
    read_regular::<BatchNorm>(context)
}

/// Before opset 21 scale and bias were those of groups, not of channels.
fn group_norm(context: &mut NodeContext<'_, '_>) -> Result<Values, NodeError> {
    // Sums are formed in `f64` whatever precision this asks for.
    context.ignore("stash_type");
    let op = context.op::<GroupNorm>()?;
    let (x, mut scale, mut bias) = (context.operand(0)?, context.operand(1)?, context.operand(2)?);
    if context.opset() < 21 {
        scale = per_channel(context, scale, op.num_groups)?;
        bias = per_channel(context, bias, op.num_groups)?;
    }
    Ok(Values::from_slice(&[context.value(op, &[x, scale, bias])?]))
}

/// Repeats the element of each group for its channels.
fn per_channel(context: &mut NodeContext<'_, '_>, groups: ValueId, count: u64) -> Result<ValueId, NodeError> {
    let channels = context.ty(context.operand(0)?).shape.get(1).and_then(Dim::known);
    let channels = channels.filter(|channels| count > 0 && channels % count == 0);
    let Some(channels) = channels else {
        return Err(context
            .unsupported("a number of channels that is not known, or that the groups do not share evenly"));
    };
    if channels == count {
        return Ok(groups);
    }
    let [column, table, row] = [[count, 1].as_slice(), &[count, channels / count], &[channels]]
        .map(|sizes| sizes.iter().map(|size| size.cast_signed()).collect::<Vec<i64>>());
    let (column, table, row) =
        (context.integers(&column)?, context.integers(&table)?, context.integers(&row)?);
    let column = context.value(Reshape::default(), &[groups, column])?;
    let table = context.value(Expand, &[column, table])?;
    context.value(Reshape::default(), &[table, row])
}

/// Sums are formed in `f64` whatever precision the node asks for.
fn rms_norm(context: &mut NodeContext<'_, '_>) -> Result<Values, NodeError> {
    context.ignore("stash_type");
    read_regular::<RmsNorm>(context)
}

/// An empty list of axes means all.
fn mean_variance_norm(context: &mut NodeContext<'_, '_>) -> Result<Values, NodeError> {
    let mut op = context.op::<MeanVarianceNorm>()?;
    let x = context.operand(0)?;
    if op.axes.is_empty() {
        op.axes = (0..context.ty(x).rank() as i64).collect();
    }
    Ok(Values::from_slice(&[context.value(op, &[x])?]))
}

#[cfg(test)]
mod tests {
    use quad_ir::interpret::{Interpreter, NamedTensors};
    use quad_ir::tensor::Tensor;

    use crate::onnx::table::one_node::{int, ints, read};

    fn tensor(sizes: &[usize], elements: &[f32]) -> Tensor {
        Tensor::from_vec(sizes, elements.to_vec()).expect("as many as the sizes say")
    }

    #[test]
    fn scales_of_groups_become_scales_of_channels() {
        let operands: &[&[i64]] = &[&[1, 4, 1], &[2], &[2]];
        let module =
            read(("GroupNormalization", 18), operands, vec![int("num_groups", 2)], 1).expect("is read");
        let inputs = NamedTensors::from([
            ("x0".to_owned(), tensor(&[1, 4, 1], &[-1e3, 1e3, -1e3, 1e3])),
            ("x1".to_owned(), tensor(&[2], &[1.0, 10.0])),
            ("x2".to_owned(), tensor(&[2], &[0.0, 5.0])),
        ]);
        let outputs = Interpreter::new(module.main().expect("a graph")).run(&inputs).expect("runs");
        assert_eq!(outputs["y0"], tensor(&[1, 4, 1], &[-1.0, 1.0, -5.0, 15.0]));
    }

    #[test]
    fn groups_need_a_known_number_of_channels_before_opset_21() {
        let operands: &[&[i64]] = &[&[1, -1, 1], &[2], &[2]];
        let refusal = read(("GroupNormalization", 18), operands, vec![int("num_groups", 2)], 1);
        assert!(refusal.expect_err("how often to repeat?").contains("a number of channels"));
    }

    #[test]
    fn training_is_read_where_an_attribute_asks_for_it() {
        let operands: &[&[i64]] = &[&[2, 3], &[3], &[3], &[3], &[3]];
        let name = "BatchNormalization";
        assert!(read((name, 9), operands, Vec::new(), 1).is_ok());
        assert!(read((name, 9), operands, Vec::new(), 3).expect_err("training").contains("training mode"));
        assert!(read((name, 15), operands, vec![int("training_mode", 1)], 3).is_ok());
        assert!(read((name, 15), operands, Vec::new(), 3).is_err(), "there is one output only");
        assert!(read((name, 7), operands, vec![int("spatial", 0)], 1).is_err());
    }

    #[test]
    fn no_axes_are_all_axes() {
        let module = read(("MeanVarianceNormalization", 13), &[&[2, 1]], vec![ints("axes", &[])], 1);
        let inputs = NamedTensors::from([("x0".to_owned(), tensor(&[2, 1], &[1.0, 3.0]))]);
        let module = module.expect("is read");
        let outputs = Interpreter::new(module.main().expect("a graph")).run(&inputs).expect("runs");
        assert_eq!(outputs["y0"], tensor(&[2, 1], &[-1.0, 1.0]));
    }
}
