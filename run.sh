#!/usr/bin/env bash
# Sets itself up (a minute or two the first time) and listens. Further words go to `outcry run`: ./run.sh --help
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ./setup.sh

packages=(ca-certificates libportaudio2 espeak-ng)
if [ -S "${XDG_RUNTIME_DIR:-/run/user/$(id -u)}/pulse/native" ] || [ -n "${PULSE_SERVER:-}" ]; then
  packages+=(libasound2-plugins)  # the way to PulseAudio or PipeWire
fi
virtual_environment .venv "" "${packages[@]}"
outcry=.venv/bin/outcry

if [ $# -gt 0 ]; then
  exec $outcry run "$@"
fi
code=0
say "looking for a microphone"
$outcry mics || code=$?
if [ $code != 66 ]; then
  say "listening; end with Ctrl-C"
  exec $outcry run
fi
say "no microphone here: made a short recording with a scream on the spot and replay it instead"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
recording=$folder/made-on-the-spot.wav
if command -v espeak-ng >/dev/null; then
  espeak-ng -w "$recording" 'This is a calm sentence, spoken by a machine. And now a scream, made of tones.'
else
  say "no espeak-ng: the recording is a scream made of tones, without a calm sentence before it"
fi
.venv/bin/python - "$recording" <<'EOF'
import sys
from pathlib import Path

import numpy as np
import soundfile

path = Path(sys.argv[1])
calm, rate = soundfile.read(path) if path.exists() else (np.zeros(0), 16000)
seconds = np.arange(int(1.6 * rate)) / rate
pitch = 800 * (1 + 0.25 * np.sin(np.pi * seconds / 1.6))  # rises and falls
phase = 2 * np.pi * np.cumsum(pitch) / rate
tones = sum(np.sin(k * phase) / k**0.6 for k in range(1, 8)) * (1 + 0.4 * np.sin(2 * np.pi * 70 * seconds))
noise = np.random.default_rng(1).normal(size=len(seconds))
scream = (tones + 0.25 * noise) * np.clip(np.minimum(seconds / 0.08, (1.6 - seconds) / 0.3), 0, 1)
hush = 1e-3 * np.random.default_rng(2).normal(size=rate)
parts = [calm, hush, 0.6 * scream / np.abs(scream).max(), hush, hush]
soundfile.write(path, np.concatenate(parts), rate)
EOF
$outcry replay --posteriors --decisions "$recording"
say "done. With a microphone plugged in, ./run.sh listens until Ctrl-C."
