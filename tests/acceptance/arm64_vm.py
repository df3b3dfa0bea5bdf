"""The whole device in an arm64 virtual machine: a real gpiochip, a real sound card, the real unit and its sandbox.

    sudo python tests/acceptance/arm64_vm.py RECORDING [--wheelhouse DIR] [--keep DIR]

RECORDING holds danger that `outcry replay` alerts on. Two scenarios, on Debian 12 with Debian 13's kernel under
qemu-system-aarch64. Its clock is made of instructions (icount), NS_PER_INSTRUCTION each, and jumps over what is idle:
no deadline in there depends on how busy this machine is, and times measured in there are instruction counts.

* *alarm*: the installer's unit starts under systemd, the recording is played into snd-aloop's other end, the LED's
  line of the PL061 gpiochip goes high and stays so (/sys/kernel/debug/gpio), a subscriber has the alert.
* *power*: the same without a broker; the machine is killed (SIGKILL of qemu, disk without write cache) as soon as
  the alert is in the journal. It boots again from that disk, now with a broker: the subscriber gets the same id.

Needs root, network on first use, and: mmdebstrap arch-test binfmt-support qemu-user-static qemu-system-arm
device-tree-compiler zstd cpio e2fsprogs. Prints one line a fact, and ends with 0 only if all of them hold.
"""

import argparse
import array
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import wave
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("OUTCRY_CACHE") or Path.home() / ".cache/outcry")
PACKAGES = (
    "systemd,systemd-sysv,udev,dbus,kmod,procps,openssl,ca-certificates,python3,python3-pyaudio,libportaudio2,"
    "libasound2-plugins,alsa-utils,mosquitto,mosquitto-clients"
)
# ext4 asks for crc32c by name, which modules.dep does not say
MODULES = ("snd-aloop", "virtio_blk", "virtio_pci", "crc32c_generic", "ext4")
LED = 5  # a line of the PL061, which has 8
BOOT_LIMIT_S = 1800  # of this machine's time
NS_PER_INSTRUCTION = 2  # one core at 1 GHz that finishes half an instruction a cycle; a power of two
MACHINE = ["-M", "virt", "-cpu", "cortex-a72", "-m", "3072", "-smp", "1", "-nic", "none"]
CLOCK = ["-accel", "tcg,thread=single", "-icount", f"shift={NS_PER_INSTRUCTION.bit_length() - 1},sleep=off"]

CONFIG = {
    'host = ""': 'host = "localhost"',
    "tls = true": "tls = false",
    'name = ""': 'name = "outcry"',  # the udev rule's name for it
    "led = 17": f"led = {LED}",
    "button = 27": "button = -1",
    "buzzer = 22": "buzzer = -1",
    "pre_alert_s = 10.0": "pre_alert_s = 2.0",
}

UNIT = """[Unit]
After=basic.target
[Service]
Type=idle
ExecStart=/usr/local/sbin/scenario
"""


def sh(*command: str | Path, **options: object) -> str:
    """Run a command and return what it printed."""
    return subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout  # type: ignore[call-overload]


def kernel() -> Path:
    """Return a directory with Debian 13's unpacked arm64 kernel, fetched on first use."""
    folder = CACHE / "kernel-arm64"
    if not folder.exists():
        packages = CACHE / "kernel"
        found = list(packages.glob("linux-image-*.deb"))
        if not found:
            sys.exit(f"put Debian 13's linux-image-*-arm64.deb into {packages} (apt-get download in an arm64 root)")
        sh("dpkg-deb", "-x", found[0], folder)
        base = folder if (folder / "lib").exists() else folder / "usr"
        sh("depmod", "-b", base, next((base / "lib/modules").iterdir()).name)
    return folder


def debian() -> Path:
    """Return the arm64 root, built on first use (some minutes)."""
    root = CACHE / "debian12-arm64-vm"
    if not root.exists():
        fresh = root.with_suffix(".new")
        sh("mmdebstrap", "--variant=minbase", "--architectures=arm64", f"--include={PACKAGES}", "bookworm", fresh)
        fresh.rename(root)
    return root


