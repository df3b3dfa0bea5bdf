# Where a release comes from, how it is built beside the running one and proves itself. Sourced by install.sh,
# which sets what is used here; nothing of the running release is touched in this file.
# shellcheck shell=bash disable=SC2154  # install.sh sets them

# --- where the release comes from -------------------------------------------------------------------------------

find_source() {
  [ -n "$wheelhouse" ] || [ ! -f "$here/../wheelhouse.conf" ] || wheelhouse=$(dirname "$here")
  if [ -z "$wheelhouse" ]; then
    [ -f "$here/../pyproject.toml" ] || fail "no release here: give --wheelhouse DIR, or run the script of a checkout" 66
    unit_source=$here
    version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' "$here/../device/__init__.py")
    return
  fi
  { [ -f "$wheelhouse/wheelhouse.conf" ] && [ -f "$wheelhouse/SHA256SUMS" ]; } ||
    fail "$wheelhouse is no wheelhouse: wheelhouse.conf and SHA256SUMS must lie in it" 66
  verify_wheelhouse "$wheelhouse"
  if [ "$dry" = no ]; then
    # From here on a copy that only root can change: what was checked is what gets installed.
    stage=$(mktemp -d "$opt/stage.XXXXXX")
    cp -r "$wheelhouse" "$stage/wheelhouse" 2>> "$log" || fail "copying $wheelhouse to $opt failed: $(reason)"
    wheelhouse=$stage/wheelhouse
    verify_wheelhouse "$wheelhouse"
  fi
  unit_source=$wheelhouse/systemd
  version=$(setting version)
  [ "$(setting arch)" = "$(uname -m)" ] || fail "$wheelhouse is for $(setting arch), this is $(uname -m)" 65
  [ "$(setting python)" = "$python_version" ] ||
    fail "$wheelhouse is for Python $(setting python), this is $python_version: build it with --python $python_version" 65
}

setting() { sed -n "s/^$1=//p" "$wheelhouse/wheelhouse.conf" | head -1; }

# Every file by its hash, no file besides, and the hashes signed where a key is known.
verify_wheelhouse() {
  local dir=$1 trusted=$key
  [ -z "$new_key" ] || trusted=$new_key
  if [ -r "$trusted" ]; then
    command -v openssl > /dev/null || fail "openssl is missing, and $trusted asks for a signature: apt-get install openssl"
    [ -f "$dir/SHA256SUMS.sig" ] || fail "$dir is not signed, and $trusted asks for a signature" 65
    openssl pkeyutl -verify -pubin -inkey "$trusted" -rawin -in "$dir/SHA256SUMS" -sigfile "$dir/SHA256SUMS.sig" > /dev/null 2>&1 ||
      fail "the signature of $dir does not fit $trusted: it was changed, or signed by somebody else" 65
  elif [ -n "$new_key" ]; then
    fail "key $new_key can't be read" 66
  fi
  (cd "$dir" && sha256sum --check --quiet --strict SHA256SUMS > /dev/null 2>&1) ||
    fail "$dir is damaged: $(cd "$dir" && sha256sum --check --quiet SHA256SUMS 2> /dev/null | head -1); copy it again" 65
  local besides
  besides=$(cd "$dir" && comm -13 <(sed 's/^[0-9a-f]*  //' SHA256SUMS | sort) \
    <(find . ! -type d ! -name 'SHA256SUMS' ! -name 'SHA256SUMS.sig' -printf '%P\n' | sort) | head -1)
  [ -z "$besides" ] || fail "$dir holds $besides, which SHA256SUMS does not name: build it again" 65
}

# --- building beside the running release ------------------------------------------------------------------------

# The last line of the log that says why.
reason() {
  grep -iE 'no space|could not|cannot|unable|error|failed' "$log" | grep -v '^+' | tail -1 | cut -c1-200
}

check_space() {
  local free_mb
  [ -d "$opt" ] || return 0 # a dry run before the first installation
  free_mb=$(df --output=avail --block-size=1M "$opt" | tail -1 | tr -d ' ')
  [ "$free_mb" -ge "$need_mb" ] || fail "$free_mb MB are free under $opt, $need_mb MB are needed: make room (apt-get clean)"
}

