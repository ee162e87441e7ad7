#!/usr/bin/env python3
"""Writes tiny models, each with one thing that exporters do: make_small_models.py OUTDIR.

They are committed as `tests/fixtures/small`; `--check` compares OUTDIR with what would be written instead of writing it.
"""

import argparse
import pathlib
import sys

import numpy as np
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT
OPSET = 18


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("outdir", type=pathlib.Path)
    parser.add_argument("--check", action="store_true", help="fail when OUTDIR is not what would be written")
    arguments = parser.parse_args()
    files = contents()
    if arguments.check:
        return check(arguments.outdir, files)
    arguments.outdir.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (arguments.outdir / name).write_bytes(content)
    print(f"{arguments.outdir}: {len(files)} files")
    return 0


def check(outdir, files):
    """Reports every file that is missing, different or left over."""
    present = {path.name for path in outdir.iterdir()}
    wrong = present ^ files.keys()
    wrong |= {name for name in files.keys() & present if (outdir / name).read_bytes() != files[name]}
    for name in sorted(wrong):
        print(f"{outdir / name}: not as make_small_models.py writes it", file=sys.stderr)
    return 1 if wrong else 0


def contents():
    """All files by name."""
    makers = (
        attention,
        conv_block,
        dynamic_batch,
        external,
        functions,
        if_constant,
        int4_weight,
        lora_linear,
        loop_constant,
        old_forms,
        quantized_conv,
    )
    files = {}
    for maker in makers:
        made = maker()
        model, extra = made if isinstance(made, tuple) else (made, {})
        files[f"{maker.__name__}.onnx"] = model.SerializeToString(deterministic=True)
        files |= extra
    return files


def attention():
    """Two heads of self-attention, heads split and joined by Reshape and Transpose."""
    nodes = [
        helper.make_node("Reshape", ["x", "split"], ["heads"], "/attn/Reshape"),
        helper.make_node("Transpose", ["heads"], ["q"], "/attn/Transpose", perm=[0, 2, 1, 3]),
        helper.make_node("Transpose", ["heads"], ["k"], "/attn/Transpose_1", perm=[0, 2, 3, 1]),
        helper.make_node("MatMul", ["q", "k"], ["scores"], "/attn/MatMul"),
        helper.make_node("Mul", ["scores", "scale"], ["scaled"], "/attn/Mul"),
        helper.make_node("Softmax", ["scaled"], ["weights"], "/attn/Softmax", axis=-1),
        helper.make_node("MatMul", ["weights", "q"], ["mixed"], "/attn/MatMul_1"),
        helper.make_node("Transpose", ["mixed"], ["joined"], "/attn/Transpose_2", perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", ["joined", "join"], ["y"], "/attn/Reshape_1"),
    ]
    constants = {
        "split": np.array([0, 0, 2, 2], np.int64),
        "join": np.array([0, 0, 4], np.int64),
        "scale": np.float32(0.5),
    }
    return model(nodes, [("x", FLOAT, [1, 3, 4])], [("y", FLOAT, [1, 3, 4])], constants)


def conv_block():
    """Convolution, group normalization as the legacy exporter spells it, and SiLU as a product."""
    nodes = [
        helper.make_node("Conv", ["x", "conv.weight", "conv.bias"], ["c"], "/conv/Conv", kernel_shape=[3, 3], pads=[1] * 4),
        helper.make_node("Reshape", ["c", "groups"], ["g"], "/norm/Reshape"),
        helper.make_node("InstanceNormalization", ["g", "ones", "zeros"], ["i"], "/norm/InstanceNormalization"),
        helper.make_node("Shape", ["c"], ["sizes"], "/norm/Shape"),
        helper.make_node("Reshape", ["i", "sizes"], ["n"], "/norm/Reshape_1"),
        helper.make_node("Mul", ["n", "norm.weight"], ["m"], "/norm/Mul"),
        helper.make_node("Add", ["m", "norm.bias"], ["a"], "/norm/Add"),
        helper.make_node("Sigmoid", ["a"], ["s"], "/act/Sigmoid"),
        helper.make_node("Mul", ["a", "s"], ["y"], "/act/Mul"),
    ]
    constants = {
        "conv.weight": eighths(4, 2, 3, 3),
        "conv.bias": eighths(4),
        "groups": np.array([0, 2, -1], np.int64),
        "ones": np.ones(2, np.float32),
        "zeros": np.zeros(2, np.float32),
        "norm.weight": eighths(4, 1, 1),
        "norm.bias": eighths(4, 1, 1),
    }
    return model(nodes, [("x", FLOAT, [1, 2, 2, 2])], [("y", FLOAT, [1, 4, 2, 2])], constants)


def dynamic_batch():
    """A flattening whose target shape is computed from the batch size, as exporters do it."""
    nodes = [
        helper.make_node("Shape", ["x"], ["sizes"], "/Shape"),
        helper.make_node("Gather", ["sizes", "first"], ["batch"], "/Gather", axis=0),
        helper.make_node("Unsqueeze", ["batch", "axes"], ["leading"], "/Unsqueeze"),
        helper.make_node("Concat", ["leading", "rest"], ["target"], "/Concat", axis=0),
        helper.make_node("Reshape", ["x", "target"], ["y"], "/Reshape"),
    ]
    constants = {
        "first": np.array(0, np.int64),
        "axes": np.array([0], np.int64),
        "rest": np.array([-1], np.int64),
    }
    return model(nodes, [("x", FLOAT, ["batch", 2, 3])], [("y", FLOAT, ["batch", 6])], constants)


def external():
    """A weight whose elements are in a file beside the model."""
    weight = eighths(2, 3)
    made = model(
        [helper.make_node("MatMul", ["x", "weight"], ["y"], "/MatMul")],
        [("x", FLOAT, [1, 2])],
        [("y", FLOAT, [1, 3])],
        {"weight": weight},
    )
    tensor = made.graph.initializer[0]
    data = b"\0" * 16 + tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "external.bin"), ("offset", "16"), ("length", str(weight.nbytes))):
        tensor.external_data.add(key=key, value=value)
    return made, {"external.bin": data}


