#!/usr/bin/env bash
# Makes one graph of a Stable Diffusion UNet that takes LoRA adapters as inputs, brings it into the form that NPUs take, and
# runs it with three adapters and with none. Each result is compared with what PyTorch computed with that adapter.
# Usage: ./demo.sh [DIRECTORY FOR THE RESULTS]   Needs Rust and a C compiler; nothing is downloaded but crates.
set -euo pipefail
cd "$(dirname "$0")"

model=tests/fixtures/tiny/models/unet2_base.legacy17.onnx
# Three trainers, three ways of naming layers and of storing the scale.
sketch=tests/fixtures/tiny/lora/taskA/peft
paint=tests/fixtures/tiny/lora/taskB/kohya/taskB.safetensors
night=tests/fixtures/tiny/lora/taskC/diffusers/pytorch_lora_weights.safetensors
data=tests/fixtures/demo
out=${1:-target/demo}

step() { printf '\n== %s\n' "$*"; }

# run_and_compare NAME [--adapter PATH]: one denoising step of the one graph, at most 1e-4 from what PyTorch computed.
run_and_compare() {
  local name=$1
  shift
  step "one step with $name"
  "$quad" run "$out/frozen.quad" --inputs "$data/inputs.npz" --outputs "$out/$name.npz" "$@"
  "$quad" compare "$out/$name.npz" "$data/expected.$name.npz" --atol 1e-4 --rtol 0
}

step "building quad"
cargo build --release --locked --package quad-cli
quad=${CARGO_TARGET_DIR:-target}/release/quad
mkdir -p "$out"

step "three adapters: quad adapter inspect"
"$quad" adapter inspect "$sketch" "$paint" "$night"

step "their weights become inputs of the graph: quad lora expose"
"$quad" lora expose "$model" --adapter "sketch=$sketch" --adapter "paint=$paint" --adapter "night=$night" -o "$out/exposed.quad"

step "the form that NPUs take, compared after every pass: quad opt"
"$quad" opt "$out/exposed.quad" -p npu --check-each -o "$out/frozen.quad"

step "what one adapter is to this graph: quad adapter pack, quad adapter verify"
"$quad" adapter pack "$out/frozen.quad" "$paint" -o "$out/paint.packed.safetensors"
"$quad" adapter verify "$out/frozen.quad" "$paint"

run_and_compare base
run_and_compare taskA --adapter "$sketch"
run_and_compare taskB --adapter "$paint"
run_and_compare taskC --adapter "$night"

step "one graph, three adapters and none: $out/frozen.quad"
