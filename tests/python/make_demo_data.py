#!/usr/bin/env python3
"""Cuts one run of the tiny diffusion UNet out of the fixtures: make_demo_data.py OUTDIR.

Writes `inputs.npz`, whose names are the model's inputs, and for the base and for each adapter an archive such as
`expected.taskA.npz`, which holds PyTorch's outputs under the names of the model's outputs. The demo reads the committed copies in `tests/fixtures/demo`; this script made them.
"""

import argparse
import pathlib
import zipfile

import numpy as np

SOURCE = pathlib.Path(__file__).resolve().parent.parent / "fixtures" / "tiny" / "io" / "unet2.npz"
INPUTS, OUTPUTS = "in.0.", "out.{}.0."
VARIANTS = ["base", "taskA", "taskB", "taskC"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("outdir", type=pathlib.Path)
    outdir = parser.parse_args().outdir
    outdir.mkdir(parents=True, exist_ok=True)
    with np.load(SOURCE) as arrays:
        write_npz(outdir / "inputs.npz", with_prefix(arrays, INPUTS))
        for variant in VARIANTS:
            write_npz(outdir / f"expected.{variant}.npz", with_prefix(arrays, OUTPUTS.format(variant)))


def with_prefix(arrays, prefix):
    """The arrays whose key starts with `prefix`, under what follows it."""
    return {key.removeprefix(prefix): arrays[key] for key in arrays.files if key.startswith(prefix)}


def write_npz(path, arrays):
    """Like `numpy.savez`, but without the clock: the same arrays give the same bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, array in sorted(arrays.items()):
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            with archive.open(entry, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)


if __name__ == "__main__":
    main()
