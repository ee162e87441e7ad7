"""Weights in other files: missing, outside of the model's folder, or not as long as they claim."""

from onnx import TensorProto

from .case import ACCEPTED, SURVIVED, Case, encode, graph_of, model_of, node

FOLDER = "external"
# Eight floats beside the models, and the same outside of their folder, where no model may reach.
INSIDE, OUTSIDE = "inside.bin", "outside.bin"
CONTENT = bytes(32)


def cases():
    return [good()] + paths() + ranges() + entries() + sharing()


def tensor(name="weights", **entries):
    """An f32[2] tensor with the given external data entries."""
    result = TensorProto(name=name, dims=[2], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    for key, content in entries.items():
        result.external_data.add(key=key, value=str(content))
    return result


def model(*tensors):
    """The sum of the input and all tensors, in one node."""
    add = node("Sum", ["x", *(one.name for one in tensors)], ["y"])
    return encode(model_of(graph_of([add], initializers=tensors)))


def refused(name, what, *contains, **entries):
    return Case(f"{FOLDER}/{name}.onnx", what, model(tensor(**entries)), contains or ("weights",))


def good():
    return Case(
        f"{FOLDER}/good.onnx",
        "weights in a file beside the model",
        model(tensor(location=INSIDE, offset=8, length=8)),
        exit=ACCEPTED,
        command="run",
        extra={f"{FOLDER}/{INSIDE}": CONTENT, OUTSIDE: CONTENT},
        links={f"{FOLDER}/link.bin": f"../{OUTSIDE}"},
    )


def paths():
    return [
        refused("missing", "a file that does not exist", "nowhere.bin", location="nowhere.bin"),
        refused(
            "parent",
            "a path that leaves the model's folder, to a file that exists",
            f"../{OUTSIDE}",
            location=f"../{OUTSIDE}",
        ),
        refused(
            "roundabout", "a path that leaves the folder and comes back", "weights", location=f"../{FOLDER}/{INSIDE}"
        ),
        refused("absolute", "an absolute path to an endless file", "/dev/zero", location="/dev/zero"),
        refused("symlink", "a symbolic link that leaves the model's folder", "link.bin", location="link.bin"),
        refused("folder", "a path that names a folder", "weights", location="."),
        refused("empty_path", "an empty path", "weights", location=""),
        refused("nul_path", "a path with a zero byte", "weights", location="inside.bin\0.txt"),
        refused("url", "an address instead of a path", "weights", location="https://example.com/inside.bin"),
        refused("windows_path", "a path as another system writes it", "weights", location="..\\" + OUTSIDE),
    ]


def ranges():
    return [
        refused("beyond_end", "a range that ends after the file", location=INSIDE, offset=28, length=8),
        refused("offset_beyond_end", "a range that begins after the file", location=INSIDE, offset=2**40, length=8),
        refused("overflow", "an offset and a length whose sum overflows", location=INSIDE, offset=2**64 - 4, length=8),
        refused("negative_offset", "a negative offset", location=INSIDE, offset=-8, length=8),
        refused("length_short", "a length that is less than the shape needs", location=INSIDE, offset=0, length=4),
        refused("length_long", "a length that is more than the shape needs", location=INSIDE, offset=0, length=16),
        Case(
            f"{FOLDER}/no_length.onnx",
            "no length, and more bytes in the file than the shape needs",
            model(tensor(location=INSIDE)),
            exit=SURVIVED,
        ),
    ]


def entries():
    return [
        refused("no_location", "no location", offset=0, length=8),
        refused("no_entries", "external data without any entry"),
        refused("offset_text", "an offset that is no number", location=INSIDE, offset="eight", length=8),
        refused("offset_float", "an offset with a fraction", location=INSIDE, offset="8.5", length=8),
        Case(f"{FOLDER}/two_locations.onnx", "two locations for one tensor", model(two_locations()), ("weights",)),
        Case(f"{FOLDER}/raw_too.onnx", "external data and raw bytes in one tensor", model(raw_too()), ("weights",)),
    ]


def two_locations():
    result = tensor(location=INSIDE, length=8)
    result.external_data.add(key="location", value="nowhere.bin")
    return result


def raw_too():
    result = tensor(location=INSIDE, length=8)
    result.raw_data = bytes(8)
    return result


def sharing():
    overlapping = model(
        tensor("first", location=INSIDE, offset=0, length=8), tensor("second", location=INSIDE, offset=4, length=8)
    )
    shared = model(
        tensor("first", location=INSIDE, offset=0, length=8), tensor("second", location=INSIDE, offset=0, length=8)
    )
    return [
        Case(f"{FOLDER}/overlapping.onnx", "two tensors that share a part of their bytes", overlapping, ("second",)),
        Case(
            f"{FOLDER}/shared.onnx",
            "two tensors with the same bytes, as exporters write tied weights",
            shared,
            exit=ACCEPTED,
            command="run",
        ),
    ]
