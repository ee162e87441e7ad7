"""Files that are no model, or no well-formed protobuf."""

import io
import random

import numpy as np
from onnx import TensorProto

from . import wire
from .case import ACCEPTED, Case, encode, graph_of, model_of, node, relu_model


def cases():
    return [
        Case(
            "empty.onnx",
            "a file without a single byte, which decodes to a message without fields",
            b"",
            ("empty.onnx",),
        ),
        Case("text.onnx", "prose", b"This is not a model, it only carries the name of one.\n", ("text.onnx",)),
        Case("json.onnx", "a JSON document", b'{"graph": {"node": []}}\n', ("json.onnx",)),
        Case("archive.onnx", "a NumPy archive under the name of a model", archive(), ("archive.onnx",)),
        Case("noise.onnx", "random bytes", random.Random(5).randbytes(512), ("noise.onnx",)),
        Case("no_graph.onnx", "a model message without a graph", wire.integer(1, 10), ("no_graph.onnx",)),
        Case("long_field.onnx", "a field that claims to be 2^60 bytes long", long_field(), ("long_field.onnx",)),
        Case(
            "long_varint.onnx",
            "an integer of eleven digits where ten are the most",
            b"\x08" + b"\xff" * 10 + b"\x01",
            ("long_varint.onnx",),
        ),
        Case(
            "deep_groups.onnx",
            "5,000 nested groups of an unknown field",
            wire.tag(99, wire.START_GROUP) * 5000,
            ("deep_groups.onnx",),
        ),
        Case(
            "wrong_wire_type.onnx",
            "the graph as an integer",
            wire.integer(wire.MODEL_GRAPH, 7),
            ("wrong_wire_type.onnx",),
        ),
        Case("invalid_utf8.onnx", "a node name that is no UTF-8", invalid_utf8(), ("invalid_utf8.onnx",)),
        Case("tensor.onnx", "a tensor message under the name of a model", tensor(), ("tensor.onnx",)),
        Case("missing.onnx", "a path at which there is no file", None, ("missing.onnx",)),
        Case(
            "unknown_field.onnx",
            "a working model with a field of a later version, which protobuf says to skip",
            relu_model() + wire.integer(1000, 1),
            exit=ACCEPTED,
        ),
    ]


def archive():
    content = io.BytesIO()
    np.save(content, np.zeros([2, 2], np.float32))
    return b"PK\x03\x04" + content.getvalue()


def long_field():
    return wire.tag(wire.MODEL_GRAPH, wire.DELIMITED) + wire.varint(2**60) + b"\x0a\x00"


def invalid_utf8():
    return encode(model_of(graph_of([node("Relu", ["x"], ["y"], name="badname")]))).replace(
        b"badname", b"\xff\xfe\xc0\x80\x80ab"
    )


def tensor():
    return encode(TensorProto(dims=[2], data_type=TensorProto.FLOAT, float_data=[1.0, 2.0], name="lonely"))
