#!/usr/bin/env bash
# Gathers everything that install.sh needs into one directory, so that a Pi without internet can be installed.
# Runs on any Debian with Python 3.11 or newer and pip; see --help. docs/install.md shows it at work.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source_tree=$(dirname "$here")
python=${OUTCRY_PYTHON:-python3} # any Python with pip; not necessarily the target's version
arch=aarch64
target=3.11
output=
key=
debs=no
index=() # pip's options that say where wheels come from

usage() {
  cat <<'EOF'
usage: wheelhouse.sh --output DIR [--arch aarch64|x86_64] [--python 3.11|3.12|3.13] [--from DIR]
                     [--key PRIVATE.pem] [--debs]

  --output DIR    a new directory; copy it to the Pi and run DIR/systemd/install.sh there
  --arch ARCH     the Pi's architecture (default aarch64: 64-bit Raspberry Pi OS)
  --python X.Y    the Pi's Python: 3.11 on Bookworm (Debian 12), 3.13 on Trixie (13); default 3.11
  --from DIR      take other projects' wheels from DIR (an earlier wheelhouse's wheels/), and ask no index
  --key FILE      sign with this Ed25519 key (openssl genpkey -algorithm ed25519 -out FILE)
  --debs          also the Debian packages (run on the same Debian release as the Pi's)
EOF
}

fail() {
  printf 'outcry wheelhouse: %s\n' "$1" >&2
  exit "${2:-70}"
}

while [ $# -gt 0 ]; do
  case $1 in
    --output | --arch | --python | --from | --key)
      [ $# -ge 2 ] || fail "$1 needs a value; see --help" 2
      case $1 in
        --output) output=$2 ;;
        --arch) arch=$2 ;;
        --python) target=$2 ;;
        --from) index=(--no-index --find-links "$(realpath -m "$2")") ;;
        --key) key=$2 ;;
      esac
      shift
      ;;
    --debs) debs=yes ;;
    -h | --help)
      usage
      exit 0
      ;;
    *) fail "unknown option $1; see --help" 2 ;;
  esac
  shift
done
[ -n "$output" ] || fail "--output DIR is missing; see --help" 2
case $arch in aarch64 | x86_64) ;; *) fail "no wheels exist for $arch: aarch64 or x86_64 (a 64-bit system)" 2 ;; esac
[[ $target =~ ^3\.1[1-9]$ ]] || fail "Python $target is too old or unknown: 3.11 or newer" 2
[ ! -e "$output" ] || fail "$output exists already: name a new directory, or remove it" 2
[ -z "$key" ] || [ -r "$key" ] || fail "signing key $key can't be read" 66
"$python" -m pip --version > /dev/null 2>&1 || fail "$python has no pip: apt-get install python3-pip, or set OUTCRY_PYTHON"

# Everything is made beside the target and renamed at the end: a broken run leaves no half wheelhouse.
mkdir -p "$(dirname "$output")"
work=$(mktemp -d "$output.XXXXXX")
scratch=$(mktemp -d)
trap 'rm -rf "$work" "$scratch"' EXIT
mkdir "$work/wheels"

quietly() {
  "$@" > "$scratch/log" 2>&1 && return 0
  grep -E '^(ERROR|error|E:)' "$scratch/log" | tail -3 >&2 || true
  return 1
}

# From a copy: setuptools writes build/ beside pyproject.toml, and would pack what an older build left there.
mkdir "$scratch/tree"
cp -r "$source_tree/device" "$source_tree/pyproject.toml" "$source_tree/README.md" "$scratch/tree/"
quietly "$python" -m pip wheel "${index[@]}" --no-deps --wheel-dir "$work/wheels" "$scratch/tree" || fail "outcry itself does not build"

abi=cp${target/./}
platforms=()
for tag in manylinux_2_34 manylinux_2_31 manylinux_2_28 manylinux_2_27 manylinux_2_26 manylinux_2_17 manylinux2014; do
  platforms+=(--platform "${tag}_$arch") # pip matches these exactly, so all of them are named
done
download() {
  quietly "$python" -m pip download "${index[@]}" --dest "$work/wheels" --only-binary=:all: --implementation cp --python-version "$target" \
    --abi "$abi" --abi abi3 --abi none "${platforms[@]}" "$@"
}

