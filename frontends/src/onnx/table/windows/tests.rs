use quad_ir::graph::NodeRef;
use quad_ir::module::Module;
use quad_ir::ops::OpVariant;

use super::*;
use crate::onnx::proto::AttributeProto;
use crate::onnx::table::one_node::{int, ints, read, word};

/// The only operation `O` of the module.
fn found<O: OpVariant>(module: &Module) -> O {
    let graph = module.main().expect("a graph");
    let mut ops = graph.nodes().filter_map(NodeRef::is::<O>);
    ops.next().expect("the operation is there").clone()
}

fn conv(x: &[i64], attributes: Vec<AttributeProto>) -> Result<Conv, String> {
    read(("Conv", 11), &[x, &[1, 1, 2, 3]], attributes, 1).map(|module| found(&module))
}

#[test]
fn the_odd_element_of_padding_goes_where_asked() {
    let pads = |mode: &str| conv(&[1, 1, 5, 5], vec![word("auto_pad", mode)]).expect("is read").pads;
    assert_eq!(pads("SAME_UPPER"), [0, 1, 1, 1]);
    assert_eq!(pads("SAME_LOWER"), [1, 1, 0, 1]);
    assert!(pads("VALID").is_empty());
    assert!(pads("NOTSET").is_empty());
}

#[test]
fn strides_leave_padding_for_what_does_not_divide() {
    let attributes = || vec![word("auto_pad", "SAME_UPPER"), ints("strides", &[2, 2])];
    assert_eq!(conv(&[1, 1, 5, 6], attributes()).expect("is read").pads, [0, 0, 1, 1]);
    let refusal = conv(&[1, 1, 5, -1], attributes()).expect_err("the size is not known");
    assert!(refusal.contains("spatial axis 1"), "{refusal}");
    let unit =
        conv(&[1, 1, 5, -1], vec![word("auto_pad", "SAME_UPPER")]).expect("does not depend on the size");
    assert_eq!(unit.pads, [0, 1, 1, 1]);
}

#[test]
fn a_kernel_shape_that_is_not_that_of_the_kernel_is_refused() {
    assert!(conv(&[1, 1, 5, 5], vec![ints("kernel_shape", &[2, 3])]).is_ok());
    let refusal = conv(&[1, 1, 5, 5], vec![ints("kernel_shape", &[3, 3])]).expect_err("the kernel is 2 by 3");
    assert!(refusal.contains("kernel_shape [3, 3]"), "{refusal}");
    assert!(conv(&[1, 1, 5, 5], vec![word("auto_pad", "SAME")]).is_err());
}

#[test]
fn a_stated_output_becomes_padding_on_either_side() {
    let transposed = |attributes: Vec<AttributeProto>| {
        let module = read(("ConvTranspose", 11), &[&[1, 1, 3], &[1, 1, 4]], attributes, 1)?;
        Ok::<ConvTranspose, String>(found(&module))
    };
    // Three elements, 4 apart, under a kernel of 4 make 12.
    let stride = || ints("strides", &[4]);
    let smaller = transposed(vec![stride(), ints("output_shape", &[9])]).expect("is read");
    assert_eq!((smaller.pads, smaller.output_padding), (vec![2, 1], vec![0]));
    let upper = transposed(vec![stride(), ints("output_shape", &[9]), word("auto_pad", "SAME_UPPER")]);
    assert_eq!(upper.expect("is read").pads, [1, 2]);
    let larger = transposed(vec![stride(), ints("output_shape", &[13])]).expect("is read");
    assert_eq!((larger.pads, larger.output_padding), (vec![0, 0], vec![1]));
    let derived = transposed(vec![ints("strides", &[5]), word("auto_pad", "SAME_UPPER")]);
    assert!(derived.expect_err("runtimes differ").contains("auto_pad to 15 elements where 14 are computed"));
}

#[test]
fn pooling_without_padding_does_not_round_up() {
    let pool = |attributes: Vec<AttributeProto>| {
        let attributes = attributes.into_iter().chain([ints("kernel_shape", &[2]), ints("strides", &[2])]);
        read(("MaxPool", 12), &[&[1, 1, 5]], attributes.collect(), 2).map(|module| found::<MaxPool>(&module))
    };
    assert!(pool(vec![int("ceil_mode", 1)]).expect("is read").ceil_mode);
    assert!(pool(vec![int("ceil_mode", 1), word("auto_pad", "VALID")]).is_err());
}

#[test]
fn pooling_of_planes_reduces_the_spatial_axes() {
    let shape = |op_type: &str, attributes| {
        let module = read((op_type, 13), &[&[-1, 3, 4, 5]], attributes, 1).expect("is read");
        let graph = module.main().expect("a graph");
        let ty = graph.value(graph.outputs()[0].value).ty().clone();
        ty.shape.iter().map(Dim::known).collect::<Vec<_>>()
    };
    let expected = [None, Some(3), Some(1), Some(1)];
    assert_eq!(shape("GlobalAveragePool", Vec::new()), expected);
    assert_eq!(shape("GlobalMaxPool", Vec::new()), expected);
    for order in 1..4 {
        assert_eq!(shape("GlobalLpPool", vec![int("p", order)]), expected);
    }
}
