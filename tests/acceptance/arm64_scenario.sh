#!/bin/bash
# Runs inside the virtual machine of arm64_vm.py, as the last thing to start. Everything goes to the console, which is
# read outside: FACT name value, ALERT topic message (what a subscriber got), LOG line (the service's journal).
exec > /dev/console 2>&1
say() { echo "FACT $*"; }
show() { systemctl show --property "$1" --value outcry; }
led() { grep -a '|lg' /sys/kernel/debug/gpio | tr -s ' '; }
play() { while aplay -q -D plughw:0,1,0 "$1"; do :; done; }
until_hearing() { until show StatusText | grep -q "hearing $1"; do sleep 0.5; done; }

cpu() { # cpu SECONDS: the service's share of the one core
  local before after
  before=$(show CPUUsageNSec)
  sleep "$1"
  after=$(show CPUUsageNSec)
  echo "$(((after - before) / ($1 * 1000000))) ms a second"
}

mountpoint -q /sys/kernel/debug || mount -t debugfs debugfs /sys/kernel/debug
role=$(sed -n 's/.*outcry.role=\([a-z]*\).*/\1/p' /proc/cmdline)
[ "$role" = pull ] || systemctl start mosquitto
mosquitto_sub -V mqttv5 -t 'outcry/+/alert' | sed -u 's/^/ALERT /' &
systemctl start --no-block outcry
journalctl -u outcry -o cat -f | sed -u 's/^/LOG /' &
until [ "$(systemctl is-active outcry)" = active ]; do sleep 0.5; done
pid=$(show MainPID)
say ready "$((($(show ActiveEnterTimestampMonotonic) - $(show InactiveExitTimestampMonotonic)) / 1000)) ms"
say sandbox "$(grep -E 'CapEff|NoNewPrivs|^Seccomp:' "/proc/$pid/status" | tr -s '\t\n ' ' ')user $(ps -o user= -p "$pid")"
say nodes "$(stat -c '%n %A %G' /dev/gpiochip0 /dev/snd/controlC0 2>&1 | tr '\n' ' ')"
say card "$(cat /proc/asound/card0/id)"

connects() { # connects HOST: what the restarted service says of the broker there within 15 s
  local since
  since=$(date +%s)
  sed -i "s/^host = .*/host = \"$1\"/" /etc/outcry/config.toml
  systemctl restart outcry
  sleep 15
  journalctl -u outcry -o cat --since "@$since" | grep -m1 -i broker
}

if [ "$role" = again ]; then # what the outbox kept is told without a word said
  sleep 20
  # The drop-in of `install.sh --local-network`: an address that is not local (RFC 5737), here on the loopback device.
  python3 - <<'EOF'
import fcntl, socket, struct
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
    address = struct.pack("HH4s8x", socket.AF_INET, 0, socket.inet_aton("203.0.113.1"))
    fcntl.ioctl(control, 0x8916, b"lo:1".ljust(16, b"\0") + address)  # SIOCSIFADDR
EOF
  say anywhere "$(connects 203.0.113.1)"
  install -D -m 644 /opt/outcry/current/systemd/outcry-local-network.conf \
    /etc/systemd/system/outcry.service.d/local-network.conf
  systemctl daemon-reload
  say narrowed "$(connects 203.0.113.1)"
  say narrowed-local "$(connects localhost)"
else
  play /room.wav &
  player=$!
  until_hearing healthy
  say memory "$(grep -E 'VmHWM|VmRSS|RssAnon' "/proc/$pid/status" | tr -s '\t\n ' ' ')"
  say cpu-room "$(cpu 30)"
  highs=0
  for _ in $(seq 20); do
    case $(led) in *"out hi"*) highs=$((highs + 1)) ;; esac
    sleep 0.2
  done
  say led-before "$highs of 20 looks high, $(led)"
  kill $player
  pkill -x aplay
  play /recording.wav &
  player=$!
  say cpu-recording "$(cpu 30)"
  # Flashes are no alert: it is on and stays on, which also says that the broker has the alert.
  steady=0
  for _ in $(seq 300); do
    case $(led) in *"out hi"*) steady=$((steady + 1)) ;; *) steady=0 ;; esac
    [ $steady -lt 20 ] || break
    sleep 0.2
  done
  say led-alert "$steady looks in a row high, $(led)"
  sleep 60 # with role=pull the power goes before that
  say memory-later "$(grep -E 'VmHWM|VmRSS|RssAnon' "/proc/$pid/status" | tr -s '\t\n ' ' ')"
  say restarts "$(show NRestarts)"
  kill $player
  pkill -x aplay
  systemctl stop outcry
  say stopped "$(show Result), led $(led)"
  [ "$role" = pull ] || say bench "$(outcry bench --json --config /etc/outcry/config.toml)"
fi
say end
systemctl poweroff --force --force
