#!/usr/bin/env python3
"""Measures `quad` on the full-size UNet, against its bounds and against ONNX Runtime: check_full_size.py QUAD OUTDIR.

QUAD is the built program. OUTDIR gets the model (3.4 GB, kept for the next time), its inputs and everything written by
the commands. Peak memory is the largest resident set, pages of mapped files included. The exit code is 1 when a bound
does not hold. Takes minutes, so it is not part of `test.sh`.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import time
from dataclasses import dataclass

import numpy as np

SCRIPTS = pathlib.Path(__file__).resolve().parent
SEED = 4
# Largest difference, relative to the largest magnitude of ONNX Runtime's output.
AGREEMENT = 1e-3


@dataclass
class Measured:
    """One finished command."""

    name: str
    seconds: float
    mebibytes: float
    max_seconds: float = float("inf")
    max_mebibytes: float = float("inf")

    def holds(self):
        return self.seconds <= self.max_seconds and self.mebibytes <= self.max_mebibytes

    def line(self):
        bounds = []
        if self.max_seconds < float("inf"):
            bounds.append(f"{self.max_seconds:.0f} s")
        if self.max_mebibytes < float("inf"):
            bounds.append(f"{self.max_mebibytes:.0f} MB")
        verdict = f"{'ok' if self.holds() else 'TOO MUCH'}, at most {', '.join(bounds)}" if bounds else ""
        return f"{self.name:<16} {self.seconds:8.2f} s {self.mebibytes:8.0f} MB   {verdict}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("quad", type=pathlib.Path)
    parser.add_argument("outdir", type=pathlib.Path)
    arguments = parser.parse_args()
    quad, outdir = str(arguments.quad.resolve()), arguments.outdir
    subprocess.run([sys.executable, SCRIPTS / "make_full_unet.py", outdir], check=True)
    np.savez(outdir / "inputs.npz", **draw_inputs())
    steps = measure_all(quad, outdir)
    print()
    for step in steps:
        print(step.line())
    agrees = report_difference(outdir)
    return 0 if agrees and all(step.holds() for step in steps) else 1


def draw_inputs():
    """A latent, a timestep in the middle of the schedule and a text embedding."""
    rng = np.random.default_rng(SEED)
    return {
        "sample": rng.standard_normal([1, 4, 64, 64], dtype=np.float32),
        "timestep": np.array([500], np.int64),
        "encoder_hidden_states": rng.standard_normal([1, 77, 768], dtype=np.float32),
    }


def measure_all(quad, outdir):
    model, inputs = outdir / "model.onnx", outdir / "inputs.npz"
    copy = outdir / "copy"
    copy.mkdir(exist_ok=True)
    runtime = [sys.executable, SCRIPTS / "run_onnxruntime.py", model, inputs, outdir / "onnxruntime.npz"]
    run = [quad, "run", model, "--inputs", inputs, "--outputs", outdir / "quad.npz"]
    return [
        measure("quad inspect", [quad, "inspect", model], max_seconds=1, max_mebibytes=200),
        measure("quad convert", [quad, "convert", model, "-o", copy / "model.onnx"], max_mebibytes=400),
        measure("onnxruntime", runtime),
        measure("quad run", run),
    ]


def measure(name, command, **bounds):
    """Runs one command to its end and returns its wall time and peak memory; a failure ends the script."""
    print(f"== {name}", flush=True)
    started = time.monotonic()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{name} ended with exit code {process.returncode}")
    # Linux counts in kibibytes, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return Measured(name, time.monotonic() - started, usage.ru_maxrss * unit / 2**20, **bounds)


def report_difference(outdir):
    """Prints the largest relative difference of every output; true when all are small enough."""
    agrees = True
    with np.load(outdir / "onnxruntime.npz") as expected, np.load(outdir / "quad.npz") as found:
        for name in expected.files:
            difference = np.abs(found[name] - expected[name]).max() / np.abs(expected[name]).max()
            # Written so that a difference which is no number does not pass.
            agrees &= bool(difference <= AGREEMENT)
            print(f"{name}: differs by {difference:.2e} of its largest magnitude, at most {AGREEMENT:.0e}")
    return agrees


if __name__ == "__main__":
    sys.exit(main())