mapfile -t needs < <("$python" - "$source_tree/pyproject.toml" <<'EOF'
import sys, tomllib
with open(sys.argv[1], "rb") as file:
    print(*tomllib.load(file)["project"]["dependencies"], sep="\n")
EOF
)
wheels=()
pyaudio=
for need in "${needs[@]}"; do
  case $need in PyAudio*) pyaudio=$need ;; *) wheels+=("$need") ;; esac
done
download pip "${wheels[@]}" || fail "not every wheel was found for $arch and Python $target (network? index?)"
download "lgpio>=0.2.2" || echo "no lgpio wheel for $arch and Python $target: the Pi uses apt's python3-lgpio" >&2

# PyAudio has no wheels. Same machine kind: built here. Otherwise the Pi takes apt's python3-pyaudio.
if [ "$(uname -m)" = "$arch" ] && [ "$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')" = "$target" ]; then
  quietly "$python" -m pip wheel "${index[@]}" --no-deps --wheel-dir "$work/wheels" "$pyaudio" ||
    echo "PyAudio does not build here (portaudio19-dev, gcc?): the Pi uses apt's python3-pyaudio" >&2
fi

apt_packages=(libportaudio2 openssl)
compgen -G "$work/wheels/[Pp]y[Aa]udio-*.whl" > /dev/null || apt_packages+=(python3-pyaudio)
if [ "$debs" = yes ]; then
  case $arch in aarch64) deb_arch=arm64 ;; x86_64) deb_arch=amd64 ;; esac
  own=$(dpkg --print-architecture)
  [ "$own" = "$deb_arch" ] || dpkg --print-foreign-architectures | grep -qx "$deb_arch" ||
    fail "apt does not know $deb_arch here: dpkg --add-architecture $deb_arch && apt-get update"
  mkdir "$work/debs"
  : > "$scratch/status"
  local_to=(-o "APT::Architecture=$deb_arch" -o "APT::Architectures=$deb_arch") # apt as it is on the Pi
  # What apt would install where nothing is: NAME=VERSION lines.
  resolved() {
    apt-get -s -o Dir::State::status="$scratch/status" "${local_to[@]}" --no-install-recommends install "$@" 2> "$scratch/log" |
      sed -n 's/^Inst \([^ ]*\) (\([^ ]*\) .*/\1=\2/p' | sort
  }
  # What these need, without Python's own needs and without what every Debian has.
  mapfile -t closure < <(
    comm -23 <(resolved "${apt_packages[@]}") <(resolved python3) | while IFS='=' read -r name version; do
      apt-cache "${local_to[@]}" show "$name=$version" 2> /dev/null | grep -qE '^Priority: (required|important|standard)' ||
        printf '%s=%s\n' "$name" "$version"
    done
  )
  [ ${#closure[@]} -gt 0 ] || fail "apt can't resolve ${apt_packages[*]} for $deb_arch (apt-get update?)"
  (cd "$work/debs" && quietly apt-get "${local_to[@]}" download "${closure[@]}") || fail "apt-get download failed (network? apt-get update?)"
fi

mkdir "$work/systemd"
cp -r "$here/." "$work/systemd/"
cp "$source_tree/config.example.toml" "$work/"
version=$(basename "$(compgen -G "$work/wheels/outcry-*.whl")" | cut -d- -f2)
printf 'version=%s\narch=%s\npython=%s\n' "$version" "$arch" "$target" > "$work/wheelhouse.conf"
chmod -R u=rwX,go=rX "$work"
(cd "$work" && find . -type f ! -name 'SHA256SUMS*' -printf '%P\0' | sort -z | xargs -0 sha256sum > SHA256SUMS)
if [ -n "$key" ]; then
  quietly openssl pkeyutl -sign -inkey "$key" -rawin -in "$work/SHA256SUMS" -out "$work/SHA256SUMS.sig" ||
    fail "signing with $key failed: an Ed25519 key in PEM is needed" 65
fi
mv -T "$work" "$output"
printf '%s: outcry %s for %s, Python %s, %s\n' "$output" "$version" "$arch" "$target" "$(du -sh "$output" | cut -f1)"
