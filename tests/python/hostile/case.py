"""What a hostile case is, and short ways to build the models in them."""

from dataclasses import dataclass, field

import onnx
from onnx import TensorProto, helper

# The largest size the cases ask for in one dimension: twice of it overflows a count of elements.
HUGE = 2**40
# Elements of one tebibyte of f32: a legal type, and more than a machine can hold.
TEBIBYTE = 2**38
OPSET = 21
IR_VERSION = 10

REFUSED = (2,)
ACCEPTED = (0,)
# Where the standard leaves the outcome open: anything but a crash or a report of our own bug.
SURVIVED = (0, 2)


@dataclass
class Case:
    """One command on one file, and what has to happen."""

    # File name of the model, relative to the folder of all cases.
    file: str
    # One sentence for the reader of the manifest.
    what: str
    # The model; None where another case already wrote this file.
    content: bytes | None
    # Text that the message must contain: the names of the tensors, nodes or attributes at fault.
    contains: tuple[str, ...] = ()
    # Text that the message must not contain.
    lacks: tuple[str, ...] = ()
    # Exit codes that are right.
    exit: tuple[int, ...] = REFUSED
    # `convert` imports and prints the model; `run` also computes it on `inputs`.
    command: str = "convert"
    inputs: str = "x.npz"
    # Files beside the model, and symbolic links with their targets.
    extra: dict[str, bytes] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)

    def manifest_entry(self):
        """The case as the manifest states it."""
        entry = {"file": self.file, "what": self.what, "command": self.command}
        if self.command == "run":
            entry["inputs"] = self.inputs
        entry["exit"] = list(self.exit)
        entry["message_contains"] = list(self.contains)
        if self.lacks:
            entry["message_lacks"] = list(self.lacks)
        return entry


def value(name, shape=(2, 2), dtype=TensorProto.FLOAT):
    """A graph input or output; `shape=None` leaves even the rank open."""
    return helper.make_tensor_value_info(name, dtype, shape)


def node(op_type, operands, results, name=None, **attributes):
    """A node named after its op, such as `the_relu`, unless told otherwise."""
    return helper.make_node(op_type, operands, results, name=name or f"the_{op_type.lower()}", **attributes)


def ints(name, values):
    """An int64 vector as an initializer."""
    return helper.make_tensor(name, TensorProto.INT64, [len(values)], values)


def floats(name, shape, values):
    """An f32 tensor as an initializer."""
    return helper.make_tensor(name, TensorProto.FLOAT, shape, values)


def graph_of(nodes, inputs=None, outputs=None, initializers=(), name="hostile"):
    """A graph from `x` to `y`, both f32[2, 2] unless told otherwise."""
    inputs = [value("x")] if inputs is None else inputs
    outputs = [value("y")] if outputs is None else outputs
    return helper.make_graph(list(nodes), name, inputs, outputs, initializer=list(initializers))


def model_of(graph, opset=OPSET, functions=(), opsets=None):
    """A model proto of one graph; `opsets` replaces the imports as a whole."""
    imports = [helper.make_opsetid("", opset)] if opsets is None else opsets
    model = helper.make_model(graph, opset_imports=imports, functions=list(functions))
    model.ir_version = IR_VERSION
    model.producer_name = "hostile"
    return model


def encode(message):
    """The message's bytes, the same every time."""
    return message.SerializeToString(deterministic=True)


def simple(nodes, **options):
    """The bytes of a model with these nodes, from `x` to `y`."""
    functions, opset = options.pop("functions", ()), options.pop("opset", OPSET)
    return encode(model_of(graph_of(nodes, **options), opset=opset, functions=functions))


def relu_model(**options):
    """The bytes of the smallest working model, `y = Relu(x)`."""
    return simple([node("Relu", ["x"], ["y"])], **options)


def with_inferred_outputs(graph):
    """The bytes of a model whose outputs get the types that ONNX's shape inference finds for their names."""
    model = model_of(graph)
    inferred = {output.name: output for output in onnx.shape_inference.infer_shapes(model).graph.output}
    for output in model.graph.output:
        output.CopyFrom(inferred[output.name])
        # A size that is not known before the run still needs a place in the shape.
        for position, dim in enumerate(output.type.tensor_type.shape.dim):
            if not dim.WhichOneof("value"):
                dim.dim_param = f"{output.name}_{position}"
    return encode(model)
