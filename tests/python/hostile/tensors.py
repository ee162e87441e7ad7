"""Initializers whose declared type, shape and bytes do not fit each other."""

from onnx import SparseTensorProto, TensorProto, helper

from .case import ACCEPTED, HUGE, Case, encode, graph_of, model_of, node, value

ADD = node("Add", ["x", "weights"], ["y"])


def cases():
    return payloads() + shapes() + dtypes() + [sparse()]


def with_weights(**fields):
    """The bytes of `y = Add(x, weights)`, where `fields` are those of the tensor `weights`."""
    fields = {"name": "weights", "dims": [2], "data_type": TensorProto.FLOAT} | fields
    return encode(model_of(graph_of([ADD], initializers=[TensorProto(**fields)])))


def payloads():
    two = {"float_data": [1.0, 2.0]}
    return [
        refused("raw_short", "seven raw bytes where eight are declared", raw_data=bytes(7)),
        refused("raw_long", "nine raw bytes where eight are declared", raw_data=bytes(9)),
        refused("raw_empty", "no data at all where two elements are declared"),
        refused("float_data_short", "one float where two are declared", float_data=[1.0]),
        refused("raw_and_typed", "raw bytes and a list of floats in one tensor", raw_data=bytes(8), **two),
        refused("wrong_field", "int64 elements stored in the field for floats", data_type=TensorProto.INT64, **two),
        refused(
            "int4_short", "five int4 elements in two bytes", data_type=TensorProto.INT4, dims=[5], raw_data=bytes(2)
        ),
        refused(
            "segment",
            "a tensor stored in segments, which no reader implements",
            segment=TensorProto.Segment(begin=0, end=1),
            **two,
        ),
        refused("int8_out_of_range", "300 as an element of int8", data_type=TensorProto.INT8, int32_data=[1, 300]),
    ]


def shapes():
    return [
        refused("negative_dim", "a negative dimension", dims=[-2], raw_data=bytes(8)),
        refused(
            "negative_dims_cancel",
            "two negative dimensions whose product is the length of the data",
            dims=[-2, -1],
            raw_data=bytes(8),
        ),
        refused("huge_dims", "2^40 by 2^40 elements in eight bytes", dims=[HUGE, HUGE], raw_data=bytes(8)),
        refused("large_dims", "2^40 elements in eight bytes: no overflow, only a lie", dims=[HUGE], raw_data=bytes(8)),
        refused(
            "wrapping_dims",
            "dimensions whose product is 2^64, that is 0 after wrapping",
            dims=[2**32, 2**32],
            raw_data=b"",
        ),
        refused("wrapping_bytes", "2^62 elements, whose byte count is 2^64", dims=[2**62], raw_data=b""),
        refused(
            "zero_times_huge",
            "an empty tensor whose other dimensions overflow",
            dims=[2**62, 2**62, 0],
            raw_data=b"",
            exit=(0, 2),
        ),
        refused("many_dims", "a tensor of rank 1,000", dims=[1] * 1000, raw_data=bytes(4), exit=(0, 2)),
        Case(
            "tensor_zero_dim.onnx",
            "an initializer without elements, appended to the input",
            encode(
                model_of(
                    graph_of(
                        [node("Concat", ["x", "weights"], ["y"], axis=0)],
                        initializers=[TensorProto(name="weights", dims=[0, 2], data_type=TensorProto.FLOAT)],
                    )
                )
            ),
            command="run",
            exit=ACCEPTED,
        ),
    ]


def dtypes():
    return [
        refused("unknown_dtype", "a data type that no version of ONNX has", data_type=99, raw_data=bytes(8)),
        refused("undefined_dtype", "the data type UNDEFINED", data_type=TensorProto.UNDEFINED, raw_data=bytes(8)),
        refused("negative_dtype", "a negative data type", data_type=-1, raw_data=bytes(8)),
        refused("string", "a tensor of strings", data_type=TensorProto.STRING, string_data=[b"one", b"two"]),
        refused("complex64", "a tensor of complex numbers", data_type=TensorProto.COMPLEX64, raw_data=bytes(16)),
        refused(
            "mixed_dtypes",
            "an f32 input plus an f16 initializer",
            contains=("the_add",),
            data_type=TensorProto.FLOAT16,
            raw_data=bytes(4),
        ),
        Case("input_dtype_string.onnx", "a graph input of strings", string_input(), ("words",)),
    ]


def refused(name, what, contains=("weights",), exit=(2,), **fields):
    """A case of `with_weights` that has to be refused with a message that names the tensor."""
    return Case(f"tensor_{name}.onnx", what, with_weights(**fields), contains if exit == (2,) else (), exit=exit)


def string_input():
    graph = graph_of([node("Relu", ["x"], ["y"])], inputs=[value("x"), value("words", (2,), TensorProto.STRING)])
    return encode(model_of(graph))


def sparse():
    graph = graph_of([ADD])
    values = helper.make_tensor("weights", TensorProto.FLOAT, [1], [3.0])
    indices = helper.make_tensor("weights_indices", TensorProto.INT64, [1], [2**40])
    graph.sparse_initializer.append(SparseTensorProto(values=values, indices=indices, dims=[2]))
    what = "a sparse initializer whose only element lies outside of it"
    return Case("tensor_sparse.onnx", what, encode(model_of(graph)), ("weights",))
