"""Functions and subgraphs that nest, repeat or call themselves."""

from onnx import TensorProto, helper

from . import wire
from .case import ACCEPTED, OPSET, SURVIVED, Case, encode, graph_of, model_of, node, value

DOMAIN = "local"
IMPORTS = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)]


def cases():
    return functions() + broken_functions() + branches() + loops()


def call(name, operands, results, label=None, **attributes):
    """A node that calls the model's function `name`."""
    return helper.make_node(name, operands, results, name=label or f"call_{name}", domain=DOMAIN, **attributes)


def function(name, nodes, imports=IMPORTS, **options):
    """A function from `a` to `b`."""
    return helper.make_function(DOMAIN, name, ["a"], ["b"], nodes, imports, **options)


def calling(name, bodies, *operands):
    """The bytes of a model whose only node calls the function `name` out of `bodies`."""
    graph = graph_of([call(name, operands or ["x"], ["y"])])
    return encode(model_of(graph, functions=bodies, opsets=IMPORTS))


def ladder(count):
    """Functions of which each calls the next one twice: 2^count nodes when they are inlined."""
    steps = [
        function(
            f"step_{index}",
            [call(f"step_{index + 1}", ["a"], ["m"], "one"), call(f"step_{index + 1}", ["m"], ["b"], "two")],
        )
        for index in range(count)
    ]
    return [*steps, function(f"step_{count}", [node("Neg", ["a"], ["b"])])]


def stairs(count):
    """Functions of which each calls the next one once."""
    steps = [function(f"step_{index}", [call(f"step_{index + 1}", ["a"], ["b"])]) for index in range(count)]
    return [*steps, function(f"step_{count}", [node("Neg", ["a"], ["b"])])]


def functions():
    softmax = node("Softmax", ["a"], ["b"])
    softmax.attribute.add(name="axis", ref_attr_name="along", type=2)
    default = function("along_axis", [softmax], attribute_protos=[helper.make_attribute("along", 0)])
    even = function("even", [call("odd", ["a"], ["b"])])
    odd = function("odd", [call("even", ["a"], ["b"])])
    return [
        Case(
            "function_default.onnx",
            "a function with a default attribute, called twice over",
            calling("outer", [function("outer", [call("along_axis", ["a"], ["b"])]), default]),
            command="run",
            exit=ACCEPTED,
        ),
        Case(
            "function_self.onnx",
            "a function that calls itself",
            calling("again", [function("again", [call("again", ["a"], ["b"])])]),
            ("again",),
        ),
        Case("function_mutual.onnx", "two functions that call each other", calling("even", [even, odd]), ("even",)),
        Case(
            "function_doubling.onnx",
            "functions that call the next one twice, 2^40 nodes when inlined",
            calling("step_0", ladder(40)),
            ("step_",),
        ),
        Case(
            "function_stairs.onnx",
            "functions that call the next one, 200 deep",
            calling("step_0", stairs(200)),
            exit=SURVIVED,
        ),
    ]


def broken_functions():
    relu = node("Relu", ["a"], ["b"])
    good = function("good", [relu])
    unimported = [helper.make_opsetid("", OPSET)]
    return [
        Case(
            "function_undefined.onnx",
            "a function that reads a name nobody makes",
            calling("reads", [function("reads", [node("Relu", ["nowhere"], ["b"])])]),
            ("nowhere",),
        ),
        Case(
            "function_no_result.onnx",
            "a function that does not make its result",
            calling("makes", [function("makes", [node("Relu", ["a"], ["c"])])]),
            ("makes",),
        ),
        Case(
            "function_outer_name.onnx",
            "a function that reads a name of its caller",
            calling("reads", [function("reads", [node("Add", ["a", "x"], ["b"])])]),
            ("reads",),
        ),
        Case(
            "function_operands.onnx",
            "a function called with more operands than it has",
            calling("good", [good], "x", "x"),
            ("good",),
        ),
        Case("function_twice.onnx", "two functions of the same name", calling("good", [good, good]), ("good",)),
        Case(
            "function_missing.onnx",
            "a call of a function that is not in the model",
            calling("absent", [good]),
            ("absent",),
        ),
        Case(
            "function_unknown_op.onnx",
            "an op that does not exist, inside of a function",
            calling("inside", [function("inside", [node("Frobnicate", ["a"], ["b"])])]),
            ("Frobnicate",),
        ),
        Case(
            "function_no_opset.onnx",
            "a function that does not import what it uses",
            calling("calls", [function("calls", [call("good", ["a"], ["b"])], unimported), good]),
            ("calls",),
            exit=SURVIVED,
        ),
    ]


def branch(name, nodes, initializers=()):
    """A subgraph without inputs, from outer names to `<name>`."""
    return helper.make_graph(nodes, name, [], [value(name, None)], initializer=list(initializers))


