"""Exports the UNet of a diffusers model to ONNX, with the names, fixed sizes and precision that QUAD's documentation uses.

Usage: export_unet.py MODEL unet.onnx [--size 64] [--tokens 77]
MODEL is a folder or a name that diffusers knows, such as stable-diffusion-v1-5/stable-diffusion-v1-5.
"""

import argparse

import torch
from diffusers import UNet2DConditionModel


class Step(torch.nn.Module):
    """One step of denoising: tensors in, a tensor out."""

    def __init__(self, unet):
        super().__init__()
        self.unet = unet

    def forward(self, sample, timestep, encoder_hidden_states):
        return self.unet(sample, timestep, encoder_hidden_states, return_dict=False)[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("output")
    parser.add_argument("--size", type=int, default=64, help="height and width of the latent image")
    parser.add_argument("--tokens", type=int, default=77, help="tokens of the text")
    arguments = parser.parse_args()
    unet = UNet2DConditionModel.from_pretrained(arguments.model, subfolder="unet", torch_dtype=torch.float32).eval()
    sizes = unet.config
    inputs = {
        "sample": torch.randn(1, sizes.in_channels, arguments.size, arguments.size),
        "timestep": torch.tensor([999]),
        "encoder_hidden_states": torch.randn(1, arguments.tokens, sizes.cross_attention_dim),
    }
    torch.onnx.export(
        Step(unet),
        tuple(inputs.values()),
        arguments.output,
        input_names=list(inputs),
        output_names=["out_sample"],
        opset_version=17,
        dynamo=False,
    )


if __name__ == "__main__":
    main()