def install(root: Path, wheelhouse: Path, recording: Path, cpuinfo: Path) -> None:
    """Run the installer in the root under qemu-user, configure, and add the scenario."""
    shutil.copytree(wheelhouse, root / "root/wheelhouse")
    sh(
        "unshare", "--mount", "bash", "-ec",
        'mount -t proc proc "$1/proc"; mount --bind "$2" "$1/proc/cpuinfo"; mount -t sysfs sysfs "$1/sys"; '
        'mount -t tmpfs tmpfs "$1/run"; '
        'QEMU_CPU=cortex-a72 PIP_NO_COMPILE=1 chroot "$1" /root/wheelhouse/systemd/install.sh >&2',
        "-", root, cpuinfo,
    )  # fmt: skip
    shutil.rmtree(root / "root/wheelhouse")
    if sys.version_info[:2] == (3, 11):  # Debian 12's bytecode, made without qemu
        sh(sys.executable, "-m", "compileall", "-q", root / "opt/outcry/releases")
    config = root / "etc/outcry/config.toml"
    text = config.read_text()
    for old, new in CONFIG.items():
        assert old in text, old
        # `name` stands in [device] and in [microphone]; only the empty one is the microphone's
        text = text.replace(old, new, 1)
    config.write_text(text)
    shutil.copy(recording, root / "recording.wav")
    with wave.open(str(root / "room.wav"), "wb") as room:  # a quiet room: a minute of noise at -57 dBFS
        room.setparams((1, 2, 16_000, 0, "NONE", ""))
        hiss = random.Random(17)
        room.writeframes(array.array("h", (round(hiss.gauss(0, 46)) for _ in range(60 * 16_000))).tobytes())
    shutil.copy(TREE / "tests/acceptance/arm64_scenario.sh", root / "usr/local/sbin/scenario")
    (root / "etc/systemd/system/scenario.service").write_text(UNIT)
    wants = root / "etc/systemd/system/multi-user.target.wants"
    (wants / "scenario.service").symlink_to("../scenario.service")
    for unit in ("outcry.service", "mosquitto.service"):
        (wants / unit).unlink(missing_ok=True)  # the scenario starts them
    (root / "etc/modules-load.d/outcry.conf").write_text("\n".join(MODULES) + "\n")
    (root / "etc/fstab").write_text("/dev/vda /var/lib/outcry ext4 noatime 0 0\n")
    (root / "etc/mosquitto/conf.d/open.conf").write_text("listener 1883\nallow_anonymous true\n")
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n")
    # The rule for USB cards, let loose on snd-aloop, which is none.
    rules = root / "etc/udev/rules.d/60-outcry.rules"
    rules.write_text(rules.read_text().replace('SUBSYSTEMS=="usb", ', ""))
    (root / "init").unlink(missing_ok=True)
    (root / "init").symlink_to("lib/systemd/systemd")


def add_modules(root: Path, source: Path) -> None:
    """Copy the kernel modules that the scenario loads, with what they need."""
    modules = next(iter([*source.glob("lib/modules/*"), *source.glob("usr/lib/modules/*")]))
    target = root / "lib/modules" / modules.name
    target.mkdir(parents=True)
    for index in modules.glob("modules.*"):
        shutil.copy(index, target)
    needs = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        name, _, rest = line.partition(":")
        needs[name] = rest.split()
    for wanted in MODULES:
        found = [
            name for name in needs if Path(name).name.replace("-", "_").startswith(f"{wanted.replace('-', '_')}.ko")
        ]
        built_in = (modules / "modules.builtin").read_text().replace("-", "_")
        assert found or f"/{wanted.replace('-', '_')}.ko" in built_in, f"the kernel has no module {wanted}"
        for file in found:
            for each in [file, *needs[file]]:
                (target / each).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(modules / each, target / each)


def device_tree(work: Path) -> Path:
    """Return the virtual machine's device tree with a Pi 4's revision, by which gpiozero knows the pins."""
    tree = work / "virt.dtb"
    sh("qemu-system-aarch64", *MACHINE, "-M", f"virt,dumpdtb={tree}", "-nographic")
    sh("fdtput", "-c", tree, "/system")
    sh("fdtput", "-t", "x", tree, "/system", "linux,revision", "c03114")
    return tree


class Machine:
    """One boot of the virtual machine; its facts and alerts as the console told them."""

    def __init__(self, work: Path, role: str) -> None:
        self.facts: dict[str, str] = {}
        self.alerts: list[dict[str, object]] = []
        self.logged: list[dict[str, object]] = []
        boot = next(iter([*kernel().glob("boot/vmlinuz-*")]))
        self.console = work / f"{role}.log"
        self._qemu = subprocess.Popen(
            [
                "qemu-system-aarch64", *MACHINE, *CLOCK, "-nographic", "-no-reboot",
                "-kernel", str(boot), "-initrd", str(work / "initrd.zst"), "-dtb", str(work / "virt.dtb"),
                "-drive", f"file={work / 'disk.img'},format=raw,if=virtio,cache=writethrough",
                "-append", f"console=ttyAMA0 rdinit=/init quiet systemd.show_status=0 outcry.role={role}",
            ],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )  # fmt: skip

    def watch(self, *, until_alert_is_logged: bool = False) -> None:
        """Read the console to the end, or pull the power as soon as the journal has an alert."""
        assert self._qemu.stdout is not None
        ends = time.monotonic() + BOOT_LIMIT_S
        with self.console.open("w") as log:
            for line in self._qemu.stdout:
                log.write(line)
                log.flush()
                if found := re.search(r"FACT (\S+) ?(.*)", line):
                    self.facts[found[1]] = found[2].strip()
                    print(f"  {found[1]}: {found[2].strip()}", flush=True)
                elif found := re.search(r"(ALERT|LOG) (\{.*\})", line):
                    event = json.loads(found[2])
                    (self.alerts if found[1] == "ALERT" else self.logged).append(event)
                    if event.get("kind") == "alert":
                        print(f"  {found[1].lower()}: {found[2][:150]}", flush=True)
                        if until_alert_is_logged:
                            self._qemu.kill()
                            break
                if time.monotonic() > ends:
                    self._qemu.kill()
                    break
        self._qemu.wait()