apt_packages() {
  local missing=() wanted=(libportaudio2) name
  if [ -z "$wheelhouse" ]; then
    wanted+=(python3-venv python3-pyaudio)
  elif ! compgen -G "$wheelhouse/wheels/[Pp]y[Aa]udio-*.whl" > /dev/null; then
    wanted+=(python3-pyaudio)
  fi
  # Debian has no python3-lgpio, Raspberry Pi OS has.
  has_lgpio_wheel || ! apt-cache show python3-lgpio > /dev/null 2>&1 || wanted+=(python3-lgpio)
  for name in "${wanted[@]}"; do
    dpkg-query -W -f '${db:Status-Status}' "$name" 2> /dev/null | grep -qx installed || missing+=("$name")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  local from=("${missing[@]}") carried=no
  if [ -n "$wheelhouse" ] && [ -d "$wheelhouse/debs" ]; then
    from=()
    carried=yes # not --no-download: apt then refuses files as well
    for name in "$wheelhouse"/debs/*.deb; do
      dpkg-query -W -f '${db:Status-Status}' "$(dpkg-deb -f "$name" Package)" 2> /dev/null | grep -qx installed ||
        from+=("$(realpath "$name")")
    done
  fi
  say "packages: ${missing[*]}"
  local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -o "DPkg::Lock::Timeout=$apt_wait_s")
  local get=("${apt[@]}" install --yes --no-install-recommends "${from[@]}")
  run "${get[@]}" && return 0
  ! grep -q 'Could not get lock' "$log" || fail "apt is busy with something else (its lock was held for $apt_wait_s s): try again later"
  # A list that is too old names files that are gone.
  [ $carried = yes ] || { run "${apt[@]}" update && run "${get[@]}" && return 0; } || true
  fail "apt-get could not install ${missing[*]}: $(reason)"
}

has_lgpio_wheel() {
  [ -z "$wheelhouse" ] || { compgen -G "$wheelhouse/wheels/lgpio-*.whl" > /dev/null; return; }
  case $python_version in 3.11 | 3.12) ;; *) return 1 ;; esac # as PyPI has them
}

# A new number each time, so that the same version can be installed again beside itself.
name_release() {
  local n=1
  while [ -e "$releases/$version-$n" ]; do n=$((n + 1)); done
  fresh=$releases/$version-$n
}

build_release() {
  say "building $fresh"
  if [ "$dry" = yes ]; then
    say "would run: $python -m venv $fresh; pip install outcry $version into it from ${wheelhouse:-the network}"
    return
  fi
  local pip=("$fresh/bin/python" -m pip) source
  if [ -n "$wheelhouse" ]; then
    run "$python" -m venv --without-pip "$fresh" || fail "the new environment could not be made: $(reason)"
    pip=("$fresh/bin/python" "$(compgen -G "$wheelhouse/wheels/pip-*.whl")/pip")
    source=(--no-index --find-links "$wheelhouse/wheels")
  else
    run "$python" -m venv "$fresh" || fail "the new environment could not be made: $(reason)"
    source=(--prefer-binary)
  fi
  touch "$fresh/unfinished"
  compgen -G "${wheelhouse:-/nowhere}/wheels/[Pp]y[Aa]udio-*.whl" > /dev/null || link_from_apt pyaudio 'PyAudio-*' 'pyaudio-*'
  if [ -n "$wheelhouse" ]; then
    run "${pip[@]}" install "${source[@]}" "outcry==$version" || fail "installing from $wheelhouse failed: $(reason)"
    run "${pip[@]}" install "${source[@]}" 'lgpio>=0.2.2' || link_gpio
  else
    local tree
    tree=$(mktemp -d "$opt/stage.XXXXXX")
    stage=$tree
    cp -r "$here/../device" "$here/../pyproject.toml" "$here/../README.md" "$tree/"
    run "${pip[@]}" install "${source[@]}" "$tree" || fail "downloading and installing failed: $(reason) (network?); nothing was changed"
    run "${pip[@]}" install "${source[@]}" --only-binary=lgpio 'lgpio>=0.2.2' || link_gpio
  fi
  mkdir "$fresh/systemd"
  cp -r "$unit_source/." "$fresh/systemd/"
  cp "$unit_source/../config.example.toml" "$fresh/"
  chmod -R go=rX "$fresh"
}

# What has no wheel comes from Debian: only these modules are linked in, nothing else of the system's.
link_from_apt() {
  local site pattern path found=no
  site=$("$fresh/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  for pattern in "$@"; do
    for path in /usr/lib/python3/dist-packages/$pattern; do
      if [ -e "$path" ]; then
        ln -sf "$path" "$site/"
        found=yes
      fi
    done
  done
  [ $found = yes ]
}

link_gpio() {
  link_from_apt 'lgpio.py' '_lgpio*.so' 'lgpio-*' ||
    link_from_apt 'RPi' 'RPi.GPIO-*' 'RPi_GPIO-*' ||
    say "no lgpio for this Python: LED and button stay off until apt has python3-lgpio and this script runs again"
}

prove() {
  say "checking $(basename "$fresh")"
  [ "$dry" = no ] || return 0
  local config=$etc/config.toml state_dir check
  state_dir=$(mktemp -d)
  [ -f "$config" ] || config=$fresh/config.example.toml
  # QEMU_CPU: where an image for a Pi is made under qemu-user (its default processor gives wrong sums, docs/pi.md).
  for check in "version" "model verify" "check-config $config"; do
    # shellcheck disable=SC2086  # the words of a check are arguments
    run env -i PATH=/usr/bin:/bin HOME=/nonexistent PYTHONDONTWRITEBYTECODE=1 STATE_DIRECTORY="$state_dir" \
      RUNTIME_DIRECTORY="$state_dir" ${QEMU_CPU:+QEMU_CPU="$QEMU_CPU"} "$fresh/bin/outcry" $check || {
      local code=$?
      rm -rf "$state_dir"
      [ $code != 78 ] || fail "$(tail -1 "$log" | sed 's/^outcry: //'); the running release is untouched" 78
      fail "the new release failed at 'outcry $check': $(tail -1 "$log" | cut -c1-200)"
    }
  done
  rm -rf "$state_dir"
}
