#!/usr/bin/env bash
# Freezes and quantizes a small trained diffusion UNet once, for four LoRA adapters that were trained apart: calibrates it with
# each, scores how sensitive each is, makes one profile for all, and runs the one quantized graph with every adapter. Each
# result is compared with what PyTorch computed in floats.
# Usage: ./walkthrough.sh [DIRECTORY FOR THE RESULTS]   Needs Rust and a C compiler; nothing is downloaded but crates.
set -euo pipefail
cd "$(dirname "$0")"

testbed=tests/fixtures/testbed
model=$testbed/models/base.legacy17.onnx
data=tests/fixtures/demo
tasks=(inpaint edge deblur relight)
out=${1:-target/walkthrough}

adapters=() samples=()
for task in "${tasks[@]}"; do
  adapters+=(--adapter "$task=$testbed/lora/$task")
  samples+=(--data "$task=$testbed/data/$task.calib.safetensors")
done

step() { printf '\n== %s\n' "$*"; }

step "building quad"
cargo build --release --locked --package quad-cli
quad=${CARGO_TARGET_DIR:-target}/release/quad
mkdir -p "$out"

step "four adapters: quad adapter inspect"
"$quad" adapter inspect "${tasks[@]/#/$testbed/lora/}"

step "their weights become inputs of one graph, in the form that NPUs take: quad lora expose, quad opt"
"$quad" lora expose "$model" "${adapters[@]}" -o "$out/exposed.quad"
"$quad" opt "$out/exposed.quad" -p frozen -o "$out/float.quad"

step "what values are like with each adapter: quad calibrate"
"$quad" calibrate "$out/float.quad" "${adapters[@]}" "${samples[@]}" -o "$out/statistics.safetensors"

step "whose encodings all could share: quad qss"
"$quad" qss "$out/float.quad" "${adapters[@]}" "${samples[@]}" --samples 8 --peak 2 \
  --stats "$out/statistics.safetensors" -o "$out/scores.json" --plot "$out/scores.svg"

step "one encoding for each value, whatever the adapter: quad profile make"
"$quad" profile make "$out/statistics.safetensors" --anchor auto --scores "$out/scores.json" --precision w8a16 \
  -o "$out/profile.json"

step "the frozen graph with quantized weights, and the same for ONNX Runtime: quad quantize"
"$quad" quantize "$out/float.quad" --profile "$out/profile.json" -o "$out/frozen.quad"
"$quad" quantize "$out/float.quad" --profile "$out/profile.json" -o "$out/frozen.onnx"

step "does an adapter fit the frozen encodings: quad adapter check"
"$quad" adapter check "$out/profile.json" "$testbed/lora/edge" --model "$out/float.quad"

for task in "${tasks[@]}"; do
  step "adapter $task in the graph before quantization, beside PyTorch"
  "$quad" run "$out/float.quad" --adapter "$testbed/lora/$task" \
    --inputs "$data/$task.inputs.npz" --outputs "$out/$task.float.npz"
  "$quad" compare "$out/$task.float.npz" "$data/$task.expected.npz" --atol 1e-4 --rtol 0

  step "adapter $task in the quantized graph, beside PyTorch in floats"
  "$quad" adapter pack "$out/frozen.quad" "$testbed/lora/$task" -o "$out/$task.packed.safetensors"
  "$quad" run "$out/frozen.quad" --adapter "$out/$task.packed.safetensors" \
    --inputs "$data/$task.inputs.npz" --outputs "$out/$task.npz"
  "$quad" compare "$out/$task.npz" "$data/$task.expected.npz" --atol 0.05 --rtol 0
done

step "one graph, one profile, four adapters: $out/frozen.quad"
