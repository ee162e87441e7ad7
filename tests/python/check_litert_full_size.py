#!/usr/bin/env python3
"""Writes the full-size UNet for LiteRT, quantized to W8A16 with LoRA slots: check_litert_full_size.py QUAD OUTDIR [--keep].

QUAD is the built program; the Python that runs this has ai-edge-litert. OUTDIR gets the model (3.4 GB) and everything written
by the commands, 10 GB at most; what is large is deleted at the end unless --keep is given. Four things are checked:

* writing the quantized model takes at most 800 MB of memory, and so does the model in floats, whose weights are more than a
  flatbuffer holds and lie outside of it; `cp` of the quantized model is measured in the same run, for comparison;
* LiteRT loads both, and places all tensors of the quantized one;
* the first blocks up to the first transformer, with an adapter in the slots, compute what the interpreter computes. They are
  the same graph with another output: the text form of a graph can be edited;
* an adapter takes effect there.

Weights, adapter and ranges of activations are drawn or given: what is computed means nothing, but both compute it. Takes some
minutes. The exit code is 1 when anything does not hold.
"""

import argparse
import json
import math
import os
import pathlib
import re
import struct
import subprocess
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from check_full_size import SCRIPTS, draw_inputs, measure
from check_quantize_full_size import RANGES

