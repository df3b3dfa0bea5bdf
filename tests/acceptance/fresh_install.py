"""A bare Debian gets outcry the ways a person would: over the network, and from a wheelhouse without any.

    sudo python tests/acceptance/fresh_install.py [online12] [online13] [offline]

All are booted containers with systemd in which neither PortAudio nor pip nor anything of outcry's was installed.

* *online12*, *online13* (Debian 12 and 13): a clone of this repository's last commit; `systemd/install.sh` fetches
  from Debian and from PyPI.
* *offline* (Debian 12): `systemd/wheelhouse.sh --debs --key` on this machine, which must run Debian 12 too (apt-get
  update was run); the container has no network; packages, wheels and signature come out of the wheelhouse.

Needs root, network, mmdebstrap, systemd-container, git. Prints one line a fact; 0 only if each service became ready.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TREE / "tests/systemd"))

import releases  # noqa: E402
from debian import Debian, base_root, overlay, unusable  # noqa: E402

BARE = "systemd,systemd-sysv,dbus,python3,ca-certificates,openssl"
AUTHORITIES = "etc/ssl/certs/ca-certificates.crt"
LIMIT_S = 1500


def installed(debian: Debian, *command: str) -> bool:
    """Run the installer in the booted system, print what came of it, and say whether the service is ready."""
    began = time.monotonic()
    done = debian.run(
        *command, check=False, timeout_s=LIMIT_S, environ={"PIP_NO_COMPILE": "0", "PIP_CERT": f"/{AUTHORITIES}"}
    )
    for line in done.stderr.splitlines():
        print(f"  | {line}")
    print(f"  exit {done.returncode} after {time.monotonic() - began:.0f} s")
    log = (debian.path / "var/log/outcry-install.log").read_text()
    print(f"  pip took {log.count('Downloading ')} files from the network, apt {log.count('Get:')}")
    state = debian.run("systemctl", "is-active", "outcry", check=False).stdout.strip()
    print(f"  service: {state}")
    kinds = debian.run("outcry", "doctor", check=False).stdout + debian.run("outcry", "version", check=False).stdout
    for line in kinds.splitlines():
        print(f"  > {line}")
    return done.returncode == 0 and state == "active"


def online(work: Path, release: int) -> bool:
    """From a clone, over the network."""
    with overlay([base_root("bare", BARE, release)], work / f"online{release}", network=True) as debian:
        subprocess.run(["git", "clone", "-q", "--depth=1", f"file://{TREE}", debian.path / "root/outcry"], check=True)
        for file in ("etc/resolv.conf", AUTHORITIES):
            (debian.path / file).unlink(missing_ok=True)
            shutil.copy(f"/{file}", debian.path / file)
        debian.boot()
        return installed(debian, "/root/outcry/systemd/install.sh")


def offline(work: Path) -> bool:
    """From a signed wheelhouse with Debian's packages, without network."""
    private, public = releases.make_key(work, "release")
    began = time.monotonic()
    done = releases.build(work / "wheelhouse", "--debs", "--key", str(private))
    print(f"  {done.stdout.strip()}{done.stderr.strip()} after {time.monotonic() - began:.0f} s")
    if done.returncode != 0:
        return False
    print(f"  {len(list((work / 'wheelhouse/debs').iterdir()))} Debian packages in it")
    with overlay([base_root("bare", BARE)], work / "offline") as debian:
        releases.bring(debian.path, work / "wheelhouse")
        shutil.copy(public, debian.path / "root/release.pub.pem")
        debian.boot()
        return installed(debian, "/root/wheelhouse/systemd/install.sh", "--key", "/root/release.pub.pem")


def main() -> int:
    """Run those named, else all; return the exit code."""
    if reason := unusable():
        print(f"fresh_install.py {reason}", file=sys.stderr)
        return 2
    ways = {"online12": partial(online, release=12), "online13": partial(online, release=13), "offline": offline}
    worked = True
    with tempfile.TemporaryDirectory(prefix="outcry-fresh-", dir=os.environ.get("OUTCRY_SCRATCH")) as folder:
        for name in sys.argv[1:] or ways:
            print(name, flush=True)
            holds = ways[name](Path(folder))
            print(f"{'ok  ' if holds else 'FAIL'} {name}", flush=True)
            worked = worked and holds
    return 0 if worked else 70


if __name__ == "__main__":
    sys.exit(main())
