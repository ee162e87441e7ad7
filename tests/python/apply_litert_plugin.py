#!/usr/bin/env python3
"""Hands a LiteRT model to a vendor's compiler plugin, as an app's build would, and says how much of it the plugin takes.

Usage: apply_litert_plugin.py VENDOR SOC MODEL [MODEL ..]     one line of JSON for each model

qualcomm   compiles the model for the Hexagon NPU with Qualcomm's own libraries: what is taken is compiled
mediatek   legalizes it; NeuroPilot is not here, and a stand-in of our own takes whatever the plugin sends: "legalized", no more
samsung    builds its graph; Exynos AI LiteCore is not here, and a stand-in of our own takes what the plugin sends: likewise

The libraries of Qualcomm are those of the package onnxruntime-qnn. The stand-ins are built by the C compiler, from
tests/stand-ins.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import ai_edge_litert

PACKAGE = pathlib.Path(ai_edge_litert.__file__).parent
STAND_INS = pathlib.Path(__file__).parent.parent / "stand-ins"
RESULT = re.compile(r"selected (\d+) ops, from a total of (\d+) ops\. resulted in (\d+) partitions")
QNN = ["QnnHtp", "HtpPrepare", "QnnHtpPrepare", "QnnIr", "QnnSaver", "QnnSystem"]


def build(source, library):
    compiler = "g++" if source.suffix == ".cc" else "gcc"
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", library, source], check=True)


def qualcomm(folder):
    """The environment in which the plugin finds Qualcomm's libraries."""
    import onnxruntime_qnn

    package = pathlib.Path(onnxruntime_qnn.__file__).parent
    for name in QNN:
        if (package / f"lib{name}.so").exists():
            (folder / f"lib{name}.so").symlink_to(package / f"lib{name}.so")
    # The plugin is linked with a library for sensors that it does not need here.
    (folder / "none.c").write_text("int nothing(void) { return 0; }\n")
    build(folder / "none.c", folder / "libQnnLpai.so")
    paths = [folder, package.parent / "onnxruntime_qnn.libs", PACKAGE]
    return {"LD_LIBRARY_PATH": ":".join(map(str, paths))}


def mediatek(folder):
    """The environment in which the plugin finds a stand-in of NeuroPilot."""
    build(STAND_INS / "neuron.cc", folder / "libneuron_adapter.so")
    return {"LD_LIBRARY_PATH": f"{folder}:{PACKAGE}"}


def samsung(folder):
    """The environment in which the plugin finds a stand-in of LiteCore, and a symbol that it is published without."""
    libraries = folder / "lib" / "x86_64-linux"
    libraries.mkdir(parents=True)
    build(STAND_INS / "litecore.cc", libraries / "libgraph_wrapper.so")
    (libraries / "libgraphgen_api.so").symlink_to("libgraph_wrapper.so")
    build(STAND_INS / "locale.cc", folder / "liblocale.so")
    return {
        "LD_LIBRARY_PATH": str(PACKAGE),
        "LD_PRELOAD": str(folder / "liblocale.so"),
        "EXYNOS_AI_LITECORE_ROOT": str(folder),
    }


VENDORS = {
    "qualcomm": (qualcomm, "Qualcomm"),
    "mediatek": (mediatek, "MediaTek"),
    "samsung": (samsung, "Samsung"),
}


def apply(vendor, soc, model, environment, folder):
    out = folder / "applied.tflite"
    out.unlink(missing_ok=True)
    command = [
        str(PACKAGE / "tools/apply_plugin_main"),
        "--cmd=apply",
        f"--soc_manufacturer={VENDORS[vendor][1]}",
        f"--soc_model={soc}",
        f"--libs={PACKAGE / 'vendors' / vendor / 'compiler'}",
        f"--model={model}",
        f"--o={out}",
    ]
    run = subprocess.run(
        command,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=600,
        check=False,
    )
    log = run.stdout.decode(errors="replace")
    found = RESULT.search(log)
    selected, total, partitions = map(int, found.groups()) if found else (0, 0, 0)
    written = out.exists() and out.stat().st_size > 0
    refused = sorted(set(re.findall(r"LiteRT Op #\d+ '(\w+)'|[Uu]nsupported op[^\n]*?: ?(\w+)", log)))
    return {
        "vendor": vendor,
        "soc": soc,
        "model": str(model),
        "selected": selected,
        "operators": total,
        "partitions": partitions,
        "written": written,
        "whole": written and found is not None and selected == total and partitions == 1,
        "refused": sorted({word for pair in refused for word in pair if word}),
        "log": "" if written else log[-3000:],
    }


def main():
    vendor, soc, *models = sys.argv[1:]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        environment = VENDORS[vendor][0](folder)
        for model in models:
            print(json.dumps(apply(vendor, soc, pathlib.Path(model), environment, folder)), flush=True)


if __name__ == "__main__":
    main()
