"""Runs an ONNX model with ONNX Runtime's provider for QNN, and nothing beside it.

Usage: run_qnn_provider.py MODEL INPUTS.npz OUTPUTS.npz SOC

SOC is QNN's number of the chip that is simulated. A node that the provider does not take is an error.
"""

import sys

import numpy
import onnxruntime
import onnxruntime_qnn


def main():
    model, inputs, outputs, soc = sys.argv[1:]
    name = "QNNExecutionProvider"
    onnxruntime.register_execution_provider_library(name, onnxruntime_qnn.get_library_path())
    devices = [device for device in onnxruntime.get_ep_devices() if device.ep_name == name]
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    options.add_provider_for_devices(
        devices, {"backend_path": onnxruntime_qnn.get_qnn_htp_path(), "soc_model": soc}
    )
    session = onnxruntime.InferenceSession(model, options)
    session.disable_fallback()
    feeds = dict(numpy.load(inputs))
    names = [output.name for output in session.get_outputs()]
    results = session.run(names, feeds)
    numpy.savez(outputs, **dict(zip(names, results)))


if __name__ == "__main__":
    main()