def functions():
    """A function of the model's own, called twice with different attributes."""
    body = [
        helper.make_node("Constant", [], ["factor"]),
        helper.make_node("Mul", ["v", "factor"], ["scaled"]),
        helper.make_node("Relu", ["scaled"], ["w"]),
    ]
    attribute = body[0].attribute.add(name="value_float", type=1)
    attribute.ref_attr_name = "by"
    function = helper.make_function(
        "local", "ScaledRelu", ["v"], ["w"], body, [helper.make_opsetid("", OPSET)], attributes=["by"]
    )
    nodes = [
        helper.make_node("ScaledRelu", ["x"], ["h"], "first", domain="local", by=2.0),
        helper.make_node("ScaledRelu", ["h"], ["y"], "second", domain="local", by=0.5),
    ]
    made = model(nodes, [("x", FLOAT, [4])], [("y", FLOAT, [4])], {})
    made.functions.append(function)
    made.opset_import.append(helper.make_opsetid("local", 1))
    return made


def if_constant():
    """A branch whose condition is a constant: only one side matters."""
    branch = lambda op: helper.make_graph(  # noqa: E731
        [helper.make_node(op, ["x"], ["inner"], f"/{op}")],
        op,
        [],
        [helper.make_tensor_value_info("inner", FLOAT, [2])],
    )
    nodes = [helper.make_node("If", ["training"], ["y"], "/If", then_branch=branch("Neg"), else_branch=branch("Abs"))]
    return model(nodes, [("x", FLOAT, [2])], [("y", FLOAT, [2])], {"training": np.array(False)})


def int4_weight():
    """A weight of 4-bit integers with a scale for every two rows, dequantized on the way."""
    nodes = [
        helper.make_node("DequantizeLinear", ["weight", "scales"], ["real"], "/Dequantize", axis=0, block_size=2),
        helper.make_node("MatMul", ["x", "real"], ["y"], "/MatMul"),
    ]
    made = model(
        nodes, [("x", FLOAT, [1, 4])], [("y", FLOAT, [1, 3])], {"scales": eighths(2, 3)}, opset=21, ir_version=10
    )
    elements = [-8, 7, 1, 0, 2, -3, 4, -5, 6, -7, 5, 3]
    made.graph.initializer.append(helper.make_tensor("weight", TensorProto.INT4, [4, 3], elements))
    return made


