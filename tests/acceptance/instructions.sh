#!/usr/bin/env bash
# How many instructions the device spends on a second of sound, counted exactly by callgrind (x86-64), and what that
# comes to on a Pi Zero 2 W. The difference between a long and a short recording leaves start-up out.
#
#   tests/acceptance/instructions.sh [MODEL_DIRECTORY]
#
# Needs valgrind. OUTCRY_PYTHON: a Python with outcry's packages (default .venv/bin/python). Some minutes.
set -euo pipefail

tree=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
python=${OUTCRY_PYTHON:-$tree/.venv/bin/python}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$tree"

# The dearest case: loud sound all the time, and no silence gate.
printf '[microphone]\nsilence_gate = false\n[device]\nstate_directory = "%s"\n' "$work/state" > "$work/config.toml"
"$python" - "$work" <<'EOF'
import sys

import numpy as np
import soundfile

for seconds in (5, 15):
    noise = np.random.default_rng(1).normal(0, 0.1, seconds * 16_000)
    soundfile.write(f"{sys.argv[1]}/{seconds}.wav", noise, 16_000, subtype="PCM_16")
EOF

count() { # count SECONDS
  PYTHONHASHSEED=0 OPENBLAS_NUM_THREADS=1 setarch -R valgrind --tool=callgrind --callgrind-out-file=/dev/null \
    "$python" -m device replay --config "$work/config.toml" ${model[@]+"${model[@]}"} "$work/$1.wav" 2>&1 > /dev/null |
    sed -n 's/.*Collected : \([0-9]*\).*/\1/p'
}
model=()
[ $# -eq 0 ] || model=(--model "$1")

short=$(count 5)
long=$(count 15)
"$python" - "$short" "$long" <<'EOF'
import sys

short, long = map(int, sys.argv[1:])
per_second = (long - short) / 10
print(f"5 s: {short:,} instructions; 15 s: {long:,}; a second of sound: {per_second / 1e6:.1f} M")
# Cortex-A53 in a Pi Zero 2 W: 1 GHz, in order, two at a time at best; interpreters and NumPy reach about 0.6 a cycle.
# As many as here: arm64_vm.py counted somewhat fewer on arm64 (docs/pi.md).
for per_cycle in (0.8, 0.6, 0.4):
    print(f"{per_cycle} a cycle, 1 GHz: {100 * per_second / (1e9 * per_cycle):.1f} % of one core")
EOF
