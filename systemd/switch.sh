# The switch from one release to another, and back. Sourced by install.sh, which sets what is used here.
# shellcheck shell=bash disable=SC2154,SC2034  # install.sh sets and reads them
#
# From before the switch until the new release has become ready, /opt/outcry/trial names the release to go back to.
# Whoever finds it while no installation is at work (outcry-trial.service at the next start of the service, or the
# next run of the installer) goes back: the power went, or the installer was killed, before anything was proven.

# --- switching --------------------------------------------------------------------------------------------------

# place MODE FROM TO: as a whole or not at all.
place() {
  run install -D -m "$1" "$2" "$3.new" && run mv -f "$3.new" "$3"
}

place_units() {
  place 644 "$1/outcry.service" "$units/outcry.service" &&
    place 644 "$1/outcry-fault.service" "$units/outcry-fault.service" &&
    place 644 "$1/outcry-trial.service" "$units/outcry-trial.service" &&
    place 644 "$1/60-outcry.rules" /etc/udev/rules.d/60-outcry.rules &&
    place 644 "$1/outcry.sysusers.conf" /etc/sysusers.d/outcry.conf &&
    place 644 "$1/outcry.tmpfiles.conf" /etc/tmpfiles.d/outcry.conf &&
    run systemd-sysusers /etc/sysusers.d/outcry.conf &&
    run systemd-tmpfiles --create /etc/tmpfiles.d/outcry.conf
}

place_config() {
  if [ ! -e "$etc/config.toml" ]; then
    place 640 "$1/config.example.toml" "$etc/config.toml" && run chgrp outcry "$etc/config.toml" || return
  fi
  if [ -n "$new_key" ] && ! [ "$new_key" -ef "$key" ]; then
    place 644 "$new_key" "$key" || return
  fi
  case $network in
    local) place 644 "$1/systemd/outcry-local-network.conf" "$dropin" ;;
    any) run rm -f "$dropin" ;;
  esac
}

point() { # point NAME RELEASE: the atomic switch
  run ln -sfn "releases/$(basename "$2")" "$opt/$1.new" && run mv -T "$opt/$1.new" "$opt/$1"
}

systemd_runs() { [ -d /run/systemd/system ]; }

# Starts what /opt/outcry/current points to, and says whether it became ready and stayed so.
start_service() {
  run systemctl enable outcry.service || return
  if ! systemd_runs; then
    say "systemd does not run here (an image under construction?): the service starts at the next boot"
    return 0
  fi
  run systemctl daemon-reload || return
  if command -v udevadm > /dev/null; then
    run udevadm control --reload || true # a container has no udev
    run udevadm trigger --action=change --subsystem-match=sound --subsystem-match=gpio || true
  fi
  # A restart would go on counting the restarts of what ran before.
  run systemctl stop outcry.service || return
  run systemctl reset-failed outcry.service || true # nothing to reset
  # Not waiting for systemctl: it would wait for ever for a service that is started again and again.
  run systemctl start --no-block outcry.service || return
  [ "$dry" = no ] || return 0
  local starts end=$((SECONDS + ready_s))
  until [ "$(unit ActiveState)" = active ]; do
    [ $SECONDS -lt $end ] && [ "$(unit ActiveState)" != failed ] && [ "$(unit NRestarts)" -lt 3 ] || return
    sleep 0.5
  done
  starts=$(unit NRestarts)
  sleep "$settle_s"
  [ "$(unit ActiveState)" = active ] && [ "$(unit NRestarts)" = "$starts" ]
}

unit() { systemctl show --property "$1" --value outcry.service; }

stop_service() {
  ! systemd_runs || run systemctl stop outcry.service outcry-fault.service || true
  run systemctl disable outcry.service || true
}

# switch_to RELEASE OLD: OLD may be empty. Goes back by itself, and is not to be interrupted.
switch_to() {
  local to=$1 old=$2
  trap '' INT TERM HUP
  # A release that power loss empties must not be the current one, and the way back is on the disk before it is needed.
  { { [ -z "$old" ] || point trial "$old"; } && run sync; } || {
    run rm -f "$trial"
    fail "$opt can't be written: $(reason)"
  }
  switched=yes
  say "starting $(basename "$to")"
  if place_units "$to/systemd" && place_config "$to" && point current "$to" && place_link && start_service; then
    run rm -f "$trial"
    [ -z "$old" ] || point previous "$old"
    run sync
    return
  fi
  if [ -z "$old" ]; then
    stop_service
    remove_program
    fail "the service did not become ready; the program was removed again, configuration and data stay: see journalctl -u outcry"
  fi
  { place_units "$old/systemd" && point current "$old" && start_service && run rm -f "$trial"; } ||
    fail "$(basename "$to") did not become ready, and neither did $(basename "$old") again: see journalctl -u outcry"
  [ "$to" != "$fresh" ] || rm -rf "$to"
  fail "$(basename "$to") did not become ready; went back to $(basename "$old"), which runs: see journalctl -u outcry"
}

place_link() {
  run mkdir -p /usr/local/bin && run ln -sfn "$opt/current/bin/outcry" /usr/local/bin/outcry
}

current_release() { # the release that NAME points to, nothing where there is none
  local target
  target=$(readlink -e "$opt/$1" 2> /dev/null) && printf '%s\n' "$target"
}

# Takes back a switch that nobody ended. What runs is left to the caller.
go_back() {
  local old now
  now=$(current_release current || true)
  if old=$(current_release trial); then
    { place_units "$old/systemd" && point current "$old" && run sync; } || fail "going back to $(basename "$old") failed: $(reason)"
    say "the switch to another release was interrupted: $(basename "$old") is current again, was $(basename "${now:-none}")"
  fi
  run rm -f "$trial"
  # Last: after it the service no longer waits for what it waited for.
  ! systemd_runs || run systemctl daemon-reload
}

# What an installation that was killed left behind, before another action begins.
settle_first() {
  [ -L "$trial" ] || return 0
  go_back
  ! systemd_runs || run systemctl restart --no-block outcry.service
}
