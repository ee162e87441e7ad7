"""Runs a diffusers pipeline and keeps what its UNet is given at each step: the samples that `quad calibrate` asks for.

Usage: collect_samples.py MODEL samples.npz --prompt "a cat" [--prompt ..] [--adapter style.safetensors] [--steps 20]
Do it once for each adapter, with prompts that the adapter is used with. Guidance makes two samples of each step.
"""

import argparse
import sys

import numpy
from diffusers import StableDiffusionPipeline


class Recorder:
    """Keeps copies of the UNet's inputs, one entry of the batch at a time."""

    def __init__(self):
        self.arrays = {"sample": [], "timestep": [], "encoder_hidden_states": []}

    def __call__(self, unet, arguments, named):
        given = dict(zip(("sample", "timestep"), arguments)) | named
        for index in range(given["sample"].shape[0]):
            self.arrays["sample"].append(given["sample"][index : index + 1].float().cpu().numpy())
            self.arrays["timestep"].append(numpy.array([int(given["timestep"])], dtype=numpy.int64))
            states = given["encoder_hidden_states"][index : index + 1]
            self.arrays["encoder_hidden_states"].append(states.float().cpu().numpy())

    def write(self, path):
        numpy.savez(path, **{name: numpy.stack(arrays) for name, arrays in self.arrays.items()})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("output")
    parser.add_argument("--prompt", action="append", required=True)
    parser.add_argument("--adapter")
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    pipeline = StableDiffusionPipeline.from_pretrained(arguments.model)
    if arguments.adapter:
        pipeline.load_lora_weights(arguments.adapter)
        # diffusers only logs it when nothing of a file is for this model.
        if not pipeline.get_active_adapters():
            sys.exit(f"{arguments.adapter} has nothing for this model; see `quad adapter inspect {arguments.adapter}`")
    recorder = Recorder()
    pipeline.unet.register_forward_pre_hook(recorder, with_kwargs=True)
    for prompt in arguments.prompt:
        pipeline(prompt, num_inference_steps=arguments.steps, output_type="latent")
    recorder.write(arguments.output)


if __name__ == "__main__":
    main()
