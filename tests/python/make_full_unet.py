#!/usr/bin/env python3
"""Writes the full-size Stable Diffusion 1.5 UNet with drawn weights: make_full_unet.py OUTDIR.

The graph is committed as `tests/fixtures/full/sd15_unet.onnx`; it refers to 860 million fp32 weights (3.4 GB) in
`model.onnx.data`, which are drawn here. Each tensor has a generator of its own, so the same NumPy version always writes
the same bytes. Needs NumPy only, and as much memory as the largest tensor takes.
"""

import argparse
import json
import math
import os
import pathlib
import shutil

import numpy as np

FIXTURE = pathlib.Path(__file__).resolve().parent.parent / "fixtures" / "full"
# First half of every tensor's seed; the second half is the tensor's position in `weights.json`.
SEED = 15
# Biases and norm scales are small, so that no layer drowns its input.
VECTOR_SCALE = 0.02


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("outdir", type=pathlib.Path)
    outdir = parser.parse_args().outdir
    outdir.mkdir(parents=True, exist_ok=True)
    layout = json.loads((FIXTURE / "weights.json").read_text())
    weights = outdir / layout["location"]
    model = outdir / "model.onnx"
    if not is_complete(weights, model, layout["tensors"]):
        write_weights(weights, layout["tensors"])
        shutil.copyfile(FIXTURE / "sd15_unet.onnx", model)
    print(model)


def is_complete(weights, model, tensors):
    """True when both files are there and the weights have their full length."""
    last = max(offset + length for _, _, offset, length in tensors)
    return model.exists() and weights.exists() and weights.stat().st_size == last


def write_weights(path, tensors):
    """Writes every tensor at its offset into a temporary file, then renames it to `path`."""
    partial = path.with_name(path.name + ".part")
    with open(partial, "wb") as file:
        for index, (name, dims, offset, length) in enumerate(tensors):
            values = draw(index, name, dims)
            if values.nbytes != length:
                raise ValueError(f"{name}: {dims} takes {values.nbytes} bytes, weights.json says {length}")
            file.seek(offset)
            values.tofile(file)
    os.replace(partial, path)


def draw(index, name, dims):
    """Normal values whose variance is one over the fan-in, so that activations neither vanish nor overflow."""
    values = np.random.default_rng([SEED, index]).standard_normal(math.prod(dims), dtype=np.float32)
    values *= np.float32(1.0 / np.sqrt(fan_in(name, dims)) if len(dims) > 1 else VECTOR_SCALE)
    return values


def fan_in(name, dims):
    """How many inputs one output of the layer sums; the exporter stores unnamed linear weights transposed."""
    is_transposed = name.startswith("onnx::MatMul")
    return dims[0] if is_transposed else math.prod(dims[1:])


if __name__ == "__main__":
    main()
