"""Graphs whose wiring is wrong, and some that only look it."""

from onnx import TensorProto

from .case import ACCEPTED, OPSET, Case, encode, floats, graph_of, model_of, node, relu_model, simple, value


def cases():
    return wiring() + duplicates() + arity() + sound()


def wiring():
    relu_of_cycle = [node("Add", ["x", "ring_b"], ["ring_a"]), node("Relu", ["ring_a"], ["ring_b"])]
    return [
        Case(
            "cycle.onnx", "two nodes that read each other", simple(relu_of_cycle, outputs=[value("ring_b")]), ("ring_",)
        ),
        Case(
            "self_cycle.onnx",
            "a node that reads its own result",
            simple([node("Add", ["x", "y"], ["y"])]),
            ("the_add",),
        ),
        Case(
            "undefined_operand.onnx",
            "a node that reads a name nobody makes",
            simple([node("Relu", ["nowhere"], ["y"])]),
            ("nowhere", "the_relu"),
        ),
        Case(
            "undefined_output.onnx",
            "a graph output that nobody makes",
            relu_model(outputs=[value("never_made")]),
            ("never_made",),
        ),
        Case(
            "unnamed_input.onnx", "a graph input without a name", relu_model(inputs=[value("x"), value("")]), ("input",)
        ),
        Case(
            "output_dtype.onnx",
            "an output declared int64 that is computed as f32",
            simple([node("Relu", ["x"], ["counted"])], outputs=[value("counted", (2, 2), TensorProto.INT64)]),
            ("counted",),
        ),
        Case("untyped_input.onnx", "a graph input without a type", untyped_input(), ("untyped",)),
        Case("sequence_input.onnx", "a graph input that is a sequence of tensors", sequence_input(), ("listed",)),
    ]


def untyped_input():
    graph = graph_of([node("Relu", ["x"], ["y"])])
    graph.input.add(name="untyped")
    return encode(model_of(graph))


def sequence_input():
    graph = graph_of([node("Relu", ["x"], ["y"])])
    listed = graph.input.add(name="listed")
    listed.type.sequence_type.elem_type.tensor_type.elem_type = TensorProto.FLOAT
    return encode(model_of(graph))


def duplicates():
    weight = floats("twice", [2], [1.0, 2.0])
    twice = [node("Relu", ["x"], ["twice"], name="first"), node("Neg", ["x"], ["twice"], name="second")]
    add = node("Add", ["x", "twice"], ["y"])
    return [
        Case(
            "duplicate_value.onnx",
            "two nodes that make the same name",
            simple(twice, outputs=[value("twice")]),
            ("twice", "second"),
        ),
        Case(
            "duplicate_result.onnx",
            "one node that makes the same name twice",
            simple([node("Split", ["x"], ["twice", "twice"], num_outputs=2)], outputs=[value("twice", None)]),
            ("twice",),
        ),
        Case(
            "duplicate_initializer.onnx",
            "two initializers of the same name",
            simple([add], initializers=[weight, weight]),
            ("twice",),
        ),
        Case(
            "duplicate_input.onnx",
            "two graph inputs of the same name",
            simple([add], inputs=[value("x"), value("twice"), value("twice")]),
            ("twice",),
        ),
        Case(
            "overwritten_input.onnx",
            "a node that makes the name of a graph input",
            simple([node("Relu", ["x"], ["x"])], outputs=[value("x")]),
            ("the_relu",),
        ),
        Case(
            "overwritten_initializer.onnx",
            "a node that makes the name of an initializer",
            simple([node("Relu", ["x"], ["twice"]), add], initializers=[weight]),
            ("twice",),
        ),
    ]


def arity():
    return [
        Case(
            "too_many_operands.onnx",
            "a unary op with three operands",
            simple([node("Relu", ["x", "x", "x"], ["y"])]),
            ("the_relu",),
        ),
        Case(
            "too_few_operands.onnx", "a binary op with one operand", simple([node("Add", ["x"], ["y"])]), ("the_add",)
        ),
        Case(
            "omitted_operand.onnx",
            "a binary op whose second operand is left out",
            simple([node("Add", ["x", ""], ["y"])]),
            ("the_add",),
        ),
        Case(
            "no_operands.onnx",
            "a concatenation of nothing",
            simple([node("Concat", [], ["y"], axis=0)]),
            ("the_concat",),
        ),
        Case(
            "too_many_results.onnx",
            "a unary op with two results",
            simple([node("Relu", ["x"], ["y", "z"])]),
            ("the_relu",),
        ),
        Case(
            "no_results.onnx",
            "a node without results",
            simple([node("Relu", ["x"], ["y"]), node("Neg", ["x"], [])]),
            ("the_neg",),
        ),
    ]


def sound():
    """What has to be accepted, because the standard does."""
    passthrough = graph_of([], outputs=[value("x")])
    constant = graph_of(
        [node("Relu", ["x"], ["y"])],
        outputs=[value("y"), value("w", (2,))],
        initializers=[floats("w", [2], [1.0, 2.0])],
    )
    default = graph_of(
        [node("Add", ["x", "w"], ["y"])],
        inputs=[value("x"), value("w", (2,))],
        initializers=[floats("w", [2], [1.0, 2.0])],
    )
    wide = node("Sum", ["x"] * 1000, ["y"])
    odd = ['say "hi"', "back\\slash", "two\nlines", "%v1 = @w {a}", "größe/層:0", " "]
    odd_chain = [
        node("Relu", [before], [after], name=after) for before, after in zip(["x", *odd], [*odd, "y"], strict=True)
    ]
    return [
        Case(
            "passthrough.onnx",
            "a graph without nodes whose output is its input",
            encode(model_of(passthrough)),
            command="run",
            exit=ACCEPTED,
        ),
        Case(
            "initializer_output.onnx",
            "an initializer that is a graph output",
            encode(model_of(constant)),
            command="run",
            exit=ACCEPTED,
        ),
        Case(
            "default_input.onnx",
            "an input with an initializer, which is its default value",
            encode(model_of(default)),
            command="run",
            exit=ACCEPTED,
        ),
        Case(
            "unused_operand.onnx",
            "a trailing optional operand written as an empty name",
            simple([node("Clip", ["x", "", ""], ["y"])]),
            command="run",
            exit=ACCEPTED,
        ),
        Case("wide.onnx", "a node with a thousand operands", simple([wide]), command="run", exit=ACCEPTED),
        Case(
            "odd_names.onnx",
            "names with quotes, line breaks, other scripts and the signs of the text form",
            simple(odd_chain),
            exit=ACCEPTED,
        ),
        Case("chain_1000.onnx", "a chain of a thousand nodes", chain(1000), command="run", exit=ACCEPTED),
    ]


def chain(length):
    """`length` negations after one another, with the shortest names there are."""
    names = ["x", *(format(index, "x") for index in range(1, length)), "y"]
    nodes = [node("Neg", [before], [after], name=after) for before, after in zip(names, names[1:], strict=False)]
    return simple(nodes, opset=OPSET)
