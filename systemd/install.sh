#!/usr/bin/env bash
# Installs, upgrades or removes outcry on 64-bit Raspberry Pi OS or Debian (12 or newer). See --help and docs/install.md.
#
# A release is a directory of its own, /opt/outcry/releases/VERSION-N. It is built beside the running one, proves
# itself there, and becomes the running one by the rename of one link; where the service then does not become
# ready, the link goes back. Until that rename nothing of the running release is touched.
#
# For tests: OUTCRY_APT_WAIT_S (how long to wait for apt's lock), OUTCRY_NEED_MB (free space asked for),
# OUTCRY_READY_S (how long it may take to become ready), OUTCRY_SETTLE_S (how long it must stay so).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly opt=/opt/outcry etc=/etc/outcry state=/var/lib/outcry log=/var/log/outcry-install.log
# A fixed path: sudo may leave the person's own python3 in front of Debian's.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8
readonly releases=$opt/releases trial=$opt/trial key=$etc/release-key.pem
readonly units=/etc/systemd/system dropin=/etc/systemd/system/outcry.service.d/local-network.conf
readonly apt_wait_s=${OUTCRY_APT_WAIT_S:-60} need_mb=${OUTCRY_NEED_MB:-400}
readonly ready_s=${OUTCRY_READY_S:-90} settle_s=${OUTCRY_SETTLE_S:-5}

action=install
dry=no
purge=no
network=keep
wheelhouse=
new_key=
fresh=     # the release under construction; removed at the end unless it was switched to
stage=     # a copy of the wheelhouse or of the tree, removed at the end
switched=no

usage() {
  cat <<'EOF'
usage: sudo install.sh [--wheelhouse DIR] [--key PUBLIC.pem] [--local-network | --any-network] [--dry-run]
       sudo install.sh --rollback | --settle | --uninstall [--purge]  [--dry-run]

  --wheelhouse DIR  install from a directory made by wheelhouse.sh, without internet (the default where
                    this script lies in one)
  --key PUBLIC.pem  from now on accept only wheelhouses signed with this Ed25519 key's private half
  --local-network   the service reaches nothing outside the local network; --any-network lifts that
  --rollback        go back to the release that ran before
  --uninstall       remove the program; configuration, journal and outbox stay. --purge removes them too
  --settle          go back where a switch was interrupted; outcry-trial.service calls it before each start
  --dry-run         say what would be done, and do nothing
EOF
}

say() { printf '%s\n' "$*" >&2; }
fail() {
  printf 'outcry install: %s\n' "$1" >&2
  exit "${2:-70}"
}

# Runs a step, or only names it. Its output goes to the log.
run() {
  if [ "$dry" = yes ]; then
    say "would run: $*"
  else
    printf '+ %s\n' "$*" >> "$log"
    "$@" >> "$log" 2>&1
  fi
}

parse() {
  while [ $# -gt 0 ]; do
    case $1 in
      --wheelhouse | --key)
        [ $# -ge 2 ] || fail "$1 needs a value; see --help" 2
        if [ "$1" = --key ]; then new_key=$2; else wheelhouse=$2; fi
        shift
        ;;
      --local-network) network=local ;;
      --any-network) network=any ;;
      --rollback) action=rollback ;;
      --settle) action=settle ;;
      --uninstall) action=uninstall ;;
      --purge) purge=yes ;;
      --dry-run) dry=yes ;;
      -h | --help)
        usage
        exit 0
        ;;
      *) fail "unknown option $1; see --help" 2 ;;
    esac
    shift
  done
  # Paths count from where the person stands; the work does not, for that directory may go away.
  [ -z "$wheelhouse" ] || wheelhouse=$(realpath -m "$wheelhouse")
  [ -z "$new_key" ] || new_key=$(realpath -m "$new_key")
  cd /
  [ "$purge" = no ] || [ "$action" = uninstall ] || fail "--purge goes with --uninstall; see --help" 2
}