def alerts(events: list[dict[str, object]]) -> list[object]:
    """The ids of alerts among events."""
    return [event["id"] for event in events if event.get("kind") == "alert"]


def build(work: Path, wheelhouse: Path, recording: Path) -> None:
    """Make initrd and device tree in `work`."""
    cpuinfo = work / "cpuinfo"
    core = "processor\t: {}\nFeatures\t: fp asimd evtstrm crc32 cpuid\nCPU implementer\t: 0x41\nCPU architecture: 8\n"
    core += "CPU variant\t: 0x0\nCPU part\t: 0xd08\nCPU revision\t: 3\n\n"
    cpuinfo.write_text("".join(core.format(number) for number in range(4)) + "Revision\t: c03114\n")
    root = work / "root"
    for name in ("upper", "work", "root"):
        (work / name).mkdir()
    options = f"lowerdir={debian()},upperdir={work / 'upper'},workdir={work / 'work'}"
    sh("mount", "-t", "overlay", "overlay", "-o", options, root)
    try:
        install(root, wheelhouse, recording, cpuinfo)
        add_modules(root, kernel())
        pack = (
            'cd "$1" && find . -xdev | grep -v \'^./usr/share/doc\' | cpio -o -H newc --quiet | zstd -1 -q -T2 > "$2"'
        )
        sh("bash", "-c", pack, "-", root, work / "initrd.zst")
    finally:
        sh("umount", root)
    device_tree(work)


def empty_disk(work: Path) -> None:
    """Make a new disk for /var/lib/outcry; an alert that nobody answered would go on in the next boot."""
    (work / "disk.img").unlink(missing_ok=True)
    sh("truncate", "-s", "64M", work / "disk.img")
    sh("mke2fs", "-q", "-t", "ext4", work / "disk.img")


def main() -> int:
    """Run both scenarios; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recording", type=Path)
    parser.add_argument("--wheelhouse", type=Path, default=CACHE / "arm-3.11")
    parser.add_argument("--keep", type=Path, help="work here and leave the consoles' logs")
    given = parser.parse_args()
    work = given.keep or Path(tempfile.mkdtemp(prefix="outcry-vm-"))
    work.mkdir(parents=True, exist_ok=True)
    if not (work / "initrd.zst").exists():
        build(work, given.wheelhouse, given.recording)
    print("alarm", flush=True)
    empty_disk(work)
    alarm = Machine(work, "alarm")
    alarm.watch()
    fact = alarm.facts.get
    held = {
        "the unit's LED line went high and stayed so": int(fact("led-alert", "0").split()[0]) == 20,
        "it only flashed before": int(fact("led-before", "20").split()[0]) < 5,
        "no capability, no new privileges, seccomp": all(
            word in fact("sandbox", "") for word in ("CapEff: 0000000000000000", "NoNewPrivs: 1", "Seccomp: 2")
        ),
        "the udev rule named the card": fact("card") == "outcry",
        "a subscriber has the alert": bool(alerts(alarm.alerts)),
    }
    print("power", flush=True)
    empty_disk(work)
    pulled = Machine(work, "pull")
    pulled.watch(until_alert_is_logged=True)
    again = Machine(work, "again")
    again.watch()
    lost = set(alerts(pulled.logged)) - set(alerts(again.alerts))
    held["an alert was in the journal when the power went"] = bool(alerts(pulled.logged))
    said = again.facts.get
    held["a broker anywhere is reached"] = "Connected" in said("anywhere", "")
    held["with the drop-in it is not"] = "203.0.113.1" in said("narrowed", "") and "Connected" not in said(
        "narrowed", ""
    )
    held["but one on this machine is"] = "Connected" in said("narrowed-local", "")
    held["the same alert reached a subscriber afterwards"] = bool(pulled.logged) and not lost
    for fact, holds in held.items():
        print(f"{'ok  ' if holds else 'FAIL'} {fact}")
    if given.keep is None:
        shutil.rmtree(work)
    return 0 if all(held.values()) else 70


if __name__ == "__main__":
    sys.exit(main())
