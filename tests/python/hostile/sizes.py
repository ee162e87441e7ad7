"""Operators that ask for tensors no machine can hold, by overflow or by honest size."""

from onnx import TensorProto, helper

from .case import HUGE, TEBIBYTE, Case, encode, floats, graph_of, ints, model_of, node, simple, value

# An output whose shape is left to be found out.
OPEN = value("y", None)


def cases():
    return declared() + overflowing() + enormous()


def declared():
    many = [2**20, 2**20, 2**20, 2**20]
    return [
        Case("huge_input.onnx", "a graph input of 2^40 by 2^40 elements", reading((HUGE, HUGE)), ("pixels",)),
        Case("huge_input_many.onnx", "a graph input of four dimensions of 2^20", reading(many), ("pixels",)),
        Case("negative_input.onnx", "a graph input with a negative dimension", reading((-3, 2)), ("pixels",)),
    ]


def reading(shape):
    """The bytes of a model whose only input has this shape."""
    return simple([node("Relu", ["pixels"], ["y"])], inputs=[value("pixels", shape)], outputs=[OPEN])


def with_sizes(name, what, op_node, *initializers, contains=None, command="convert"):
    """A case that must name the node which asks for too much."""
    content = simple([op_node], outputs=[OPEN], initializers=initializers)
    return Case(f"{name}.onnx", what, content, contains or (op_node.name,), command=command)


def fill(shape):
    return node("ConstantOfShape", ["sizes"], ["y"]), ints("sizes", shape)


def expand(shape):
    return node("Expand", ["x", "sizes"], ["y"]), ints("sizes", shape)


def tile(repeats):
    return node("Tile", ["x", "sizes"], ["y"]), ints("sizes", repeats)


def pad(pads):
    return node("Pad", ["x", "sizes"], ["y"]), ints("sizes", pads)


def resize_to(shape):
    return node("Resize", ["x", "", "", "sizes"], ["y"]), ints("sizes", shape)


def resize_by(scales):
    return node("Resize", ["x", "", "scales"], ["y"]), floats("scales", [len(scales)], scales)


def reshape(shape):
    return node("Reshape", ["x", "sizes"], ["y"]), ints("sizes", shape)


def scalar(name, number):
    return helper.make_tensor(name, TensorProto.INT64, [], [number])


def overflowing():
    """Element counts beyond 64 bits, or sizes that are no sizes: refused while the types are inferred."""
    span = node("Range", ["start", "limit", "step"], ["y"])
    span_ends = [scalar("start", -(2**63)), scalar("limit", 2**63 - 1), scalar("step", 1)]
    hot = node("OneHot", ["index", "depth", "ends"], ["y"])
    hot_operands = [scalar("depth", 2**62), ints("index", [0] * 8), floats("ends", [2], [0.0, 1.0])]
    return [
        with_sizes("huge_constant_of_shape", "a constant of 2^40 by 2^40 elements", *fill([HUGE, HUGE])),
        with_sizes("negative_constant_of_shape", "a constant of negative size", *fill([-1, 4])),
        with_sizes("huge_expand", "an expansion to 2^40 by 2^40 elements", *expand([HUGE, HUGE, 1, 1])),
        with_sizes("negative_expand", "an expansion to a negative size", *expand([-1, 2])),
        with_sizes("huge_tile", "2^40 by 2^40 copies", *tile([HUGE, HUGE])),
        with_sizes("wrapping_tile", "2^63 - 1 copies of two rows", *tile([2**63 - 1, 1])),
        with_sizes("negative_tile", "a negative number of copies", *tile([-1, 1])),
        with_sizes("huge_pad", "2^62 elements on every side", *pad([2**62] * 4)),
        with_sizes("wrapping_pad", "2^63 - 1 elements on every side", *pad([2**63 - 1] * 4)),
        with_sizes("negative_pad", "more elements cut off than there are", *pad([-2, 0, -1, 0])),
        with_sizes("short_pad", "pads for one of two axes", *pad([1, 1])),
        with_sizes("huge_resize", "a resize to 2^40 by 2^40", *resize_to([HUGE, HUGE])),
        with_sizes("negative_resize", "a resize to a negative size", *resize_to([-4, 4])),
        with_sizes("huge_scales", "a resize by a factor of 1e30", *resize_by([1e30, 1e30])),
        with_sizes("zero_scales", "a resize by a factor of zero", *resize_by([0.0, 1.0])),
        with_sizes("negative_scales", "a resize by a negative factor", *resize_by([-1.0, 1.0])),
        with_sizes("nan_scales", "a resize by a factor that is no number", *resize_by([float("nan"), 1.0])),
        with_sizes("infinite_scales", "a resize by an infinite factor", *resize_by([float("inf"), 1.0])),
        with_sizes(
            "huge_reshape", "a reshape to sizes whose product wraps around to the right one", *reshape([2**62 + 1, 4])
        ),
        with_sizes("two_unknown_reshape", "a reshape with two sizes to be worked out", *reshape([-1, -1])),
        with_sizes("negative_reshape", "a reshape to a negative size", *reshape([-2, -2])),
        with_sizes("uneven_reshape", "a reshape of four elements to three rows", *reshape([3, -1])),
        with_sizes("huge_range", "all numbers of 64 bits", span, *span_ends),
        with_sizes(
            "zero_step_range",
            "a range that takes steps of zero",
            span,
            scalar("start", 0),
            scalar("limit", 9),
            scalar("step", 0),
        ),
        with_sizes("huge_one_hot", "eight one-hot vectors of 2^62 elements", hot, *hot_operands),
    ]


def enormous():
    """Legal types of a tebibyte or more: the model can be read, running it has to be refused."""
    outer = [
        node("Expand", ["x", "sizes"], ["wide"], name="the_expand"),
        node("Transpose", ["wide"], ["tall"], perm=[1, 0]),
        node("MatMul", ["tall", "wide"], ["y"]),
    ]
    column = graph_of(outer, inputs=[value("x", (2, 1))], outputs=[OPEN], initializers=[ints("sizes", [2, 2**20])])
    reduced = [node("Expand", ["x", "sizes"], ["wide"]), node("ReduceSum", ["wide"], ["y"], keepdims=0)]
    return [
        with_sizes("tebibyte_constant", "a constant of one tebibyte", *fill([TEBIBYTE]), command="run"),
        with_sizes("tebibyte_expand", "an expansion to four tebibytes", *expand([TEBIBYTE, 2, 2]), command="run"),
        with_sizes("tebibyte_tile", "two tebibytes of copies", *tile([TEBIBYTE // 2, 1]), command="run"),
        with_sizes("tebibyte_pad", "a tebibyte of padding", *pad([TEBIBYTE // 2, 0, 0, 0]), command="run"),
        with_sizes("tebibyte_resize", "a resize to a tebibyte", *resize_to([TEBIBYTE // 2, 2]), command="run"),
        Case(
            "tebibyte_matmul.onnx",
            "a product of two small matrices that has four tebibytes",
            encode(model_of(column)),
            ("the_matmul",),
            command="run",
            inputs="column.npz",
        ),
        Case(
            "tebibyte_between.onnx",
            "a tebibyte between a small input and a small output",
            simple(reduced, outputs=[OPEN], initializers=[ints("sizes", [TEBIBYTE // 4, 2, 2])]),
            ("the_expand",),
            command="run",
        ),
    ]