def choose(condition, then, otherwise, result, label):
    return helper.make_node("If", [condition], [result], name=label, then_branch=then, else_branch=otherwise)


def ifs(depth, condition):
    """`depth` conditionals inside of one another, each of which negates in its other branch."""
    inner = node("Relu", ["x"], ["deep"], name="innermost")
    for level in range(depth):
        then = branch(inner.output[0], [inner])
        otherwise = branch(f"other_{level}", [node("Neg", ["x"], [f"other_{level}"], name=f"negate_{level}")])
        inner = choose(condition, then, otherwise, f"chosen_{level}", f"if_{level}")
    return [inner, node("Identity", [inner.output[0]], ["y"])]


def branches():
    true = helper.make_tensor("true", TensorProto.BOOL, [], [True])
    flag = value("flag", (), TensorProto.BOOL)
    dynamic = encode(model_of(graph_of(ifs(3, "flag"), inputs=[value("x"), flag])))
    constant = encode(model_of(graph_of(ifs(10, "true"), initializers=[true])))
    reads = choose(
        "true",
        branch("t", [node("Relu", ["nowhere"], ["t"])]),
        branch("e", [node("Relu", ["x"], ["e"])]),
        "y",
        "the_if",
    )
    return [
        Case(
            "if_constant.onnx",
            "ten nested conditionals whose condition is always true",
            constant,
            command="run",
            exit=ACCEPTED,
        ),
        Case(
            "if_dynamic.onnx",
            "nested conditionals whose condition is an input, of which both branches can be computed",
            dynamic,
            exit=ACCEPTED,
        ),
        Case(
            "if_undefined.onnx",
            "a branch that reads a name nobody makes",
            encode(model_of(graph_of([reads], initializers=[true]))),
            ("nowhere",),
        ),
        Case(
            "if_200_deep.onnx",
            "200 subgraphs inside of one another",
            wire.nested_subgraphs("If", 200),
            ("if_200_deep.onnx",),
        ),
        Case(
            "loop_500_deep.onnx",
            "500 subgraphs inside of one another",
            wire.nested_subgraphs("Loop", 500),
            ("loop_500_deep.onnx",),
        ),
        Case(
            "graph_on_relu.onnx",
            "a subgraph as an attribute of an op that has none",
            encode(model_of(graph_of([node("Relu", ["x"], ["y"], body=branch("t", [node("Neg", ["x"], ["t"])]))]))),
            ("body", "the_relu"),
        ),
    ]


def loop(nodes, label, trips="trips", operand="x", result="y"):
    """A loop whose body maps `before` to `after`; without `trips` nothing ends it."""
    inputs = [value("turn", (), TensorProto.INT64), value("go", (), TensorProto.BOOL), value("before", None)]
    outputs = [value("on", (), TensorProto.BOOL), value("after", None)]
    body = helper.make_graph([node("Identity", ["go"], ["on"], name="keep"), *nodes], "body", inputs, outputs)
    return helper.make_node("Loop", [trips, "true", operand], [result], name=label, body=body)


def looping(op_node, *initializers):
    true = helper.make_tensor("true", TensorProto.BOOL, [], [True])
    return encode(model_of(graph_of([op_node], initializers=[true, *initializers])))


def trips(count):
    return helper.make_tensor("trips", TensorProto.INT64, [], [count])


def loops():
    negate = node("Neg", ["before"], ["after"], name="negate")
    nested = negate
    for level in range(4):
        nested = loop([nested], f"loop_{level}", operand="before", result="after")
    nested = loop([nested], "outer_loop")
    return [
        Case(
            "loop_once.onnx",
            "a loop of a constant single turn",
            looping(loop([negate], "the_loop"), trips(1)),
            exit=SURVIVED,
        ),
        Case(
            "loop_forever.onnx",
            "a loop that nothing ends",
            looping(loop([negate], "the_loop", trips="")),
            ("Loop", "the_loop"),
        ),
        Case(
            "loop_long.onnx",
            "a loop of 2^62 turns",
            looping(loop([negate], "the_loop"), trips(2**62)),
            ("Loop", "the_loop"),
        ),
        Case(
            "loop_million.onnx",
            "a loop of a million turns, too many to unroll",
            looping(loop([negate], "the_loop"), trips(10**6)),
            ("Loop", "the_loop"),
        ),
        Case(
            "loop_nested.onnx",
            "five nested loops of 100 turns, 10^10 nodes when unrolled",
            looping(nested, trips(100)),
            ("Loop",),
        ),
        Case(
            "loop_negative.onnx",
            "a loop of a negative number of turns, which is none",
            looping(loop([negate], "the_loop"), trips(-5)),
            exit=SURVIVED,
        ),
    ]
