#!/usr/bin/env bash
# Sets itself up (some minutes the first time: TensorFlow is among the packages) and runs every test.
# Further words go to pytest: ./test.sh tests/device -k alarm
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ./setup.sh

# Real parts for the tests: a sound server, a broker, systemd, a voice.
debian_packages ca-certificates git libportaudio2 portaudio19-dev libasound2-plugins gcc libc6-dev espeak-ng \
  libsndfile1 pulseaudio pulseaudio-utils alsa-utils mosquitto mosquitto-clients openssl procps \
  systemd systemd-container mmdebstrap \
  || die "could not install Debian packages: is the network there?"
virtual_environment .venv-test "[train,dev]"
say "running the tests"
export OPENBLAS_NUM_THREADS=1 TF_CPP_MIN_LOG_LEVEL=2 PYTHONHASHSEED=0
exec .venv-test/bin/python -m pytest "$@"
