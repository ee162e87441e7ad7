#!/usr/bin/env python3
"""Loads the encodings of a model converted for QNN into AIMET.

Usage: check_aimet.py FOLDER [FOLDER ..]    FOLDER is what `quad convert --target qnn` wrote.

Runs on Python packages of its own, tests/python/requirements-aimet.txt, which are several gigabytes: this is not part of the
tests. Every encoding of each of the three versions must be found in the float model, be taken, and come back as it was. Of
version 2.0.0 AIMET drops encodings of what is only moved, where that is quantized already; those are counted.
"""

import json
import pathlib
import sys

import numpy
import onnx
from aimet_onnx.quantsim import QuantizationSimModel, load_encodings_to_sim

VERSIONS = ["0.6.1", "1.0.0", "2.0.0"]
MOVES = {"Transpose", "Reshape", "Slice", "Split", "Concat", "Resize", "Tile", "Gather", "Pad"}


def expected(file):
    """What the file says of each tensor: bits, scales, and offsets as if codes were unsigned."""
    encodings = {}
    if file["version"] == "0.6.1":
        for section in ("activation_encodings", "param_encodings"):
            for name, each in file[section].items():
                encodings[name] = (
                    each[0]["bitwidth"],
                    [one["scale"] for one in each],
                    [one["offset"] for one in each],
                )
    elif file["version"] == "1.0.0":
        for section in ("activation_encodings", "param_encodings"):
            for each in file[section]:
                encodings[each["name"]] = (each["bw"], each["scale"], each["offset"])
    else:
        for each in file["encodings"]:
            kind = each["output_dtype"]
            bits = int(kind.lstrip("uint"))
            scales = numpy.atleast_1d(each["y_scale"])
            zeros = numpy.broadcast_to(numpy.atleast_1d(each.get("y_zero_point", 0)), scales.shape)
            middle = 0 if kind.startswith("u") else 1 << (bits - 1)
            encodings[each["name"]] = (bits, scales, -zeros - middle)
    return encodings


def check(folder):
    model = str(folder / "sdk" / "model.onnx")
    nodes = onnx.load(model, load_external_data=False).graph.node
    moved = {name for node in nodes if node.op_type in MOVES for name in node.output}
    for version in VERSIONS:
        path = folder / "sdk" / f"encodings-{version}.json"
        wanted = expected(json.loads(path.read_text()))
        sim = QuantizationSimModel(onnx.load(model), param_type="int8", activation_type="int16")
        load_encodings_to_sim(sim, str(path), strict=False)
        quantizers = sim.qc_quantize_op_dict
        wrong, dropped = [], 0
        for name, (bits, scales, offsets) in wanted.items():
            quantizer = quantizers.get(name)
            if quantizer is None or not quantizer.enabled:
                if version == "2.0.0" and name in moved:
                    dropped += 1
                    continue
                wrong.append(f"{name}: not quantized")
                continue
            found = quantizer.get_encodings()
            same = (
                len(found) == len(scales)
                and quantizer.bitwidth == bits
                and numpy.allclose([one.delta for one in found], scales, rtol=1e-6)
                and numpy.array_equal([round(one.offset) for one in found], offsets)
            )
            if not same:
                wrong.append(f"{name}: {bits} bits, {scales[:2]}, {offsets[:2]} became {quantizer.bitwidth} bits")
        taken = len(wanted) - len(wrong) - dropped
        print(f"{folder}, version {version}: {taken} of {len(wanted)} encodings taken, {dropped} of moved data dropped")
        if wrong:
            sys.exit("\n".join(wrong[:20]))


def main():
    for folder in sys.argv[1:]:
        check(pathlib.Path(folder))


if __name__ == "__main__":
    main()
