"""NumPy archives that a run must refuse, or accept although they look odd."""

import io
import struct
import zipfile

import numpy as np

from .case import ACCEPTED, HUGE, SURVIVED, Case, node, simple, value

MODEL = "arrays_model.onnx"
# The model's only input, and the entry of an archive that holds it.
INPUT = "pixels"
ENTRY = f"{INPUT}.npy"
X = np.array([[1.0, -2.0], [3.0, -4.0]], np.float32)
EPOCH = (1980, 1, 1, 0, 0, 0)


def cases():
    shared = {"x.npz": of("x", X), "column.npz": of("x", X[:, :1]), "pixels.npz": of(INPUT, X)}
    first = Case(
        MODEL,
        "a working model on a working archive",
        model(),
        command="run",
        inputs="pixels.npz",
        exit=ACCEPTED,
        extra=shared,
    )
    return [first, *names_and_types(), *headers(), *archives()]


def model():
    return simple([node("Relu", [INPUT], ["y"])], inputs=[value(INPUT)])


def on(name, what, content, *contains, exit=(2,)):
    """A run of the working model on an archive of its own."""
    inputs = f"arrays_{name}.npz"
    return Case(MODEL, what, None, contains, exit=exit, command="run", inputs=inputs, extra={inputs: content})


def npy(array, **options):
    file = io.BytesIO()
    np.lib.format.write_array(file, array, **options)
    return file.getvalue()


def raw_npy(header, data, version=1):
    """An array file with any header text."""
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + length + header.encode() + data


def described(shape, descr="<f4", order=False):
    return f"{{'descr': {descr!r}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


def archive(*entries, method=zipfile.ZIP_STORED):
    """A zip archive without the clock: the same entries give the same bytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as target:
        for name, content in entries:
            target.writestr(zipfile.ZipInfo(name, date_time=EPOCH), content, method)
    return file.getvalue()


def of(name, array):
    """An archive of one array."""
    return archive((f"{name}.npy", npy(array)))


def of_input(content):
    """An archive whose only entry is named after the input and holds any bytes."""
    return archive((ENTRY, content))


def names_and_types():
    good = (ENTRY, npy(X))
    return [
        on("none", "an archive without arrays", archive(), INPUT),
        on("wrong_name", "an array under another name", archive(("stray.npy", npy(X))), INPUT, "stray"),
        on("extra", "an array that is no input", archive(good, ("stray.npy", npy(X))), "stray"),
        on("wrong_dtype", "f64 for an input of f32", of_input(npy(X.astype(np.float64))), INPUT, "f64", "f32"),
        on("wrong_shape", "three columns for two", of_input(npy(np.zeros([2, 3], np.float32))), INPUT),
        on("wrong_rank", "a vector for a matrix", of_input(npy(np.zeros([4], np.float32))), INPUT),
        on("duplicate", "two arrays of the same name", duplicate(good), INPUT, exit=SURVIVED),
        on(
            "escaping_name",
            "an entry whose name leaves the folder",
            archive(good, ("../../escape.npy", npy(X))),
            "escape",
        ),
    ]


def duplicate(entry):
    """Two entries of the same name, which Python's writer only warns about."""
    name, content = entry
    other = name.replace("p", "q")
    return archive(entry, (other, content)).replace(other.encode(), name.encode())


def headers():
    data = X.tobytes()
    return [
        on(
            "huge_shape",
            "a header that claims 2^40 by 2^40 elements",
            of_input(raw_npy(described((HUGE, HUGE)), data)),
            INPUT,
        ),
        on("large_shape", "a header that claims 2^38 elements", of_input(raw_npy(described((2**38,)), data)), INPUT),
        on("negative_shape", "a header with a negative size", of_input(raw_npy(described((-2, -2)), data)), INPUT),
        on(
            "short_data",
            "fewer elements than the header claims",
            of_input(raw_npy(described((2, 2)), data[:-1])),
            INPUT,
        ),
        on(
            "long_data",
            "more bytes than the header claims",
            of_input(raw_npy(described((2, 2)), data + b"\0")),
            INPUT,
            exit=SURVIVED,
        ),
        on(
            "objects",
            "an array of pickled objects",
            of_input(raw_npy(described((2, 2), "|O"), b"cos\nsystem\n(S'true'\ntR.")),
            INPUT,
        ),
        on("records", "an array of records", of_input(raw_npy(described((2,), [("a", "<f4")]), data)), INPUT),
        on("text", "an array of text", of_input(npy(np.array([["a", "b"], ["c", "d"]]))), INPUT),
        on("expression", "a header that is a program", of_input(raw_npy("__import__('os').abort()\n", data)), INPUT),
        on("deep_header", "a header of nested brackets", of_input(raw_npy("[" * 20000, data)), INPUT),
        on(
            "long_header",
            "a header that claims to be 4 GB long",
            of_input(b"\x93NUMPY\x02\x00\xff\xff\xff\xff{}"),
            INPUT,
        ),
        on("no_header", "an array file of four bytes", of_input(b"\x93NUM"), INPUT),
        on(
            "future_version",
            "a version of the format that does not exist",
            of_input(raw_npy(described((2, 2)), data, version=9)),
            INPUT,
        ),
        on("big_endian", "an array in the other byte order", of_input(npy(X.astype(">f4"))), exit=SURVIVED),
        on("column_major", "an array stored by columns", of_input(npy(np.asfortranarray(X))), exit=ACCEPTED),
        on("version_3", "the newest version of the format", of_input(npy(X, version=(3, 0))), exit=ACCEPTED),
        on("deflated", "a compressed archive", archive((ENTRY, npy(X)), method=zipfile.ZIP_DEFLATED), exit=ACCEPTED),
    ]


def archives():
    good = of_input(npy(X))
    deflated = archive((ENTRY, npy(X)), method=zipfile.ZIP_DEFLATED)
    data_at = good.index(X.tobytes())
    damaged = good[:data_at] + b"\xff" + good[data_at + 1 :]
    return [
        on("empty", "an archive without a single byte", b"", "arrays_empty.npz"),
        on("prose", "prose under the name of an archive", b"not an archive\n", "arrays_prose.npz"),
        on("cut", "an archive without its directory", good[:-30], "arrays_cut.npz"),
        on("bad_checksum", "an array that does not fit its checksum", damaged, INPUT),
        on("bad_deflate", "compressed data that is damaged", deflated[:60] + b"\xff" * 8 + deflated[68:], INPUT),
        on("bare_npy", "a single array instead of an archive", npy(X), "arrays_bare_npy.npz"),
    ]
