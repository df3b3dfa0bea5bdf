#!/usr/bin/env bash
# Sets itself up (some minutes the first time: TensorFlow is among the packages) and runs every test.
# Further words go to pytest: ./test.sh tests/device -k alarm
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ./setup.sh

# Real parts for the tests: a sound server, a broker, systemd, a voice.
virtual_environment .venv-test "[train,dev,explain]" \
  ca-certificates git libportaudio2 libasound2-plugins espeak-ng libsndfile1 pulseaudio pulseaudio-utils alsa-utils \
  mosquitto mosquitto-clients openssl procps util-linux systemd systemd-container mmdebstrap shellcheck strace gpsd
say "running the tests"
export OPENBLAS_NUM_THREADS=1 TF_CPP_MIN_LOG_LEVEL=2 PYTHONHASHSEED=0
exec .venv-test/bin/python -m pytest "$@"
