#!/usr/bin/env python3
"""Converts the small diffusion models with QUAD and with onnx2tf, side by side: compare_onnx2tf.py QUAD OUTDIR [--json].

    python3 -m venv env && env/bin/pip install -r tests/python/requirements-onnx2tf.txt
    env/bin/python tests/python/compare_onnx2tf.py target/release/quad out

QUAD is the built program. OUTDIR gets everything that is written. For the UNet and the decoder of the VAE in
`tests/fixtures/tiny`, in floats and with activations and weights of 8 bits, both calibrated on the same samples, it shows:
operators, transposes among them, bytes of the file, how far the output is off ONNX Runtime's on a sample that neither was
calibrated on (in decibels: the ratio of the output's range to the root mean squared error), and processor time and peak
memory of the commands that convert. Both files run in the same interpreter. A conversion that fails is a row that says so.
"""

import argparse
import json
import math
import os
import pathlib
import shutil
import subprocess
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TINY = ROOT / "tests" / "fixtures" / "tiny"
MODELS = {"unet2_base": ("unet2.npz", ["0", "1", "2"], "3"), "vae_decoder": ("vae_decoder.npz", ["0", "1"], "2")}
COLUMNS = ["model", "precision", "converter", "operators", "transposes", "kilobytes", "decibels", "seconds", "mebibytes"]


class Failed(Exception):
    """A command that ended with an error."""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("quad", type=pathlib.Path)
    parser.add_argument("outdir", type=pathlib.Path)
    parser.add_argument("--json", action="store_true", help="print one JSON object for each row")
    arguments = parser.parse_args()
    quad = str(arguments.quad.resolve())
    # onnx2tf calls programs of its environment by name, and goes on without those that it does not find.
    os.environ["PATH"] = f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    rows = []
    for name, (archive, calibration, held_out) in MODELS.items():
        outdir = arguments.outdir / name
        shutil.rmtree(outdir, ignore_errors=True)
        outdir.mkdir(parents=True)
        model = TINY / "models" / f"{name}.legacy17.onnx"
        samples = {case: sample(TINY / "io" / archive, case) for case in [*calibration, held_out]}
        given = [samples[case] for case in calibration]
        for precision in ["f32", "w8a8"]:
            for converter, convert in [("quad", by_quad), ("onnx2tf", by_onnx2tf)]:
                row = {"model": name, "precision": precision, "converter": converter}
                try:
                    file, seconds, mebibytes = convert(quad, model, precision, given, outdir)
                    row |= {"seconds": round(seconds, 2), "mebibytes": round(mebibytes)}
                    row |= looked_at(file)
                    row |= compared(model, file, samples[held_out])
                # The runtime says what it does not take as `RuntimeError` and `ValueError`.
                except (Failed, RuntimeError, ValueError) as error:
                    row["failed"] = str(error).splitlines()[0]
                rows.append(row)
    print_rows(rows, arguments.json)
    # That the other program fails is a finding; that ours does is a fault.
    return 1 if any("failed" in row for row in rows if row["converter"] == "quad") else 0


def sample(archive, case):
    """The inputs of a case, by name."""
    with np.load(archive) as arrays:
        prefix = f"in.{case}."
        return {name.removeprefix(prefix): arrays[name] for name in arrays.files if name.startswith(prefix)}


def by_quad(quad, model, precision, samples, outdir):
    """The file that QUAD writes, with processor time and memory of all commands that it takes."""
    out = outdir / f"quad.{precision}.tflite"
    if precision == "f32":
        return out, *measure([quad, "convert", model, "--target", "litert", "-o", out])
    data = outdir / "data"
    data.mkdir(exist_ok=True)
    for index, inputs in enumerate(samples):
        np.savez(data / f"{index}.npz", **inputs)
    stats, profile, typed = (outdir / name for name in ["quad.stats", "quad.profile", "quad.quad"])
    commands = [
        ["calibrate", model, "--data", data, "-o", stats],
        ["profile", "make", stats, "--anchor", "base", "--precision", precision, "--rules", "litert", "-o", profile],
        ["quantize", model, "--profile", profile, "-o", typed],
        ["convert", typed, "--target", "litert", "-o", out],
    ]
    taken = [measure([quad, *command]) for command in commands]
    return out, sum(seconds for seconds, _ in taken), max(mebibytes for _, mebibytes in taken)