# Peak memory of `quad convert`.
MAX_MEBIBYTES = 800
# Where the flatbuffer ends and constants lie outside.
INLINE_LIMIT = 1_900_000_000
RANK = 8
SEED = 5
# How far LiteRT may be off the interpreter: decibels between the output's range and the root mean squared difference. A share
# of 4096 positions in softmax is 8 steps of its encoding, where the runtime's kernels are up to 7 off, so this is no 16 bits.
LEAST_DECIBELS = 70
# The value after the first transformer, by what its name ends with.
CUT = "down_blocks.0/attentions.0/Add_output_0"
WIDTHS = {"down_blocks": [320, 640, 1280], "up_blocks": [None, 1280, 640, 320]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("quad", type=pathlib.Path)
    parser.add_argument("outdir", type=pathlib.Path)
    parser.add_argument("--keep", action="store_true", help="keep everything that is written")
    arguments = parser.parse_args()
    quad, outdir = str(arguments.quad.resolve()), arguments.outdir
    subprocess.run([sys.executable, SCRIPTS / "make_full_unet.py", outdir], check=True)
    adapter = outdir / "adapter.safetensors"
    write_adapter(adapter)
    try:
        steps = write_models(quad, outdir, adapter)
        holds = all(step.holds() for step in steps)
        print()
        for step in steps:
            print(step.line())
        holds &= loads(outdir / "unet.f32.tflite", place=False, outside=True)
        holds &= loads(outdir / "unet.tflite", place=True, outside=False)
        holds &= block_agrees(quad, outdir, adapter)
    finally:
        if not arguments.keep:
            for path in outdir.iterdir():
                if path.is_file() and path.stat().st_size > 2**20:
                    path.unlink()
    print("holds" if holds else "DOES NOT HOLD")
    return 0 if holds else 1


def modules():
    """The attention layers with their inputs and outputs, by path."""
    transformers = [(f"{part}.{at}.attentions.{index}", width)
                    for part, widths in WIDTHS.items()
                    for at, width in enumerate(widths)
                    for index in range(2 if part == "down_blocks" else 3)
                    if width is not None]
    for path, width in [*transformers, ("mid_block.attentions.0", 1280)]:
        for attention in ["attn1", "attn2"]:
            for layer in ["to_q", "to_k", "to_v", "to_out.0"]:
                # Keys and values of the second attention are those of the text.
                width_in = 768 if attention == "attn2" and layer in ("to_k", "to_v") else width
                yield f"{path}.transformer_blocks.0.{attention}.{layer}", width_in, width


def write_adapter(path):
    """A LoRA for every attention layer, in PEFT's names, as a safetensors file."""
    draw = np.random.default_rng(SEED)
    header, blobs, end = {}, [], 0
    for module, width_in, width_out in modules():
        for name, sizes in [("lora_A", [RANK, width_in]), ("lora_B", [width_out, RANK])]:
            blob = (draw.standard_normal(sizes, dtype=np.float32) / math.sqrt(sizes[1])).tobytes()
            header[f"{module}.{name}.weight"] = {"dtype": "F32", "shape": sizes, "data_offsets": [end, end + len(blob)]}
            blobs.append(blob)
            end += len(blob)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def write_models(quad, outdir, adapter):
    """Quantizes and writes; all steps with time and memory."""
    model, ranges = outdir / "model.onnx", outdir / "ranges.json"
    stats, profile, typed = outdir / "unet.stats", outdir / "unet.profile", outdir / "unet.quad"
    written, floats = outdir / "unet.tflite", outdir / "unet.f32.tflite"
    ranges.write_text(json.dumps(RANGES))
    given = ["--adapter", f"style={adapter}"]
    make = [quad, "profile", "make", stats, "--anchor", "style", "--precision", "w8a16", "--rules", "litert"]
    convert = [quad, "convert", typed, "--target", "litert", "-o", written]
    steps = [
        measure("quad calibrate", [quad, "calibrate", model, *given, "--ranges", ranges, "-o", stats]),
        measure("quad profile", [*make, "-o", profile]),
        measure("quad quantize", [quad, "quantize", model, *given, "--profile", profile, "-o", typed]),
        measure("quad convert", convert, max_mebibytes=MAX_MEBIBYTES),
        measure("cp", ["cp", written, outdir / "copy.tflite"]),
        measure(
            "floats",
            [quad, "convert", model, *given, "--target", "litert", "-o", floats],
            max_mebibytes=MAX_MEBIBYTES,
        ),
    ]
    (outdir / "copy.tflite").unlink()
    return steps


def loads(path, place, outside):
    """Whether LiteRT loads the file, and whether its constants lie where they should."""
    from ai_edge_litert.interpreter import Interpreter

    size = path.stat().st_size
    started = time.monotonic()
    interpreter = Interpreter(str(path), num_threads=os.cpu_count())
    if place:
        interpreter.allocate_tensors()
    slots = sum("lora" in name for name in interpreter.get_signature_list()["serving_default"]["inputs"])
    lies_outside = size > INLINE_LIMIT
    print(
        f"{path.name}: {size / 2**20:.0f} MB, constants {'outside' if lies_outside else 'inside'} of the flatbuffer, "
        f"{slots} slots, loads in {time.monotonic() - started:.1f} s"
    )
    return slots > 0 and lies_outside == outside


def block_agrees(quad, outdir, adapter):
    """Whether the first blocks compute in LiteRT what the interpreter computes, and something else without the adapter."""
    block, written, slots = outdir / "block.quad", outdir / "block.tflite", outdir / "slots.safetensors"
    cut(outdir / "unet.quad", outdir / "cut.quad")
    run = lambda *command: subprocess.run([quad, *map(str, command)], check=True)
    run("opt", outdir / "cut.quad", "-p", "dce", "-o", block)
    run("convert", block, "--target", "litert", "-o", written)
    run("adapter", "pack", block, adapter, "-o", slots)
    inputs, outputs = outdir / "inputs.npz", outdir / "outputs.npz"
    np.savez(inputs, **draw_inputs())
    run("run", block, "--adapter", slots, "--inputs", inputs, "--outputs", outputs)
    with np.load(outputs) as arrays:
        expected = arrays[arrays.files[0]].astype(np.float64)
    filled = read_safetensors(slots)
    found = compute(written, {**draw_inputs(), **filled})
    without = compute(written, {**draw_inputs(), **{name: np.zeros_like(slot) for name, slot in filled.items()}})
    agreement, effect = decibels(found, expected), decibels(without, expected)
    largest = np.abs(found - expected).max() / (expected.max() - expected.min())
    print(
        f"first blocks, {expected.shape}: {agreement:.1f} dB of the interpreter, at least {LEAST_DECIBELS}; "
        f"{largest:.1e} of the range at most; without the adapter {effect:.1f} dB"
    )
    return agreement >= LEAST_DECIBELS and effect < agreement - 20


def cut(source, target):
    """Writes the graph @main of the text `source` with the value `CUT` as its only output."""
    lines = source.read_text().splitlines(keepends=True)
    start = next(at for at, line in enumerate(lines) if line.startswith("graph @main"))
    end = next(at for at, line in enumerate(lines[start:], start) if line.strip() == "}")
    name = re.compile(rf'^  (%"[^"]*{re.escape(CUT)}") = ')
    value = next(found.group(1) for line in lines[start:end] if (found := name.match(line)))
    last = next(at for at in range(end, start, -1) if lines[at].lstrip().startswith("return "))
    lines[last] = f'  return "block" = {value}\n'
    target.write_text("".join(lines))
    weights = target.with_name(target.name + ".safetensors")
    weights.unlink(missing_ok=True)
    weights.symlink_to((source.parent / (source.name + ".safetensors")).resolve())


def read_safetensors(path):
    """The tensors of a file of 8- and 16-bit integers, by name."""
    blob = path.read_bytes()
    length = struct.unpack("<Q", blob[:8])[0]
    header = json.loads(blob[8 : 8 + length])
    types = {"I8": np.int8, "I16": np.int16}
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            start, end = (8 + length + offset for offset in entry["data_offsets"])
            tensors[name] = np.frombuffer(blob[start:end], types[entry["dtype"]]).reshape(entry["shape"])
    return tensors


def compute(path, inputs):
    """The only output of the model at `path`."""
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(str(path), num_threads=os.cpu_count()).get_signature_runner("serving_default")
    asked = runner.get_input_details()
    (output,) = runner(**{name: array for name, array in inputs.items() if name in asked}).values()
    return output.astype(np.float64)


def decibels(found, expected):
    error = math.sqrt(float(np.mean((found - expected) ** 2)))
    return 20 * math.log10(float(expected.max() - expected.min()) / max(error, 1e-30))


if __name__ == "__main__":
    sys.exit(main())
