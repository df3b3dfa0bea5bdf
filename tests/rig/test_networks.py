"""Several networks: the whole service moves its connection from home to hotspot and back, and no alert is lost.

Two namespaces, joined by two veth pairs: the device with its home and its hotspot, and what lies beyond both, with the
broker. Nothing leaves them. What a network manager does at a loss (address and route go) is done here by hand.
"""

import contextlib
import ctypes
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.broker import MISSING, BrokerRig, Message, Subscriber, sign
from tests.rig.running import TOOLS, Running, ToldRig
from tests.rig.test_service import AT_ONCE, EASY, HELP, mqtt, with_password

IP = shutil.which("ip", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
pytestmark = [
    pytest.mark.rig,
    pytest.mark.skipif(bool(TOOLS or MISSING), reason=f"not installed: {', '.join([*TOOLS, *MISSING])}"),
    pytest.mark.skipif(os.geteuid() != 0 or IP is None, reason="needs root and iproute2 (network namespaces)"),
    pytest.mark.timeout(300),
]
BROKER = {4: "10.9.0.1", 6: "fd00:9::1"}
BROKER_FILES = {"cafile": "ca.crt", "certfile": "srv.crt", "keyfile": "srv.key"}
# name: the device's end, the other end, and which one is preferred
NETWORKS = {"home": ("10.1.0.2", "10.1.0.1", 100), "hotspot": ("10.2.0.2", "10.2.0.1", 600)}
LIBC = ctypes.CDLL(None, use_errno=True)


class Namespace:
    """A network namespace; whatever is started `inside` has it."""

    def __init__(self, name: str) -> None:
        self.name = name
        ip("netns", "add", name)
        self.ip("link", "set", "lo", "up")

    def ip(self, *words: str) -> None:
        ip("-n", self.name, *words)

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Move the calling thread, and what it starts, in here."""
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        try:
            enter(there)
            yield
        finally:
            enter(before)
            os.close(there)
            os.close(before)


def enter(namespace: int) -> None:
    if LIBC.setns(namespace, 0) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def ip(*words: str) -> None:
    subprocess.run([str(IP), *words], check=True, capture_output=True, timeout=10)


class World:
    """The device's namespace and the broker's, with two ways between them."""

    def __init__(self) -> None:
        self.device = Namespace(f"outcry-device-{os.getpid()}")
        self.beyond = Namespace(f"outcry-beyond-{os.getpid()}")
        self.beyond.ip("address", "add", f"{BROKER[4]}/32", "dev", "lo")
        self.beyond.ip("-6", "address", "add", f"{BROKER[6]}/128", "dev", "lo", "nodad")
        for name, (_, there, _) in NETWORKS.items():
            self.device.ip("link", "add", name, "type", "veth", "peer", "name", name, "netns", self.beyond.name)
            self.beyond.ip("address", "add", f"{there}/24", "dev", name)
            self.beyond.ip("link", "set", name, "up")
            self.join(name)

    def join(self, name: str) -> None:
        """Home or hotspot is there, with address and default route."""
        here, there, metric = NETWORKS[name]
        self.device.ip("link", "set", name, "up")
        self.device.ip("address", "add", f"{here}/24", "dev", name)
        self.device.ip("route", "add", "default", "via", there, "dev", name, "metric", str(metric))

    def leave(self, name: str) -> None:
        """It is gone: not even a farewell reaches the other side, and address and route go with it."""
        self.device.ip("link", "set", name, "down")
        self.device.ip("address", "flush", "dev", name)

    def close(self) -> None:
        for namespace in (self.device, self.beyond):
            ip("netns", "delete", namespace.name)


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def broker(world: World, tmp_path: Path) -> Iterator[BrokerRig]:
    rig = BrokerRig(tmp_path / "broker")
    with (rig.folder / "m.conf").open("a") as configuration:
        for address in BROKER.values():
            configuration.write(f"listener {rig.port} {address}\n")
            configuration.write("".join(f"{key} {rig.folder}/{name}\n" for key, name in BROKER_FILES.items()))
    names = ",".join(["DNS:localhost", "IP:127.0.0.1", *(f"IP:{address}" for address in BROKER.values())])
    sign(rig.folder, "srv", "localhost", f"subjectAltName={names}\nextendedKeyUsage=serverAuth\n")
    with world.beyond.inside(), rig:
        yield rig


@contextlib.contextmanager
def device_of(world: World, broker: BrokerRig, folder: Path, host: str) -> Iterator[tuple[Running, ToldRig]]:
    config = mqtt(broker, host=host) + EASY + AT_ONCE
    with ToldRig() as sound:
        sound.speak("noise")
        device = Running(folder, config, with_password(sound))
        with world.device.inside():
            device.start()
        try:
            device.hears("healthy")
            yield device, sound
        finally:
            device.kill()


def cry(device: Running, sound: ToldRig, number: int) -> str:
    """Make the next alert; return its id once the device has told it."""
    sound.say(HELP)
    told = device.until(lambda: [e for e in device.events if e["kind"] == "alert"][number:], "the alert")
    sound.speak("noise")
    return str(told[0]["id"])


def arrives(heard: Subscriber, identity: str, timeout_s: float) -> Message:
    return heard.wait_for(lambda message: message.json["id"] == identity, timeout_s)


def peers(broker: BrokerRig) -> list[str]:
    """The addresses that the device came from, in order."""
    log = (broker.folder / "log").read_text()
    return re.findall(r"connected from ([0-9a-f.:]+):\d+ as .*u'nora'", log)


def end_alert(device: Running, broker: BrokerRig, identity: str) -> None:
    # Acknowledged, and then cleared: armed anew.
    broker.publish("outcry/nora/receipt", f'{{"id": "{identity}", "kind": "acknowledged", "by": "test"}}')
    device.wait_for("acknowledged", id=identity)
    command = f'{{"command": "clear", "id": "{identity}-clear", "by": "test"}}'
    broker.publish("outcry/nora/command", command)
    device.wait_for("cleared", id=identity)


def test_no_alert_is_lost_between_home_and_hotspot(world: World, broker: BrokerRig, tmp_path: Path) -> None:
    took: dict[str, float] = {}
    with broker.subscriber() as heard, device_of(world, broker, tmp_path / "d", BROKER[4]) as (device, sound):

        def told_after(number: int, moved: str, limit_s: float) -> None:
            began = time.monotonic()
            identity = cry(device, sound, number)
            message = arrives(heard, identity, limit_s)
            took[moved] = message.at - began
            end_alert(device, broker, identity)

        told_after(0, "at home", 10)
        world.leave("home")
        told_after(1, "home lost, hotspot there", 60)
        world.join("home")
        told_after(2, "home is back", 60)
        world.leave("hotspot")
        told_after(3, "hotspot lost, home there", 60)
        world.leave("home")
        identity = cry(device, sound, 4)
        time.sleep(20)
        world.join("hotspot")
        began = time.monotonic()
        arrives(heard, identity, 60)
        took["20 s without any, then hotspot"] = time.monotonic() - began
    print("; ".join(f"{moved}: {seconds:.1f} s" for moved, seconds in took.items()))
    home, hotspot = (NETWORKS[name][0] for name in ("home", "hotspot"))
    # Home's return alone moves nothing: the connection over the hotspot still holds.
    assert peers(broker) == [home, hotspot, home, hotspot]
    ids = [event["id"] for event in device.events if event["kind"] == "alert"]
    assert len(set(ids)) == len(ids) == 5


def test_a_broker_that_has_ipv6_alone(world: World, broker: BrokerRig, tmp_path: Path) -> None:
    for namespace, address in ((world.device, "fd00:1::2/64"), (world.beyond, "fd00:1::1/64")):
        namespace.ip("-6", "address", "add", address, "dev", "home", "nodad")
    world.device.ip("-6", "route", "add", "default", "via", "fd00:1::1", "dev", "home")
    with broker.subscriber() as heard, device_of(world, broker, tmp_path / "d", BROKER[6]) as (device, sound):
        arrives(heard, cry(device, sound, 0), 10)
    assert peers(broker) == ["fd00:1::2"]
