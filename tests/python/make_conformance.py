#!/usr/bin/env python3
"""Writes ONNX's backend test cases as folders that `quad conformance` reads: make_conformance.py OUTDIR.

    OUTDIR/node/<case>/               one operator each, drawn by the `onnx` package's own case generators
    OUTDIR/simple/<case>/             small graphs that ship with the package, copied
    OUTDIR/pytorch-operator/<case>/   exported operators that ship with the package, copied
    OUTDIR/pytorch-converted/<case>/  exported layers that ship with the package, copied
    OUTDIR/light/<case>/              whole CNNs without their weights, with the inputs that ONNX's runner feeds them

A case holds `model.onnx` and `test_data_set_<n>/{input,output}_<i>.pb`, and `tolerance.json` where ONNX's runner is
laxer than its default (rtol 1e-3, atol 1e-7). `OUTDIR/stamp.json` names the versions that wrote the data; when it fits,
nothing is done. The data is written beside OUTDIR and moved in place when it is whole.
"""

import argparse
import json
import os
import pathlib
import shutil
import tempfile
import warnings
from collections import Counter

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

# Raised by hand when this script writes something else for the same package versions.
LAYOUT = 1
# The case generators draw from NumPy's global generator while they are imported.
SEED = 20
PACKAGED_KINDS = ("simple", "pytorch-converted", "pytorch-operator")
DEFAULT_TOLERANCE = (1e-3, 1e-7)
# ONNX's runner allows two units in the last place where an output is bfloat16.
BFLOAT16_RTOL = 2.0**-6


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("outdir", type=pathlib.Path)
    parser.add_argument("--force", action="store_true", help="write again even when the stamp fits")
    arguments = parser.parse_args()
    outdir = arguments.outdir
    if not arguments.force and is_complete(outdir):
        print(f"{outdir}: complete, nothing to do")
        return
    counts = write_all(outdir)
    for kind, count in sorted(counts.items()):
        print(f"{outdir / kind}: {count} cases")


def versions():
    """What decides the bytes that are written."""
    return {
        "layout": LAYOUT,
        "seed": SEED,
        "onnx": onnx.__version__,
        "numpy": np.__version__,
        "ml_dtypes": ml_dtypes.__version__,
    }


def is_complete(outdir):
    """True when OUTDIR was finished by the same versions."""
    try:
        stamp = json.loads((outdir / "stamp.json").read_text())
    except (OSError, ValueError):
        return False
    return stamp.get("versions") == versions()


def write_all(outdir):
    """Writes every kind into a temporary sibling of OUTDIR and moves it in place; returns cases per kind."""
    outdir.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{outdir.name}.", dir=outdir.parent) as scratch:
        fresh = pathlib.Path(scratch) / "data"
        fresh.mkdir()
        counts = Counter()
        counts["node"] = write_node_cases(fresh / "node")
        for kind in PACKAGED_KINDS:
            counts[kind] = copy_packaged_cases(kind, fresh / kind)
        counts["light"] = write_light_cases(fresh / "light")
        stamp = {"versions": versions(), "cases": dict(sorted(counts.items()))}
        (fresh / "stamp.json").write_text(json.dumps(stamp, indent=2) + "\n")
        if outdir.exists():
            shutil.rmtree(outdir)
        os.replace(fresh, outdir)
    return counts


def write_node_cases(outdir):
    """Imports the generators, which draws all the cases, and writes each; returns how many."""
    # Importing the loader imports the generators, so the seed must come first.
    np.random.seed(SEED)
    with warnings.catch_warnings():
        # Some cases divide by zero on purpose.
        warnings.simplefilter("ignore", RuntimeWarning)
        from onnx.backend.test.loader import load_model_tests  # noqa: PLC0415

        cases = load_model_tests(kind="node")
    for case in cases:
        folder = outdir / case.name
        folder.mkdir(parents=True)
        write_message(folder / "model.onnx", case.model)
        graph = case.model.graph
        for index, (inputs, outputs) in enumerate(case.data_sets):
            data_set = folder / f"test_data_set_{index}"
            data_set.mkdir()
            write_values(data_set, "input", inputs, graph.input)
            write_values(data_set, "output", outputs, graph.output)
        write_tolerance(folder, *node_tolerance(case))
    return len(cases)


