#!/usr/bin/env python3
"""Runs models in LiteRT's interpreter for other programs: questions on standard input, answers on standard output.

A question is a line of JSON, {"model": path, "resolver": name, "runs": [[inputs, outputs], ..]}. Inputs are archives of
arrays with the names of the signature's inputs; outputs are archives that are written. All runs are made by one interpreter,
in order, so that nothing may be left over from one to the next. `resolver` says which kernels run: "default" (XNNPACK where
it can), "plain" (the optimized kernels alone) or "reference". The answer is a line of JSON, {"error": message or null}, with
what the file says of itself, {"inputs": [name, ..], "outputs": [name, ..], "metadata": {name: text}}.
"""

import json
import mmap
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

RESOLVERS = {
    "default": OpResolverType.BUILTIN,
    "plain": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    "reference": OpResolverType.BUILTIN_REF,
}


def main():
    for line in sys.stdin:
        try:
            answer = {"error": None, **run(json.loads(line))}
        # Whatever is wrong with a model, the next one may be sound.
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


def run(question):
    # The models are tiny, and other tests run at the same time.
    interpreter = Interpreter(
        model_path=question["model"],
        experimental_op_resolver_type=RESOLVERS[question["resolver"]],
        num_threads=1,
    )
    runner = interpreter.get_signature_runner("serving_default")
    for inputs, outputs in question["runs"]:
        with numpy.load(inputs) as arrays:
            feeds = {name: arrays[name] for name in arrays.files}
        results = runner(**feeds)
        numpy.savez(outputs, **results)
    return about(question["model"])


def about(path):
    """Names of the first signature, in order, and metadata, as the tables of the file have them."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        model = schema.Model.GetRootAs(data)
        signature = model.SignatureDefs(0)
        found = [model.Metadata(index) for index in range(model.MetadataLength())]
        texts = {entry.Name().decode(): contents(model.Buffers(entry.Buffer()), data) for entry in found}
        return {
            "inputs": [signature.Inputs(index).Name().decode() for index in range(signature.InputsLength())],
            "outputs": [signature.Outputs(index).Name().decode() for index in range(signature.OutputsLength())],
            "metadata": texts,
        }


def contents(buffer, data):
    """The text in a buffer, which lies inside of the tables or behind them."""
    inside = buffer.DataAsNumpy()
    text = data[buffer.Offset() : buffer.Offset() + buffer.Size()] if isinstance(inside, int) else inside.tobytes()
    return text.decode()


if __name__ == "__main__":
    main()
