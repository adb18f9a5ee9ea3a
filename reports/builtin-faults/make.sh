#!/usr/bin/env bash
# Makes this folder's report again: the built-in model as trained, without its temperature, and with full attention in
# place of chunks, on the same questions. Runs go to a folder of their own, beside this one unless another is given.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
runs="${1:-$here/runs}"
cd "$here/../.."
fathom() { cargo run --release --quiet -- "$@"; }
fathom run --suite "$here/suite.toml" --no-speed --out "$runs/as-trained"
fathom run --suite "$here/suite.toml" --no-speed --fault no-temperature --out "$runs/no-temperature"
fathom run --suite "$here/suite.toml" --no-speed --fault no-chunk --lengths 1k,2k,4k --out "$runs/no-chunk"
fathom report "$runs/as-trained" "$runs/no-temperature" "$runs/no-chunk" --out "$here"
