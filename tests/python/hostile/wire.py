"""Protobuf by hand, for messages that no library agrees to write."""

# Field numbers of onnx.proto that the cases need.
MODEL_GRAPH, GRAPH_NODE, NODE_ATTRIBUTE, ATTRIBUTE_GRAPH = 7, 1, 5, 6
NODE_NAME, NODE_OP_TYPE, ATTRIBUTE_NAME, ATTRIBUTE_TYPE = 3, 4, 1, 20
MODEL_IR_VERSION = 1
TYPE_GRAPH = 5

VARINT, DELIMITED, START_GROUP = 0, 2, 3


def varint(number):
    """A non-negative integer in base 128, least significant digit first."""
    digits = bytearray()
    while number >= 0x80:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    digits.append(number)
    return bytes(digits)


def tag(number, kind):
    return varint(number << 3 | kind)


def integer(number, content):
    """A field that holds an integer."""
    return tag(number, VARINT) + varint(content)


def delimited(number, content):
    """A field that holds bytes, text or a message."""
    return tag(number, DELIMITED) + varint(len(content)) + content


def nested_subgraphs(op_type, depth):
    """A model whose graph holds one node, whose attribute holds a graph, and so on, `depth` times."""
    graph = b""
    for level in range(depth):
        attribute = (
            delimited(ATTRIBUTE_NAME, b"body") + delimited(ATTRIBUTE_GRAPH, graph) + integer(ATTRIBUTE_TYPE, TYPE_GRAPH)
        )
        name = f"nested_{depth - level}".encode()
        node = (
            delimited(NODE_NAME, name)
            + delimited(NODE_OP_TYPE, op_type.encode())
            + delimited(NODE_ATTRIBUTE, attribute)
        )
        graph = delimited(GRAPH_NODE, node)
    return integer(MODEL_IR_VERSION, 10) + delimited(MODEL_GRAPH, graph)
