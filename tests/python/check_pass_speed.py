#!/usr/bin/env python3
"""Measures the passes on the full-size UNet, beside ONNX Runtime's offline optimisation: check_pass_speed.py BIN OUTDIR.

BIN is the built program `pass-speed`. OUTDIR gets the model (3.4 GB, kept for the next time). ONNX Runtime optimises the
same model in the same run, at its levels `basic` and `all`, and does not write it: only making the session is timed.
Takes minutes, so it is not part of `test.sh`.
"""

import argparse
import pathlib
import subprocess
import sys
import time

import onnxruntime

SCRIPTS = pathlib.Path(__file__).resolve().parent


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bin", type=pathlib.Path)
    parser.add_argument("outdir", type=pathlib.Path)
    arguments = parser.parse_args()
    subprocess.run([sys.executable, SCRIPTS / "make_full_unet.py", arguments.outdir], check=True)
    model = arguments.outdir / "model.onnx"
    subprocess.run([arguments.bin.resolve(), "npu", model], check=True)
    levels = onnxruntime.GraphOptimizationLevel
    for name, level in [("none", levels.ORT_DISABLE_ALL), ("basic", levels.ORT_ENABLE_BASIC), ("all", levels.ORT_ENABLE_ALL)]:
        print(f"onnxruntime {onnxruntime.__version__}, level {name}: session made in {session(model, level):.2f} s", flush=True)


def session(model, level):
    """Seconds for making a session: reading the model, optimising it and preparing kernels."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    started = time.monotonic()
    onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    return time.monotonic() - started


if __name__ == "__main__":
    main()
