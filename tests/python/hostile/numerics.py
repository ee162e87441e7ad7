"""Arithmetic at the edge: legal models whose values overflow, divide by zero or point outside of a tensor."""

from onnx import TensorProto, ValueInfoProto, helper

from .case import ACCEPTED, SURVIVED, Case, floats, graph_of, ints, node, with_inferred_outputs

SMALLEST = -(2**63)
# The shared operand of the integer cases: values without a counterpart of the other sign, and zero.
EDGES = ints("edges", [SMALLEST, -1, 0, 2**63 - 1])


def cases():
    return integers() + conversions() + indices() + empty()


def runs(name, what, op_node, *initializers, exit=ACCEPTED, contains=()):
    """A case that computes one node."""
    outputs = [ValueInfoProto(name=result) for result in op_node.output]
    graph = graph_of([op_node], outputs=outputs, initializers=initializers)
    return Case(f"{name}.onnx", what, with_inferred_outputs(graph), contains, exit=exit, command="run")


def integers():
    zero, minus = ints("other", [0]), ints("other", [-1])
    by = ["edges", "other"]
    shift = helper.make_tensor("bits", TensorProto.UINT32, [2], [1, 2**31])
    far = helper.make_tensor("other", TensorProto.UINT32, [1], [200])
    return [
        runs(
            "divide_by_zero",
            "integers divided by zero, which the standard leaves open",
            node("Div", by, ["y"]),
            EDGES,
            zero,
            exit=SURVIVED,
        ),
        runs("divide_smallest", "the smallest integer divided by -1", node("Div", by, ["y"]), EDGES, minus),
        runs("modulo_zero", "the remainder of a division by zero", node("Mod", by, ["y"]), EDGES, zero, exit=SURVIVED),
        runs("modulo_smallest", "the remainder of the smallest integer and -1", node("Mod", by, ["y"]), EDGES, minus),
        runs("add_wraps", "a sum beyond 64 bits", node("Add", ["edges", "edges"], ["y"]), EDGES),
        runs("multiply_wraps", "a product beyond 64 bits", node("Mul", ["edges", "edges"], ["y"]), EDGES),
        runs("negate_smallest", "the smallest integer negated", node("Neg", ["edges"], ["y"]), EDGES),
        runs("magnitude_smallest", "the magnitude of the smallest integer", node("Abs", ["edges"], ["y"]), EDGES),
        runs("negative_power", "an integer to a negative power", node("Pow", by, ["y"]), EDGES, minus, exit=SURVIVED),
        runs("sum_wraps", "a reduction beyond 64 bits", node("ReduceSum", ["edges"], ["y"]), EDGES),
        runs(
            "running_sum_wraps",
            "a running sum beyond 64 bits",
            node("CumSum", ["edges", "other"], ["y"]),
            EDGES,
            ints("other", [0]),
            exit=SURVIVED,
        ),
        runs(
            "shift_far",
            "bits shifted further than there are",
            node("BitShift", ["bits", "other"], ["y"], direction="LEFT"),
            shift,
            far,
            exit=SURVIVED,
        ),
    ]


def conversions():
    wide = floats("wide", [6], [float("nan"), float("inf"), float("-inf"), 1e30, -1e30, -0.0])
    scale, tiny = floats("scale", [], [0.0]), floats("scale", [], [1e-45])
    zero_point = helper.make_tensor("zero", TensorProto.UINT8, [], [0])
    quantize = node("QuantizeLinear", ["wide", "scale", "zero"], ["y"])
    spread = node("Range", ["start", "limit", "step"], ["y"])
    steps = [floats("start", [], [0.0]), floats("limit", [], [float("nan")]), floats("step", [], [1.0])]
    return [
        runs(
            "cast_int8",
            "floats far outside of int8, and those that are no number",
            node("Cast", ["wide"], ["y"], to=TensorProto.INT8),
            wide,
        ),
        runs("cast_uint64", "floats far outside of uint64", node("Cast", ["wide"], ["y"], to=TensorProto.UINT64), wide),
        runs(
            "cast_float8",
            "floats far outside of an 8-bit float",
            node("Cast", ["wide"], ["y"], to=TensorProto.FLOAT8E4M3FN),
            wide,
        ),
        runs("cast_int4", "floats far outside of int4", node("Cast", ["wide"], ["y"], to=TensorProto.INT4), wide),
        runs("quantize_by_zero", "a quantization with scale zero", quantize, wide, scale, zero_point, exit=SURVIVED),
        runs("quantize_by_tiny", "a quantization with the smallest scale", quantize, wide, tiny, zero_point),
        runs("nan_range", "a range to a limit that is no number", spread, *steps, exit=SURVIVED),
        runs("softmax_infinities", "a softmax over infinities", node("Softmax", ["wide"], ["y"]), wide),
        runs(
            "top_nan",
            "the largest of values that have no order",
            node("TopK", ["wide", "k"], ["y", "z"]),
            wide,
            ints("k", [3]),
        ),
    ]


