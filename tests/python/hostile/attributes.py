"""Attributes, operators and opsets that do not exist, or not in this form."""

from onnx import AttributeProto, helper

from .case import ACCEPTED, Case, encode, floats, graph_of, ints, model_of, node, relu_model, simple, value

IMAGE = value("x", (1, 2, 8, 8))
KERNEL = floats("kernel", [2, 2, 3, 3], [0.5] * 36)
RELU = node("Relu", ["x"], ["y"])


def cases():
    return forms() + convolutions() + axes() + operators() + opsets()


def broken(name, what, op_node, *contains, initializers=(), inputs=None):
    """A case of one node whose message must contain `contains` and the node's name."""
    content = simple([op_node], initializers=initializers, inputs=inputs, outputs=[value("y", None)])
    return Case(f"{name}.onnx", what, content, (*contains, op_node.name))


def forms():
    twice = node("Softmax", ["x"], ["y"], axis=0)
    twice.attribute.append(helper.make_attribute("axis", 1))
    reference = node("Softmax", ["x"], ["y"])
    reference.attribute.append(AttributeProto(name="axis", type=AttributeProto.INT, ref_attr_name="outer_axis"))
    return [
        broken(
            "unknown_attribute",
            "an attribute that the op does not have",
            node("Relu", ["x"], ["y"], sharpness=3),
            "sharpness",
        ),
        broken(
            "float_perm", "a float where a list of integers belongs", node("Transpose", ["x"], ["y"], perm=1.5), "perm"
        ),
        broken("text_axis", "text where an integer belongs", node("Softmax", ["x"], ["y"], axis="last"), "axis"),
        broken(
            "tensor_axis",
            "a tensor where an integer belongs",
            node("Softmax", ["x"], ["y"], axis=ints("t", [0])),
            "axis",
        ),
        broken("missing_to", "a cast to nothing", node("Cast", ["x"], ["y"]), "to"),
        broken("unknown_to", "a cast to a data type that does not exist", node("Cast", ["x"], ["y"], to=99), "99"),
        broken(
            "unknown_approximate",
            "a word that is none of the allowed ones",
            node("Gelu", ["x"], ["y"], approximate="cubic"),
            "cubic",
        ),
        broken("duplicate_attribute", "the same attribute twice", twice, "axis"),
        broken("loose_reference", "a reference to a function's attribute outside of a function", reference, "axis"),
        broken(
            "old_attribute",
            "an attribute that this opset has turned into an operand",
            node("Unsqueeze", ["x"], ["y"], axes=[0]),
        ),
    ]


def convolution(name, what, *contains, **attributes):
    op_node = node("Conv", ["x", "kernel"], ["y"], **attributes)
    return broken(f"conv_{name}", what, op_node, *contains, initializers=[KERNEL], inputs=[IMAGE])


def convolutions():
    return [
        convolution("int_strides", "one integer where a list of integers belongs", "strides", strides=2),
        convolution("zero_strides", "steps of zero", "strides", strides=[0, 1]),
        convolution("negative_strides", "steps backwards", "strides", strides=[-1, -1]),
        convolution("three_strides", "three strides for two axes", "strides", strides=[1, 1, 1]),
        convolution("zero_dilations", "a kernel whose elements fall together", "dilations", dilations=[0, 0]),
        convolution("huge_dilations", "a kernel wider than 64 bits can say", dilations=[2**62, 2**62]),
        convolution("huge_pads", "2^62 elements of padding on every side", pads=[2**62] * 4),
        convolution("wrapping_pads", "2^63 - 1 elements of padding on every side", pads=[2**63 - 1] * 4),
        convolution("zero_groups", "no group at all", "group", group=0),
        convolution("negative_groups", "a negative number of groups", "group", group=-1),
        convolution("uneven_groups", "two channels in three groups", group=3),
        convolution(
            "wrong_kernel_shape", "a kernel shape that is not that of the kernel", "kernel_shape", kernel_shape=[5, 5]
        ),
        convolution("large_kernel", "a kernel that does not fit into the image", dilations=[4, 4]),
        convolution("unknown_auto_pad", "a padding rule that does not exist", "auto_pad", auto_pad="SOMETIMES"),
        broken(
            "pool_zero_kernel",
            "a pooling window without elements",
            node("AveragePool", ["x"], ["y"], kernel_shape=[0, 0]),
            "kernel_shape",
            inputs=[IMAGE],
        ),
        broken(
            "pool_huge_kernel",
            "a pooling window of 2^62 elements a side",
            node("MaxPool", ["x"], ["y"], kernel_shape=[2**62, 2**62]),
            inputs=[IMAGE],
        ),
    ]


