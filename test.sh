#!/usr/bin/env bash
# Runs every test: makes the Python environment and ONNX's conformance data once, then builds and tests the workspace.
# Usage: ./test.sh [ARGUMENTS FOR CARGO TEST]   Needs Rust, a C compiler and Python 3.11 or later with venv.
set -euo pipefail
cd "$(dirname "$0")"

environment=$PWD/.venv
requirements=tests/python/requirements.txt
mkdir -p "${CARGO_TARGET_DIR:-target}"
target=$(cd "${CARGO_TARGET_DIR:-target}" && pwd)

step() { printf '\n== %s\n' "$*"; }

# Installs the pinned packages when the list changed since the last time.
prepare_python() {
  if cmp -s "$requirements" "$environment/requirements.txt"; then
    return
  fi
  step "installing the Python packages of $requirements into $environment"
  local python=${PYTHON:-python3}
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "test.sh: $("$python" --version) is too old for the pinned packages; set PYTHON to Python 3.11 or later" >&2
    exit 2
  }
  "$python" -m venv --clear "$environment"
  "$environment/bin/pip" install --quiet --disable-pip-version-check --requirement "$requirements"
  cp "$requirements" "$environment/requirements.txt"
}

# Adds up the result lines of all test programs.
print_totals() {
  awk '/^test result: / { passed += $4; failed += $6; ignored += $8; programs += 1 }
       END { printf "\ntotal: %d passed, %d failed, %d ignored in %d test programs\n",
                    passed, failed, ignored, programs }' "$1"
}

export PYTHONDONTWRITEBYTECODE=1
prepare_python
step "conformance data and hostile models in $target"
"$environment/bin/python" tests/python/make_conformance.py "$target/conformance"
"$environment/bin/python" tests/python/make_small_models.py --check tests/fixtures/small
"$environment/bin/python" tests/python/make_operator_table.py --check frontends/src/onnx/schema.txt
"$environment/bin/python" tests/python/make_hostile_models.py --check tests/fixtures/hostile
"$environment/bin/python" tests/python/make_hostile_models.py --generated "$target/hostile"

# The tests find what was made here by these names.
export QUAD_PYTHON=$environment/bin/python
export QUAD_CONFORMANCE=$target/conformance
export QUAD_HOSTILE=$target/hostile
# A changed snapshot fails instead of being written, unless the caller wants it written.
export INSTA_UPDATE=${INSTA_UPDATE:-no}
export INSTA_SNAPSHOT_REFERENCES_FILE=$target/snapshot-references.txt
: >"$INSTA_SNAPSHOT_REFERENCES_FILE"

step "cargo test"
log=$target/test-output.txt
status=0
cargo test --workspace --locked --no-fail-fast "$@" 2>&1 | tee "$log" || status=$?
# A filtered run leaves snapshots out, so only a whole run can tell that one is unused.
if [ "$status" -eq 0 ] && [ "$#" -eq 0 ]; then
  "$QUAD_PYTHON" tests/python/reject_unused_snapshots.py snapshots "$INSTA_SNAPSHOT_REFERENCES_FILE" || status=1
fi
print_totals "$log"
exit "$status"