def indices():
    far, column = ints("far", [5]), ints("column", [0, 9])
    pair = helper.make_tensor("pair", TensorProto.INT64, [1, 2], [0, SMALLEST])
    update = floats("update", [1], [1.0])
    grid = helper.make_tensor("grid", TensorProto.INT64, [2, 2], [0, 1, 2, -3])
    return [
        runs("gather_far", "row 5 of 2", node("Gather", ["x", "far"], ["y"]), far, exit=(2,), contains=("the_gather",)),
        runs(
            "gather_elements_far",
            "elements that are not there",
            node("GatherElements", ["x", "grid"], ["y"]),
            grid,
            exit=(2,),
            contains=("the_gatherelements",),
        ),
        runs(
            "gather_nd_far",
            "the smallest integer as an index",
            node("GatherND", ["x", "pair"], ["y"]),
            pair,
            exit=(2,),
            contains=("the_gathernd",),
        ),
        runs(
            "gather_nd_long",
            "more indices than there are axes",
            node("GatherND", ["x", "long"], ["y"]),
            ints("long", [0, 0, 0]),
            exit=(2,),
            contains=("the_gathernd",),
        ),
        runs(
            "scatter_nd_far",
            "an update outside of the tensor",
            node("ScatterND", ["x", "pair", "update"], ["y"]),
            pair,
            update,
            exit=(2,),
            contains=("the_scatternd",),
        ),
        runs(
            "scatter_elements_far",
            "updates outside of the tensor",
            node("ScatterElements", ["x", "grid", "x"], ["y"]),
            grid,
            exit=(2,),
            contains=("the_scatterelements",),
        ),
        runs(
            "one_hot_far",
            "a one-hot vector whose index is not in it, which is all off",
            node("OneHot", ["column", "depth", "ends"], ["y"]),
            column,
            ints("depth", [3]),
            floats("ends", [2], [0.0, 1.0]),
        ),
        runs(
            "slice_far",
            "a slice from the smallest integer to the largest, which is clamped",
            node("Slice", ["x", "from", "to"], ["y"]),
            ints("from", [SMALLEST]),
            ints("to", [2**63 - 1]),
        ),
        runs(
            "slice_back",
            "a slice in steps of the smallest integer",
            node("Slice", ["x", "from", "to", "axes", "steps"], ["y"]),
            ints("from", [2**63 - 1]),
            ints("to", [SMALLEST]),
            ints("axes", [0]),
            ints("steps", [SMALLEST]),
        ),
        runs(
            "trilu_far",
            "a triangle whose diagonal lies at the smallest integer",
            node("Trilu", ["x", "k"], ["y"], upper=1),
            helper.make_tensor("k", TensorProto.INT64, [], [SMALLEST]),
        ),
        runs(
            "shape_far",
            "a part of a shape beyond both of its ends, which is clamped",
            node("Shape", ["x"], ["y"], start=SMALLEST, end=2**63 - 1),
        ),
    ]


def empty():
    none, hollow = floats("none", [0, 2], []), floats("hollow", [2, 0], [])
    pixels = floats("pixels", [1, 2, 0, 4], [])
    resize = node("Resize", ["pixels", "", "", "sizes"], ["y"])
    return [
        runs(
            "empty_product",
            "a product over no elements, which is zero",
            node("MatMul", ["hollow", "none"], ["y"]),
            hollow,
            none,
        ),
        runs("empty_softmax", "a softmax over no elements", node("Softmax", ["hollow"], ["y"]), hollow),
        runs(
            "empty_mean",
            "the mean of nothing",
            node("ReduceMean", ["hollow", "axes"], ["y"]),
            hollow,
            ints("axes", [1]),
            exit=SURVIVED,
        ),
        runs(
            "empty_largest",
            "the position of the largest of nothing",
            node("ArgMax", ["hollow"], ["y"], axis=1),
            hollow,
            exit=SURVIVED,
        ),
        runs("empty_gather", "no rows out of no rows", node("Gather", ["none", "rows"], ["y"]), none, ints("rows", [])),
        runs(
            "empty_resize",
            "an image without rows resized to four",
            resize,
            pixels,
            ints("sizes", [1, 2, 4, 4]),
            exit=SURVIVED,
        ),
        runs(
            "empty_reshape",
            "no elements in another shape",
            node("Reshape", ["none", "sizes"], ["y"], allowzero=1),
            none,
            ints("sizes", [5, 0, 7]),
        ),
        runs(
            "empty_split",
            "no elements in two parts",
            node("Split", ["none"], ["y", "z"], num_outputs=2),
            none,
            exit=SURVIVED,
        ),
    ]