def axes():
    three = floats("w", [3], [1.0, 2.0, 3.0])
    cubed = floats("w", [3, 3], [1.0] * 9)
    parts = ints("parts", [1, 2])
    letters = ",".join("abcdefghijklmnopqrstuvwxyz") + "->a"
    bounds = [ints("starts", [0]), ints("ends", [-(2**63)]), ints("axes", [0]), ints("steps", [0])]
    slice_node = node("Slice", ["x", "starts", "ends", "axes", "steps"], ["y"])
    return [
        broken(
            "repeated_perm",
            "a permutation that names an axis twice",
            node("Transpose", ["x"], ["y"], perm=[0, 0]),
            "perm",
        ),
        broken(
            "far_perm", "a permutation that names axis 5 of 2", node("Transpose", ["x"], ["y"], perm=[0, 5]), "perm"
        ),
        broken("far_axis", "axis 7 of 2", node("Concat", ["x", "x"], ["y"], axis=7), "axis"),
        broken("negative_axis", "axis -9 of 2", node("Softmax", ["x"], ["y"], axis=-9), "axis"),
        broken(
            "smallest_axis",
            "the smallest integer as an axis, which has no absolute value",
            node("Softmax", ["x"], ["y"], axis=-(2**63)),
            "axis",
        ),
        broken(
            "uneven_split",
            "parts that are more than the whole",
            node("Split", ["x", "parts"], ["y", "z"]),
            initializers=[parts],
        ),
        broken("many_parts", "one result for two parts", node("Split", ["x"], ["y"], num_outputs=2)),
        broken("zero_step_slice", "a slice that takes steps of zero", slice_node, initializers=bounds),
        broken(
            "wide_squeeze",
            "an axis of two elements squeezed away",
            node("Squeeze", ["x", "axes"], ["y"]),
            initializers=[ints("axes", [0])],
        ),
        broken("no_broadcast", "two columns plus three", node("Add", ["x", "w"], ["y"]), initializers=[three]),
        broken(
            "no_product",
            "a product of two by two and three by three",
            node("MatMul", ["x", "w"], ["y"]),
            initializers=[cubed],
        ),
        broken("no_condition", "a choice by floats", node("Where", ["x", "x", "x"], ["y"])),
        broken(
            "large_top_k",
            "the 2^62 largest of two",
            node("TopK", ["x", "k"], ["y", "z"]),
            initializers=[ints("k", [2**62])],
        ),
        broken(
            "no_equation",
            "an equation with one operand too many",
            node("Einsum", ["x"], ["y"], equation="ij,jk->ik"),
            "ij,jk->ik",
        ),
        broken(
            "many_letters",
            "an equation with 26 operands where one is given",
            node("Einsum", ["x"], ["y"], equation=letters),
        ),
        broken(
            "broken_equation", "an equation that is none", node("Einsum", ["x"], ["y"], equation="i.j-->>"), "i.j-->>"
        ),
    ]


def operators():
    names = {"Frobnicate": 3, "Wibble": 2}
    unknown = [
        node(op_type, ["x"], [f"{op_type}_{index}"], name=f"{op_type.lower()}_{index}")
        for op_type, count in names.items()
        for index in range(count)
    ]
    foreign = helper.make_node("Mystery", ["x"], ["y"], name="the_mystery", domain="com.example")
    imports = [helper.make_opsetid("", 21), helper.make_opsetid("com.example", 1)]
    colored = node("Evil\x1b[31mOp", ["x"], ["y"], name="na\x1bme\r\n")
    return [
        Case(
            "unknown_ops.onnx",
            "five nodes of two ops that do not exist, all reported at once",
            simple([*unknown, RELU]),
            ("Frobnicate", "Wibble", "frobnicate_0", "wibble_0"),
        ),
        Case(
            "foreign_op.onnx",
            "an op of a domain nobody knows",
            encode(model_of(graph_of([foreign]), opsets=imports)),
            ("com.example", "Mystery", "the_mystery"),
        ),
        Case(
            "foreign_domain.onnx",
            "an op of a domain that the model does not import",
            encode(model_of(graph_of([foreign]))),
            ("com.example", "the_mystery"),
        ),
        Case(
            "empty_op_type.onnx",
            "a node without an op",
            simple([node("", ["x"], ["y"], name="the_nothing")]),
            ("the_nothing",),
        ),
        Case(
            "terminal_codes.onnx",
            "an op whose name would color the terminal",
            simple([colored]),
            ("Evil",),
            lacks=("\x1b",),
        ),
        Case(
            "random_op.onnx",
            "an op whose result is drawn at random",
            simple([node("RandomNormalLike", ["x"], ["y"])]),
            ("RandomNormalLike",),
        ),
        Case(
            "custom_domain_unused.onnx",
            "an import of an unknown domain that no node uses",
            encode(model_of(graph_of([RELU]), opsets=imports)),
            exit=ACCEPTED,
        ),
    ]


def opsets():
    def imports(*pairs):
        return encode(
            model_of(graph_of([RELU]), opsets=[helper.make_opsetid(domain, version) for domain, version in pairs])
        )

    return [
        Case("opset_0.onnx", "opset 0", relu_model(opset=0), ("opset",)),
        Case("opset_negative.onnx", "a negative opset", relu_model(opset=-3), ("-3",)),
        Case("opset_999.onnx", "an opset of the far future", relu_model(opset=999), ("999",)),
        Case("opset_missing.onnx", "no opset at all", imports(), ("opset",)),
        Case("opset_twice.onnx", "two opsets for one domain", imports(("", 17), ("", 21)), ("opset",)),
        Case(
            "op_too_new.onnx",
            "an op that this opset does not have yet",
            simple([node("Gelu", ["x"], ["y"])], opset=17),
            ("Gelu", "17"),
        ),
        Case(
            "op_too_old.onnx",
            "an op that this opset no longer has",
            simple([node("Upsample", ["x", "w"], ["y"])], initializers=[floats("w", [2], [2.0, 2.0])]),
            ("Upsample",),
        ),
    ]
