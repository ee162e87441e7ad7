#!/usr/bin/env python3
"""Runs models in ONNX Runtime for other programs: questions on standard input, answers on standard output.

A question is a line of JSON, {"model": path, "folder": path}. The folder holds `input_<n>.pb`, tensors with the names of
the model's inputs, and gets `output_<n>.pb`. The answer is a line of JSON, {"outputs": names of the outputs in the order
of the files, "error": message or null}. Models are run as they are, without graph optimizations.
"""

import json
import pathlib
import sys

import onnx
import onnxruntime
from onnx import numpy_helper


def main():
    onnxruntime.set_default_logger_severity(4)
    for line in sys.stdin:
        try:
            question = json.loads(line)
            answer = {"outputs": run(question["model"], pathlib.Path(question["folder"])), "error": None}
        # Whatever is wrong with a model, the next one may be sound.
        except Exception as error:
            answer = {"outputs": [], "error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


def run(model, folder):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    # The models are tiny, and other tests run at the same time.
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    feeds = {}
    for path in sorted(folder.glob("input_*.pb")):
        tensor = onnx.load_tensor(str(path))
        feeds[tensor.name] = numpy_helper.to_array(tensor)
    names = [output.name for output in session.get_outputs()]
    for index, (name, array) in enumerate(zip(names, session.run(names, feeds), strict=True)):
        onnx.save_tensor(numpy_helper.from_array(array, name), str(folder / f"output_{index}.pb"))
    return names


if __name__ == "__main__":
    main()
