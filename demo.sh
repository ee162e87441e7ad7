#!/usr/bin/env bash
# Builds a bundle of a small trained diffusion UNet with three LoRA adapters for LiteRT, NeuroPilot, QNN and ONNX: calibrates it
# with each adapter, measures whose encodings all should share, quantizes it once, packs each adapter for each target, and proves
# each against the model in full precision. Then adds a fourth adapter to the finished bundle, without the model.
# Usage: ./demo.sh [DIRECTORY FOR THE RESULTS]   Needs Rust and a C compiler; nothing is downloaded but crates.
set -euo pipefail
cd "$(dirname "$0")"

testbed=tests/fixtures/testbed
out=${1:-target/demo}

step() { printf '\n== %s\n' "$*"; }

step "building quad"
cargo build --release --locked --package quad-cli
quad=${CARGO_TARGET_DIR:-target}/release/quad
mkdir -p "$out"

step "the bundle: quad build $testbed/quad.toml"
"$quad" build "$testbed/quad.toml" -o "$out/bundle"

step "an adapter that comes later: quad bundle add-adapter"
"$quad" bundle add-adapter "$out/bundle" "relight=$testbed/lora/relight" --replace

step "is every file as the page says: quad bundle verify"
"$quad" bundle verify "$out/bundle"

step "what is in it: quad bundle inspect"
"$quad" bundle inspect "$out/bundle"

step "look at $out/bundle/report.html; ./walkthrough.sh takes the same steps one by one, against PyTorch"
