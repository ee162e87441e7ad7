#!/usr/bin/env python3
"""Runs an ONNX model with ONNX Runtime's provider for QNN, and nothing beside it.

Usage: run_qnn_provider.py MODEL SOC INPUTS.npz OUTPUTS.npz [INPUTS.npz OUTPUTS.npz ..]

SOC is QNN's number of the chip that is simulated. A node that the provider does not take is an error.
"""

import sys

import numpy
import onnxruntime
import onnxruntime_qnn

NAME = "QNNExecutionProvider"


def main():
    model, soc, *files = sys.argv[1:]
    onnxruntime.set_default_logger_severity(3)
    onnxruntime.register_execution_provider_library(NAME, onnxruntime_qnn.get_library_path())
    devices = [device for device in onnxruntime.get_ep_devices() if device.ep_name == NAME]
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    options.add_provider_for_devices(
        devices, {"backend_path": onnxruntime_qnn.get_qnn_htp_path(), "soc_model": soc}
    )
    session = onnxruntime.InferenceSession(model, options)
    # Otherwise a run that fails is tried again on the CPU.
    session.disable_fallback()
    names = [output.name for output in session.get_outputs()]
    for inputs, outputs in zip(files[::2], files[1::2], strict=True):
        with numpy.load(inputs) as arrays:
            found = session.run(names, {name: arrays[name] for name in arrays.files})
        numpy.savez(outputs, **dict(zip(names, found, strict=True)))


if __name__ == "__main__":
    main()
