#!/usr/bin/env bash
# Runs a small Stable Diffusion UNet, exactly as PyTorch exported it to ONNX, and compares the result with PyTorch's own.
# Usage: ./demo.sh [DIRECTORY FOR THE RESULT]   Needs Rust and a C compiler; nothing is downloaded but crates.
set -euo pipefail
cd "$(dirname "$0")"

model=tests/fixtures/tiny/models/unet2_base.legacy17.onnx
inputs=tests/fixtures/demo/inputs.npz
expected=tests/fixtures/demo/expected.npz
out=${1:-target/demo}

step() { printf '\n== %s\n' "$*"; }

step "building quad"
cargo build --release --locked --package quad-cli
quad=${CARGO_TARGET_DIR:-target}/release/quad
mkdir -p "$out"

step "what the exporter wrote: quad inspect"
"$quad" inspect "$model"

step "one denoising step: quad run"
"$quad" run "$model" --inputs "$inputs" --outputs "$out/outputs.npz"

step "against PyTorch's output, at most 1e-4 apart: quad compare"
"$quad" compare "$out/outputs.npz" "$expected" --atol 1e-4 --rtol 0

step "the predicted noise is in $out/outputs.npz"