def lora_linear():
    """A linear layer with an adapter beside it, as PEFT's layers are exported before they are merged."""
    nodes = [
        helper.make_node("MatMul", ["x", "onnx::MatMul_7"], ["base"], "/to_q/base_layer/MatMul"),
        helper.make_node("MatMul", ["x", "onnx::MatMul_8"], ["down"], "/to_q/lora_A/MatMul"),
        helper.make_node("MatMul", ["down", "onnx::MatMul_9"], ["up"], "/to_q/lora_B/MatMul"),
        helper.make_node("Mul", ["up", "scaling"], ["scaled"], "/to_q/Mul"),
        helper.make_node("Add", ["base", "scaled"], ["y"], "/to_q/Add"),
    ]
    constants = {
        "onnx::MatMul_7": eighths(4, 3),
        "onnx::MatMul_8": eighths(4, 2),
        "onnx::MatMul_9": eighths(2, 3),
        "scaling": np.float32(0.5),
    }
    return model(nodes, [("x", FLOAT, [2, 4])], [("y", FLOAT, [2, 3])], constants)


def loop_constant():
    """A loop with a constant number of turns, each of which doubles a value and keeps it."""
    body = helper.make_graph(
        [
            helper.make_node("Add", ["before", "before"], ["after"], "/body/Add"),
            helper.make_node("Identity", ["go"], ["still"], "/body/Identity"),
            helper.make_node("Identity", ["after"], ["kept"], "/body/Identity_1"),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("before", FLOAT, [2]),
        ],
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("after", FLOAT, [2]),
            helper.make_tensor_value_info("kept", FLOAT, [2]),
        ],
    )
    nodes = [helper.make_node("Loop", ["turns", "always", "x"], ["last", "y"], "/Loop", body=body)]
    constants = {"turns": np.array(3, np.int64), "always": np.array(True)}
    return model(nodes, [("x", FLOAT, [2])], [("last", FLOAT, [2]), ("y", FLOAT, [3, 2])], constants)


def old_forms():
    """Operator set 9: axes and pads as attributes, dropout that still has a ratio, the older name of resizing."""
    nodes = [
        helper.make_node("Pad", ["x"], ["p"], "/Pad", pads=[0, 0, 0, 0, 0, 0, 0, 1], mode="constant", value=0.5),
        helper.make_node("Dropout", ["p"], ["d"], "/Dropout", ratio=0.5),
        helper.make_node("Upsample", ["d", "scales"], ["u"], "/Upsample", mode="nearest"),
        helper.make_node("ReduceMean", ["u"], ["m"], "/ReduceMean", axes=[2], keepdims=0),
        helper.make_node("Unsqueeze", ["m"], ["y"], "/Unsqueeze", axes=[0]),
    ]
    constants = {"scales": np.array([1, 1, 2, 2], np.float32)}
    made = model(nodes, [("x", FLOAT, [1, 2, 2, 1])], [("y", FLOAT, [1, 1, 2, 4])], constants, opset=9, ir_version=4)
    # Files of that time list initializers among the inputs.
    made.graph.input.append(helper.make_tensor_value_info("scales", FLOAT, [4]))
    return made


def quantized_conv():
    """A convolution between quantization and dequantization, its weight in 8 bits with a scale for each channel."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "x_scale", "x_zero"], ["xq"], "/x/Quantize"),
        helper.make_node("DequantizeLinear", ["xq", "x_scale", "x_zero"], ["xd"], "/x/Dequantize"),
        helper.make_node("DequantizeLinear", ["w", "w_scale", "w_zero"], ["wd"], "/w/Dequantize", axis=0),
        helper.make_node("Conv", ["xd", "wd"], ["y"], "/Conv", kernel_shape=[1, 1]),
    ]
    constants = {
        "x_scale": np.float32(0.125),
        "x_zero": np.uint8(128),
        "w": np.array([3, -2, 5, 127], np.int8).reshape(2, 2, 1, 1),
        "w_scale": np.array([0.5, 0.25], np.float32),
        "w_zero": np.zeros(2, np.int8),
    }
    return model(nodes, [("x", FLOAT, [1, 2, 2, 1])], [("y", FLOAT, [1, 2, 2, 1])], constants)


def eighths(*sizes):
    """Multiples of an eighth around zero, so that sums of their products are exact."""
    count = int(np.prod(sizes))
    return ((np.arange(count) * 5 % 17 - 8) / 8).astype(np.float32).reshape(sizes)


def model(nodes, inputs, outputs, constants, opset=OPSET, ir_version=8):
    graph = helper.make_graph(
        nodes,
        "main",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(*value) for value in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=ir_version,
        producer_name="make_small_models.py",
    )


if __name__ == "__main__":
    sys.exit(main())
