#!/usr/bin/env python3
"""Runs a model in ONNX Runtime on the CPU: run_onnxruntime.py MODEL INPUTS.npz OUTPUTS.npz [--no-optimization].

The counterpart of `quad run` for comparisons. Prints how long loading and running took.
"""

import argparse
import time

import numpy as np
import onnxruntime


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("inputs")
    parser.add_argument("outputs")
    parser.add_argument("--no-optimization", action="store_true", help="run the graph as it is")
    arguments = parser.parse_args()
    options = onnxruntime.SessionOptions()
    if arguments.no_optimization:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    started = time.monotonic()
    session = onnxruntime.InferenceSession(arguments.model, options, providers=["CPUExecutionProvider"])
    loaded = time.monotonic()
    with np.load(arguments.inputs) as arrays:
        outputs = session.run(None, {name: arrays[name] for name in arrays.files})
    print(f"onnxruntime: loaded in {loaded - started:.2f} s, ran in {time.monotonic() - loaded:.2f} s")
    names = [output.name for output in session.get_outputs()]
    np.savez(arguments.outputs, **dict(zip(names, outputs, strict=True)))


if __name__ == "__main__":
    main()
