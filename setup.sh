# What run.sh and test.sh share: Debian packages and a virtual environment. Sourced, never run.
# Each step says what it does; a second time nothing is done that still fits.

export DEBIAN_FRONTEND=noninteractive PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
started=$SECONDS
no_packages='could not install Debian packages: see above; is the network there?'

say() { printf '[%3d s] %s\n' $((SECONDS - started)) "$*" >&2; }
die() { printf '%s\n' "$1" >&2; exit "${2:-1}"; }

# debian_packages NAME...: installs those that are missing. Without root it says what to do and goes on.
debian_packages() {
  local missing=() name root=()
  command -v dpkg-query >/dev/null || { say "this is no Debian: please see to it that you have: $*"; return 0; }
  for name; do
    dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || missing+=("$name")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ "$(id -u)" != 0 ]; then
    if sudo -n true 2>/dev/null; then root=(sudo -n env DEBIAN_FRONTEND=noninteractive); else
      say "missing Debian packages; please run: sudo apt-get install ${missing[*]}"
      return 0
    fi
  fi
  say "installing Debian packages: ${missing[*]}"
  # An index that is a week old may name files that are gone; one without lists finds nothing.
  [ -n "$(find /var/lib/apt/lists -name '*_Packages*' -mtime -1 -print -quit 2>/dev/null)" ] \
    || "${root[@]}" apt-get -qq -o DPkg::Lock::Timeout=120 update || return 1
  # A service that a package brings (mosquitto) must not start by itself.
  "${root[@]}" env RUNLEVEL=1 apt-get -qq -y --no-install-recommends -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0 \
    install "${missing[@]}" >/dev/null || return 1
}

# python_command: prints the first Python >= 3.11 that can make a virtual environment.
python_command() {
  local candidate
  for candidate in python3 /usr/bin/python3 python3.13 python3.12 python3.11; do
    "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
    "$candidate" -c 'import sys; print(sys.executable)'
    return 0
  done
  return 1
}

# is_debians PYTHON: whether it is the system's own, so that Debian's packages of Python modules fit it.
is_debians() { [ "$("$1" -c 'import os, sys; print(os.path.realpath(sys.executable))')" = "$(realpath /usr/bin/python3)" ]; }

# virtual_environment FOLDER EXTRAS [PACKAGE...]: fits FOLDER to pyproject.toml; EXTRAS as in "[train,dev]" or "".
# The PACKAGEs are Debian's, installed in one go with what the environment itself needs.
virtual_environment() {
  local folder=$1 extras=$2 python stamp options=()
  shift 2
  mkdir -p "$folder"
  exec 9>"$folder/lock"
  flock 9  # two at the same time would tread on each other's packages
  if python=$(python_command) && ! is_debians "$python"; then
    # PyAudio comes as source, and is built against just this Python.
    debian_packages "$@" portaudio19-dev gcc libc6-dev || die "$no_packages"
  elif [ -z "$extras" ] && command -v apt-get >/dev/null; then
    # Debian's own PyAudio spares a compiler, which takes longer to fetch than all the rest.
    debian_packages "$@" python3-venv python3-pyaudio || die "$no_packages"
    options=(--system-site-packages)
  else
    debian_packages "$@" python3-venv portaudio19-dev gcc libc6-dev python3-dev || die "$no_packages"
  fi
  python=$(python_command) || die "no Python >= 3.11 with the module venv here: apt-get install python3-venv"
  stamp="$(cat pyproject.toml setup.sh | sha256sum | cut -c1-16) $("$python" -VV | head -1) $extras $PWD"
  if [ "$(cat "$folder/stamp" 2>/dev/null)" != "$stamp" ]; then
    say "preparing $folder with $("$python" -V) (packages from pip; the first time takes a minute or more)"
    rm -f "$folder/stamp"
    "$python" -m venv "${options[@]}" "$folder" || die "could not make $folder with $python"
    # What is imported compiles itself at its first import; all of it would take longer than the rest.
    "$folder/bin/pip" install --progress-bar off --retries 5 --no-compile -e ".$extras" \
      2> >(grep -v 'is ignored: it is neither' >&2) | sed -un 's/^ *\(Collecting\|Building\|Installing\) \(.\{1,100\}\).*/    \1 \2/p' >&2 \
      || die "pip could not install the packages: see above"
    printf '%s\n' "$stamp" >"$folder/stamp"
  fi
  flock -u 9
  exec 9>&-
}
