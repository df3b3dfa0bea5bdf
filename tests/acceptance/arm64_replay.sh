#!/usr/bin/env bash
# Replays recordings on arm64 (Debian 12 with Python 3.11, Debian 13 with 3.13, under qemu-user) and on this machine,
# and compares: the same events at the same times, the same danger within 0.001.
#
#   sudo tests/acceptance/arm64_replay.sh RECORDING...
#
# Needs mmdebstrap, arch-test, qemu-user-static, binfmt-support and network on first use; keeps roots and wheelhouses
# in $OUTCRY_CACHE (~/.cache/outcry). OUTCRY_PYTHON: a Python with outcry's packages (default .venv/bin/python).
set -euo pipefail

tree=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cache=${OUTCRY_CACHE:-$HOME/.cache/outcry}
python=${OUTCRY_PYTHON:-$tree/.venv/bin/python}
[ $# -gt 0 ] || { echo "usage: arm64_replay.sh RECORDING..." >&2; exit 2; }
[ "$(id -u)" = 0 ] || { echo "arm64_replay.sh: root is needed (chroot)" >&2; exit 2; }
mkdir -p "$cache"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mountpoint -q /proc/sys/fs/binfmt_misc || mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
update-binfmts --enable qemu-aarch64

root() { # root DEBIAN SUITE
  [ -d "$cache/debian$1-arm64" ] && return
  mmdebstrap --quiet --variant=minbase --architectures=arm64 --include=python3,ca-certificates,libportaudio2 \
    "$2" "$cache/debian$1-arm64.new"
  mv "$cache/debian$1-arm64.new" "$cache/debian$1-arm64"
}

site() { # site PYTHON: a directory with outcry of this tree and its wheels for arm64
  local old=$cache/arm-$1 wheel
  [ -d "$old" ] || OUTCRY_PYTHON=$python "$tree/systemd/wheelhouse.sh" --arch aarch64 --python "$1" --output "$old"
  # Unpacked, not installed: pip refuses wheels for another Python than its own.
  for wheel in "$old"/wheels/*.whl; do "$python" -m zipfile -e "$wheel" "$work/site-$1"; done
  # the tree's own code of today, not that of the wheelhouse
  rm -rf "$work/site-$1/device"
  cp -r "$tree/device" "$work/site-$1/device"
}

# LiteRT needs a /proc/cpuinfo that it can read as arm64, else it crashes or loses its fast kernels.
for core in 0 1 2 3; do
  printf 'processor\t: %s\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd evtstrm crc32 cpuid\nCPU implementer\t: 0x41\nCPU architecture: 8\n' $core
  printf 'CPU variant\t: 0x0\nCPU part\t: 0xd08\nCPU revision\t: 3\n\n'
done > "$work/cpuinfo"
printf 'Hardware\t: BCM2835\nRevision\t: c03114\nModel\t\t: Raspberry Pi 4 Model B Rev 1.4\n' >> "$work/cpuinfo"

failed=0
compare() { # compare NATIVE FOREIGN
  "$python" - "$1" "$2" <<'EOF' || failed=1
import json
import sys

native, foreign = ([json.loads(line) for line in open(name)] for name in sys.argv[1:])
moving = {"id", "at", "epoch", "seq"}
assert len(native) == len(foreign), f"{len(native)} lines here, {len(foreign)} there"
worst = 0.0
for ours, theirs in zip(native, foreign):
    assert ours.keys() == theirs.keys(), (ours, theirs)
    for key in ours.keys() - moving:
        pairs = [(ours[key], theirs[key])]
        if isinstance(ours[key], dict):
            pairs = [(ours[key].get(name, 0.0), theirs[key].get(name, 0.0)) for name in ours[key] | theirs[key]]
        for a, b in pairs:
            if isinstance(a, float):
                worst = max(worst, abs(a - b))
            else:
                assert a == b, (key, a, b)
events = sum("kind" in line for line in native)
print(f"{len(native)} lines, {events} events, largest difference {worst:.2g}")
sys.exit(worst > 1e-3)
EOF
}

for pair in "12 bookworm 3.11" "13 trixie 3.13"; do
  read -r debian suite version <<< "$pair"
  root "$debian" "$suite"
  site "$version"
  for recording in "$@"; do
    name=$(basename "$recording")
    (cd "$tree" && env -u OUTCRY_CONFIG "$python" -m device replay --posteriors "$recording") > "$work/native"
    arguments=("$cache/debian$debian-arm64" "$work" "$version" "$(realpath "$recording")")
    start=$(date +%s)
    # shellcheck disable=SC2016  # expanded inside
    unshare --mount bash -ec '
      mount -t tmpfs tmpfs "$1/mnt"; mkdir "$1/mnt/site" "$1/mnt/state"
      mount --bind "$2/site-$3" "$1/mnt/site"; touch "$1/mnt/recording"; mount --bind "$4" "$1/mnt/recording"
      mount -t proc proc "$1/proc"; mount --bind "$2/cpuinfo" "$1/proc/cpuinfo"; mount -t sysfs sysfs "$1/sys"
      QEMU_CPU=cortex-a72 HOME=/mnt PYTHONPATH=/mnt/site PYTHONDONTWRITEBYTECODE=1 OPENBLAS_NUM_THREADS=1 \
        chroot "$1" python3 -m device replay --posteriors /mnt/recording
    ' - "${arguments[@]}" > "$work/foreign"
    printf '%s: Debian %s arm64, Python %s, %s s: ' "$name" "$debian" "$version" "$(($(date +%s) - start))"
    compare "$work/native" "$work/foreign"
  done
done
[ $failed = 0 ] || { echo "arm64_replay.sh: results differ" >&2; exit 70; }