def node_tolerance(case):
    """The case's own tolerance, as ONNX's runner applies it to the outputs' type."""
    has_bfloat16 = any(output.type.tensor_type.elem_type == TensorProto.BFLOAT16 for output in case.model.graph.output)
    return (max(case.rtol, BFLOAT16_RTOL) if has_bfloat16 else case.rtol, case.atol)


def write_tolerance(folder, rtol, atol):
    """Writes `tolerance.json` where the tolerance is not the one that every runner assumes."""
    if (rtol, atol) != DEFAULT_TOLERANCE:
        (folder / "tolerance.json").write_text(json.dumps({"rtol": rtol, "atol": atol}) + "\n")


def write_values(data_set, role, values, infos):
    """Writes `<role>_<i>.pb` for each value, in the message that its declared type asks for."""
    for index, (value, info) in enumerate(zip(values, infos, strict=True)):
        write_message(data_set / f"{role}_{index}.pb", to_message(value, info))


def to_message(value, info):
    """One tensor, sequence, map or optional as the protobuf message of that kind."""
    if isinstance(value, TensorProto):
        return value
    if info.type.HasField("map_type"):
        return numpy_helper.from_dict(value, info.name)
    if info.type.HasField("sequence_type"):
        return numpy_helper.from_list(value, info.name)
    if info.type.HasField("optional_type"):
        return numpy_helper.from_optional(value, info.name)
    return numpy_helper.from_array(np.asarray(value), info.name)


def write_message(path, message):
    path.write_bytes(message.SerializeToString(deterministic=True))


def packaged_data():
    """The folder of ready-made cases inside the `onnx` package."""
    return pathlib.Path(onnx.__file__).parent / "backend" / "test" / "data"


def copy_packaged_cases(kind, outdir):
    """Copies the package's folders of one kind that hold a model; returns how many."""
    cases = sorted(path.parent for path in (packaged_data() / kind).glob("*/model.onnx"))
    for case in cases:
        shutil.copytree(case, outdir / case.name)
        settings = case / "data.json"
        if settings.exists():
            write_own_tolerance(outdir / case.name, json.loads(settings.read_text()))
    return len(cases)


def write_own_tolerance(folder, settings):
    """Carries over the tolerance that the package's `data.json` states for a case."""
    rtol, atol = DEFAULT_TOLERANCE
    write_tolerance(folder, settings.get("rtol", rtol), settings.get("atol", atol))


def write_light_cases(outdir):
    """Writes the weightless CNNs with the ramp that ONNX's runner feeds every input; returns how many."""
    light, count = packaged_data() / "light", 0
    for settings_path in sorted((packaged_data() / "real").glob("*/data.json")):
        settings = json.loads(settings_path.read_text())
        stem = pathlib.PurePosixPath(settings["url"]).stem
        folder = outdir / settings_path.parent.name
        data_set = folder / "test_data_set_0"
        data_set.mkdir(parents=True)
        shutil.copyfile(light / f"{stem}.onnx", folder / "model.onnx")
        graph = onnx.load(light / f"{stem}.onnx").graph
        weights = {initializer.name for initializer in graph.initializer}
        inputs = [value for value in graph.input if value.name not in weights]
        write_values(data_set, "input", [ramp(value) for value in inputs], inputs)
        for index in range(len(graph.output)):
            shutil.copyfile(light / f"{stem}_output_{index}.pb", data_set / f"output_{index}.pb")
        write_own_tolerance(folder, settings)
        count += 1
    return count


def ramp(info):
    """The values 0, 1/n, 2/n .. in the input's shape, a symbolic size counting as one."""
    shape = [dim.dim_value if dim.HasField("dim_value") else 1 for dim in info.type.tensor_type.shape.dim]
    count = int(np.prod(shape))
    return (np.arange(count).reshape(shape) / count).astype(np.float32)


if __name__ == "__main__":
    main()
