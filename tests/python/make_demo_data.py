#!/usr/bin/env python3
"""Cuts one run for each task out of the testbed's data: make_demo_data.py OUTDIR.

Writes archives such as `edge.inputs.npz`, whose names are the model's inputs, and `edge.expected.npz`, which holds what
PyTorch computed in fp32 with the adapter for that task, under the names of the model's outputs. The demo reads the committed
copies in `tests/fixtures/demo`; this script made them.
"""

import argparse
import json
import pathlib
import zipfile

import numpy as np

SOURCE = pathlib.Path(__file__).resolve().parent.parent / "fixtures" / "testbed" / "data"
TASKS = ["inpaint", "edge", "deblur", "relight"]
ELEMENTS = {"F32": np.float32, "F16": np.float16, "I64": np.int64}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("outdir", type=pathlib.Path)
    outdir = parser.parse_args().outdir
    outdir.mkdir(parents=True, exist_ok=True)
    for task in TASKS:
        arrays = read_safetensors(SOURCE / f"{task}.eval.safetensors")
        inputs = {name: arrays[name] for name in ("timestep", "encoder_hidden_states")}
        inputs["sample"] = arrays["sample"][:1].astype(np.float32)
        write_npz(outdir / f"{task}.inputs.npz", inputs)
        write_npz(outdir / f"{task}.expected.npz", {"out_sample": arrays["out.fp32.first16"][:1]})


def read_safetensors(path):
    """The arrays of a safetensors file: the length of a JSON header, the header, and the elements."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    arrays = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        elements = np.frombuffer(data[start + begin : start + end], ELEMENTS[entry["dtype"]])
        arrays[name] = elements.reshape(entry["shape"])
    return arrays


def write_npz(path, arrays):
    """Like `numpy.savez`, but without the clock: the same arrays give the same bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, array in sorted(arrays.items()):
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            with archive.open(entry, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)


if __name__ == "__main__":
    main()
