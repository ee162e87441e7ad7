#!/usr/bin/env python3
"""Writes and reads archives with NumPy and ml_dtypes, to check the project's reader and writer against them.

    numpy_archive.py write OUT.npz   writes one array of every element type, in several layouts
    numpy_archive.py read IN.npz     prints name, element type, shape and elements of every array

The archive that `write` makes is committed as `tests/fixtures/arrays/numpy.npz`.
"""

import argparse
import sys
import zipfile

import ml_dtypes
import numpy as np

PLAIN = ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1"]
# NumPy writes and reads these without their names.
NAMELESS = [
    "bfloat16",
    "float8_e4m3fn",
    "float8_e4m3fnuz",
    "float8_e5m2fnuz",
    "float8_e8m0fnu",
    "float4_e2m1fn",
    "int4",
    "uint4",
    "int2",
    "uint2",
]
EPOCH = (1980, 1, 1, 0, 0, 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("direction", choices=["write", "read"])
    parser.add_argument("archive")
    arguments = parser.parse_args()
    if arguments.direction == "write":
        write(arguments.archive)
    else:
        read(arguments.archive)


def write(path):
    """Entries alternate between stored and compressed; the clock stays out of them."""
    with zipfile.ZipFile(path, "w") as target:
        for number, (name, array) in enumerate(sorted(arrays().items())):
            method = zipfile.ZIP_DEFLATED if number % 2 else zipfile.ZIP_STORED
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=EPOCH)
            entry.compress_type = method
            with target.open(entry, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)


def arrays():
    """Every array is [[0, 1, 2], [3, 1, 0]], as far as its element type can tell."""
    values = np.array([[0, 1, 2], [3, 1, 0]])
    made = {name: values.astype(f"<{name}") for name in PLAIN}
    made |= {f"big_{name}": values.astype(f">{name}") for name in PLAIN}
    made |= {f"columns_{name}": np.asfortranarray(values.astype(name)) for name in PLAIN}
    made |= {name: values.astype(np.float32).astype(getattr(ml_dtypes, name)) for name in NAMELESS}
    made["float8_e5m2"] = values.astype(ml_dtypes.float8_e5m2)
    made["bool"] = values.astype(bool)
    made["columns_3d"] = np.asfortranarray(np.arange(24, dtype=np.int32).reshape(2, 3, 4))
    made["scalar"] = np.array(7, np.int64)
    made["empty"] = np.zeros([0, 4], np.float32)
    return made


def read(path):
    with np.load(path, allow_pickle=False) as archive:
        for name in archive.files:
            array = archive[name]
            if array.dtype.names:
                (kind,) = array.dtype.names
                array = array.view(getattr(ml_dtypes, kind))
            elements = " ".join(str(float(element)) for element in array.flatten())
            sys.stdout.write(f"{name}|{array.dtype}|{list(array.shape)}|{elements}\n")


if __name__ == "__main__":
    main()