def by_onnx2tf(_, model, precision, samples, outdir):
    """The file that onnx2tf writes, with its processor time and memory. It takes samples with channels last, and takes
    what has three axes for channels and places as well."""
    folder = outdir / f"onnx2tf.{precision}"
    # It writes the simplified model over the one that it is given.
    model = shutil.copy(model, outdir / f"onnx2tf.{precision}.onnx")
    # Without the last option `Erf` becomes an operator of TensorFlow that the runtime has not.
    command = [sys.executable, "-m", "onnx2tf", "-i", model, "-o", folder, "-n", "-rtpo", "Erf"]
    if precision == "w8a8":
        command.append("-oiqt")
        for name in samples[0]:
            stacked = np.concatenate([channels_last(inputs[name]) for inputs in samples])
            # Stored as they are: mean 0 and deviation 1 leave them so.
            path = outdir / f"{name}.npy"
            np.save(path, stacked.astype(np.float32) if stacked.dtype == np.float64 else stacked)
            ones = "[" * stacked.ndim + "1.0" + "]" * stacked.ndim
            command += ["-cind", name, path, ones.replace("1.0", "0.0"), ones]
    seconds, mebibytes = measure(command)
    kind = "float32" if precision == "f32" else "integer_quant"
    files = sorted(folder.glob(f"*_{kind}.tflite"), key=lambda path: len(path.name))
    if not files:
        raise Failed(f"no *_{kind}.tflite is written")
    return files[0], seconds, mebibytes


def channels_last(array):
    return np.moveaxis(array, 1, -1) if array.ndim > 2 else array


def measure(command):
    """Runs a command to its end: its processor time in seconds, and its peak memory in MiB."""
    print("==", *map(str, command), file=sys.stderr, flush=True)
    process = subprocess.Popen(list(map(str, command)), stdout=sys.stderr.fileno())
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise Failed(f"{pathlib.Path(str(command[0])).name} ended with exit code {process.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit / 2**20


def looked_at(file):
    """How many operators of the file there are."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(file.read_bytes())
    operators, transposes = 0, 0
    for number in range(model.SubgraphsLength()):
        graph = model.Subgraphs(number)
        for index in range(graph.OperatorsLength()):
            code = model.OperatorCodes(graph.Operators(index).OpcodeIndex())
            operators += 1
            transposes += max(code.BuiltinCode(), code.DeprecatedBuiltinCode()) == schema.BuiltinOperator.TRANSPOSE
    return {"operators": operators, "transposes": transposes, "kilobytes": round(file.stat().st_size / 1000)}


def compared(model, file, inputs):
    """How far the only output is off that of ONNX Runtime."""
    import onnxruntime
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    expected = onnxruntime.InferenceSession(str(model)).run(None, inputs)[0]
    interpreter = Interpreter(
        str(file), experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES, num_threads=1
    )
    interpreter.allocate_tensors()
    for details in interpreter.get_input_details():
        interpreter.set_tensor(details["index"], as_asked(details, inputs))
    interpreter.invoke()
    details = interpreter.get_output_details()[0]
    found = interpreter.get_tensor(details["index"]).astype(np.float64)
    if details["quantization"][0]:
        scale, zero_point = details["quantization"]
        found = (found - zero_point) * scale
    if found.shape != expected.shape:
        found = np.moveaxis(found, -1, 1)
    error = math.sqrt(float(np.mean((found - expected) ** 2)))
    spread = float(expected.max() - expected.min())
    return {"decibels": round(20 * math.log10(spread / max(error, 1e-30)), 1)}


def as_asked(details, inputs):
    """The input that an interpreter asks for: by name, in its layout and type."""
    # Names are those of the source, with what each program puts around them.
    name = next(name for name in sorted(inputs, key=len, reverse=True) if name in details["name"])
    array = inputs[name]
    if tuple(details["shape"]) != array.shape:
        array = channels_last(array)
    if details["quantization"][0]:
        scale, zero_point = details["quantization"]
        limits = np.iinfo(details["dtype"])
        array = np.clip(np.round(array / scale) + zero_point, limits.min, limits.max)
    return np.ascontiguousarray(array.astype(details["dtype"]))


def print_rows(rows, as_json):
    if as_json:
        for row in rows:
            print(json.dumps(row))
        return
    print("| " + " | ".join(COLUMNS) + " |")
    print("|" + "---|" * len(COLUMNS))
    for row in rows:
        shown = [str(row.get(column, "")) for column in COLUMNS]
        print("| " + " | ".join(shown) + " |" + (f" {row['failed']}" if "failed" in row else ""))


if __name__ == "__main__":
    sys.exit(main())
