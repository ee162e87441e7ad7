"""Runs the LiteRT model of a bundle with one of its adapters, and prints the PSNR of each output against expected ones.

Usage: run_bundle_litert.py BUNDLE ADAPTER INPUTS.npz EXPECTED.npz PEAK
"""

import json
import struct
import sys
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

TYPES = {"I8": np.int8, "U8": np.uint8, "I16": np.int16, "U16": np.uint16, "I32": np.int32, "F32": np.float32}


def slots(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a safetensors file."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    read = {}
    for name, entry in header.items():
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        read[name] = np.frombuffer(data[begin:end], TYPES[entry["dtype"]]).reshape(entry["shape"])
    return read


def main() -> None:
    bundle, adapter, inputs, expected, peak = sys.argv[1:]
    runner = Interpreter(str(Path(bundle) / "litert/model.tflite")).get_signature_runner("serving_default")
    given = slots(Path(bundle) / "litert/adapters" / f"{adapter}.safetensors") | dict(np.load(inputs))
    wanted = runner.get_input_details()
    outputs = runner(**{name: given[name].astype(detail["dtype"]) for name, detail in wanted.items()})
    figures = {}
    for name, reference in np.load(expected).items():
        error = np.mean((outputs[name].reshape(reference.shape).astype(np.float64) - reference) ** 2)
        figures[name] = 10 * np.log10(float(peak) ** 2 / error)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