check_machine() {
  [ "$(id -u)" = 0 ] || [ "$dry" = yes ] || fail "root is needed: run it with sudo" 2
  command -v systemctl apt-get dpkg > /dev/null || fail "this is no Debian with systemd; see docs/install.md for other systems"
  local debs
  debs=$(dpkg --print-architecture)
  case $(uname -m)/$debs in
    aarch64/arm64 | x86_64/amd64) ;;
    aarch64/*) fail "this system is 32-bit ($debs) on a 64-bit processor: install 64-bit Raspberry Pi OS" ;;
    *) fail "$(uname -m) is not supported: a 64-bit Pi (Zero 2 W, 3, 4, 5) with a 64-bit system is needed" ;;
  esac
  python=$(command -v python3) || fail "python3 is missing: apt-get install python3"
  python_version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])') || fail "$python does not run"
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "Python $python_version is too old: 3.11 or newer is needed (Raspberry Pi OS Bookworm or later)"
}

lock() {
  [ "$dry" = no ] || return 0
  exec 9> /run/outcry-install.lock
  if ! flock --nonblock 9; then
    [ "$action" != settle ] || exit 0 # the installation at work ends its own trial
    fail "another installation is at work; wait for it to end"
  fi
  [ "$action" = settle ] || : > "$log"
  chmod 600 "$log"
  printf '%s %s\n' "$(date --utc +%FT%TZ)" "$action" >> "$log"
}

# shellcheck source=release.sh
. "$here/release.sh"
# shellcheck source=switch.sh
. "$here/switch.sh"

prune() {
  local dir
  for dir in "$releases"/*/; do
    dir=${dir%/}
    [ "$dir" = "$(current_release current)" ] || [ "$dir" = "$(current_release previous)" ] || run rm -rf "$dir"
  done
}

# --- the actions ------------------------------------------------------------------------------------------------

do_install() {
  local old left
  if [ "$dry" = no ]; then
    mkdir -p "$releases" || fail "$releases can't be made"
    # What a run that lost its power left behind.
    rm -rf "$opt"/stage.*
    for left in "$releases"/*/unfinished; do rm -rf "$(dirname "$left")"; done
  fi
  settle_first
  check_space
  find_source
  apt_packages
  old=$(current_release current || true)
  name_release
  build_release
  prove
  run rm -f "$fresh/unfinished"
  switch_to "$fresh" "$old"
  [ "$dry" = no ] || return 0
  prune
  say "outcry $version runs. Next: edit $etc/config.toml, then: sudo systemctl restart outcry; sudo outcry doctor"
}

do_rollback() {
  local old now
  if [ -L "$trial" ]; then
    settle_first
    return
  fi
  old=$(current_release previous) || fail "there is no earlier release to go back to" 66
  now=$(current_release current || true)
  switch_to "$old" "$now"
  say "$(basename "$old") runs again"
}

do_settle() {
  [ ! -L "$trial" ] || go_back
}

remove_program() {
  run rm -f $units/outcry.service $units/outcry-fault.service $units/outcry-trial.service /etc/udev/rules.d/60-outcry.rules $dropin
  run rm -f /etc/sysusers.d/outcry.conf /etc/tmpfiles.d/outcry.conf /usr/local/bin/outcry
  [ ! -d "$(dirname $dropin)" ] || run rmdir --ignore-fail-on-non-empty "$(dirname $dropin)"
  ! systemd_runs || run systemctl daemon-reload || true
  run rm -rf $opt
}

do_uninstall() {
  stop_service
  remove_program
  if [ "$purge" = yes ]; then
    run rm -rf $etc $state "$(dirname $dropin)"
    ! id outcry > /dev/null 2>&1 || run userdel outcry
    ! getent group outcry > /dev/null || run groupdel outcry
    say "outcry is gone, with its configuration, journal and outbox"
  else
    say "outcry is removed; $etc and $state (configuration, journal, outbox) stay"
  fi
}

tidy() {
  local code=$?
  [ "$dry" = yes ] || {
    rm -rf "${stage:-}"
    [ -z "$fresh" ] || [ $switched = yes ] || rm -rf "$fresh"
    [ ! -d $releases ] || rmdir --ignore-fail-on-non-empty $releases $opt 2> /dev/null || true
  }
  exit $code
}

parse "$@"
check_machine
lock
trap tidy EXIT
trap 'exit 130' INT TERM HUP
"do_$action"
