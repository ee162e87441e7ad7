#!/usr/bin/env python3
"""Runs a model in ONNX Runtime on the CPU: run_onnxruntime.py MODEL INPUTS.npz OUTPUTS.npz [INPUTS.npz OUTPUTS.npz ..].

The counterpart of `quad run` for comparisons. Prints how long loading and running took.
"""

import argparse
import time

import numpy as np
import onnxruntime


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("files", nargs="+", help="inputs and outputs in turns")
    parser.add_argument("--no-optimization", action="store_true", help="run the graph as it is")
    parser.add_argument("--threads", type=int, default=0, help="threads of an operation; 0 for as many as there are")
    arguments = parser.parse_args()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = arguments.threads
    if arguments.no_optimization:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    started = time.monotonic()
    session = onnxruntime.InferenceSession(arguments.model, options, providers=["CPUExecutionProvider"])
    loaded = time.monotonic()
    names = [output.name for output in session.get_outputs()]
    for inputs, outputs in zip(arguments.files[::2], arguments.files[1::2], strict=True):
        with np.load(inputs) as arrays:
            found = session.run(None, {name: arrays[name] for name in arrays.files})
        np.savez(outputs, **dict(zip(names, found, strict=True)))
    print(f"onnxruntime: loaded in {loaded - started:.2f} s, ran in {time.monotonic() - loaded:.2f} s")


if __name__ == "__main__":
    main()
