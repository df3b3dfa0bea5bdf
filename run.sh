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
say "no microphone here: made a short recording on the spot and replay it instead"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
recording=$folder/made-on-the-spot.wav
if command -v espeak-ng >/dev/null; then
  espeak-ng -m -w "$recording" 'This is a calm sentence, spoken by a machine. <break time="1s"/>
    <prosody pitch="x-high" rate="fast" volume="x-loud">Help me! Let me go! No! No! Help!</prosody> <break time="2s"/>'
else
  say "no espeak-ng: the recording is a tone that rises, and no voice"
  .venv/bin/python - "$recording" <<'EOF'
import sys
import numpy, soundfile
seconds = numpy.arange(8 * 16000) / 16000
tone = numpy.sin(2 * numpy.pi * (150 * seconds + 60 * seconds**2)) * numpy.clip(seconds / 8, 0, 0.7)
soundfile.write(sys.argv[1], tone, 16000)
EOF
fi
$outcry replay --posteriors --decisions "$recording"
say "done. With a microphone plugged in, ./run.sh listens until Ctrl-C."
