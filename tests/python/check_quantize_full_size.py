#!/usr/bin/env python3
"""Measures the quantization of the full-size UNet to W8A16: check_quantize_full_size.py QUAD OUTDIR.

QUAD is the built program. OUTDIR gets the model (3.4 GB, kept for the next time) and everything written by the commands.
Nothing is run: the ranges of activations are given, and those of weights come from the weights. `cp` of the model is
measured in the same run, for comparison. Peak memory is the largest resident set, pages of mapped files included. The exit
code is 1 when a bound does not hold.
"""

import argparse
import json
import pathlib
import subprocess
import sys

from check_full_size import SCRIPTS, measure

# Peak memory of `quad quantize`, which reads 860 million parameters in fp32 and writes them in 8 bits.
MAX_MEBIBYTES = 800
# Ranges of activations, by patterns of names; the longest that fits counts. What they are has no influence on time or memory.
RANGES = {"*": [-8.0, 8.0], "*softmax*": [0.0, 1.0]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("quad", type=pathlib.Path)
    parser.add_argument("outdir", type=pathlib.Path)
    arguments = parser.parse_args()
    quad, outdir = str(arguments.quad.resolve()), arguments.outdir
    subprocess.run([sys.executable, SCRIPTS / "make_full_unet.py", outdir], check=True)
    model, ranges = outdir / "model.onnx", outdir / "ranges.json"
    stats, profile = outdir / "unet.stats", outdir / "unet.profile"
    ranges.write_text(json.dumps(RANGES))
    make = ["profile", "make", stats, "--anchor", "base", "--precision", "w8a16", "-o", profile]
    quantize = [quad, "quantize", model, "--profile", profile]
    steps = [measure("cp", ["cp", f"{model}.data", outdir / "copy.data"])]
    (outdir / "copy.data").unlink()
    steps += [
        measure("quad calibrate", [quad, "calibrate", model, "--ranges", ranges, "-o", stats]),
        measure("quad profile", [quad, *make]),
        measure("quad quantize", [*quantize, "-o", outdir / "unet.quad"], max_mebibytes=MAX_MEBIBYTES),
        measure("to ONNX", [*quantize, "-o", outdir / "unet.w8a16.onnx"], max_mebibytes=MAX_MEBIBYTES),
    ]
    print()
    for step in steps:
        print(step.line())
    for path in sorted(outdir.glob("unet.*")):
        print(f"{path.name:<28} {path.stat().st_size / 2**20:8.1f} MB")
    return 0 if all(step.holds() for step in steps) else 1


if __name__ == "__main__":
    sys.exit(main())
