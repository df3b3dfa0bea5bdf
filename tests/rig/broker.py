"""A broker that tests can break: a real mosquitto on loopback, with password, TLS and the shipped ACL.

    with BrokerRig(folder) as rig:
        rig.kill(); rig.start(empty=True); rig.pause(); rig.resume()
        with rig.subscriber("outcry/+/alert") as heard:
            heard.wait_for(lambda message: message.json["kind"] == "alert")

Every wait has a deadline, and only processes that were started here are ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

REPOSITORY = Path(__file__).parents[2]
SHIPPED = REPOSITORY / "systemd" / "mosquitto"
PASSWORD = "secret"
USERS = ("nora", "other", "guardian", "homeassistant")
START_DEADLINE_S = 10.0
# A person's PATH often lacks /usr/sbin, where Debian has the broker.
PATH = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin"
TOOLS = ("mosquitto", "mosquitto_sub", "mosquitto_pub", "mosquitto_passwd", "openssl")
MISSING = [tool for tool in TOOLS if not shutil.which(tool, path=PATH)]
MOSQUITTO = shutil.which("mosquitto", path=PATH) or "mosquitto"


def free_port() -> int:
    """A port that nobody has just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def make_ca(folder: Path, name: str = "outcry test CA") -> None:
    """ca.crt and ca.key, made by openssl on the spot."""
    folder.mkdir(parents=True, exist_ok=True)
    _openssl(
        folder, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
        "-keyout", "ca.key", "-out", "ca.crt", "-days", "30", "-subj", f"/CN={name}",
        "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
    )  # fmt: skip


def sign(folder: Path, name: str, common_name: str, extension: str) -> None:
    """NAME.crt and NAME.key, signed by the folder's CA."""
    _openssl(
        folder, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
        "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={common_name}",
    )  # fmt: skip
    (folder / f"{name}.ext").write_text(extension)
    _openssl(
        folder, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
        "-days", "30", "-extfile", f"{name}.ext", "-out", f"{name}.crt",
    )  # fmt: skip


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=30)


class Message:
    """One message that a subscriber was given."""

    def __init__(self, line: str) -> None:
        raw = json.loads(line)
        self.topic: str = raw["topic"]
        self.payload: str = raw["payload"] or ""
        self.retained = bool(raw["retain"])
        self.properties: dict[str, Any] = raw.get("properties", {})
        self.at = time.monotonic()

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.payload)

    def __repr__(self) -> str:
        return f"<{self.topic} {self.payload[:200]}>"


class Subscriber:
    """A real mosquitto_sub and what it was given so far."""

    def __init__(self, command: list[str]) -> None:
        self.messages: list[Message] = []
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for(self, wanted: Callable[[Message], bool], timeout_s: float = 10.0) -> Message:
        """The first message, earlier or still to come, that is wanted."""
        for message in self.messages:
            if wanted(message):
                return message
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise TimeoutError(f"not within {timeout_s} s; there were {self.messages}") from None
            self.messages.append(Message(line))
            if wanted(self.messages[-1]):
                return self.messages[-1]

    def take(self, quiet_s: float = 0.5) -> list[Message]:
        """All messages, once none has come for `quiet_s`."""
        while True:
            try:
                line = self._lines.get(timeout=quiet_s)
            except queue.Empty:
                return list(self.messages)
            self.messages.append(Message(line))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait(5)
        self._reader.join(5)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                self._lines.put(line)


class BrokerRig:
    """mosquitto in a folder of its own. `shipped_acl`: with systemd/mosquitto/outcry.acl."""

    def __init__(
        self,
        folder: Path,
        *,
        tls: bool = True,
        password: bool = True,
        acl: str | None = "shipped",
        client_certificates: bool = False,
        persistence: bool = True,
    ) -> None:
        self.folder = folder
        self.port = free_port()
        self.tls = tls
        self.password = PASSWORD if password else None
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        lines = ["user root", "log_type all", "log_dest stderr", f"listener {self.port} 127.0.0.1"]
        if tls:
            make_ca(folder)
            sign(folder, "srv", "localhost", "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n")
            lines += [f"cafile {folder}/ca.crt", f"certfile {folder}/srv.crt", f"keyfile {folder}/srv.key"]
        if client_certificates:
            lines += ["require_certificate true", "use_identity_as_username true"]
        if password:
            passwords = folder / "passwords"
            passwords.touch(mode=0o600)
            for user in USERS:
                self.set_password(user, PASSWORD)
            lines.append(f"password_file {passwords}")
        lines.append(f"allow_anonymous {'false' if password or client_certificates else 'true'}")
        if acl:
            (folder / "acl").write_text((SHIPPED / "outcry.acl").read_text() if acl == "shipped" else acl)
            (folder / "acl").chmod(0o600)
            lines.append(f"acl_file {folder}/acl")
        if persistence:
            lines += ["persistence true", f"persistence_location {folder}/store/", "autosave_interval 1"]
        (folder / "m.conf").write_text("\n".join(lines) + "\n")

    def start(self, *, empty: bool = False) -> None:
        """Start; `empty`: with nothing of what it knew. Returns once it takes connections."""
        if empty:
            shutil.rmtree(self.folder / "store", ignore_errors=True)
        (self.folder / "store").mkdir(exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen([MOSQUITTO, "-c", self.folder / "m.conf"], stdout=log, stderr=log)
        deadline = time.monotonic() + START_DEADLINE_S
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"mosquitto does not start:\n{(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL: it has no time to save anything."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM."""
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        """SIGSTOP: connections stay, nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def config(self, **more: Any) -> dict[str, Any]:
        """What [mqtt] of a device's configuration needs to reach this broker."""
        return {
            "host": "localhost",
            "port": self.port,
            "tls": self.tls,
            "ca_file": str(self.folder / "ca.crt") if self.tls else "",
            "username": "nora" if self.password else "",
            **more,
        }

    def command(self, program: str, user: str = "guardian") -> list[str]:
        """mosquitto_sub or mosquitto_pub with all it needs to get in."""
        command = [program, "-h", "localhost", "-p", str(self.port), "-V", "5"]
        if self.tls:
            command += ["--cafile", str(self.folder / "ca.crt")]
        if self.password:
            command += ["-u", user, "-P", self.password]
        return command

    def subscriber(self, topic: str = "outcry/+/alert", user: str = "guardian") -> Subscriber:
        """A mosquitto_sub that is subscribed when this returns."""
        marker = f"subscribed {time.monotonic_ns()}"
        before = self._log_size()
        subscriber = Subscriber(
            [*self.command("mosquitto_sub", user), "-i", marker.replace(" ", "-"), "-q", "1", "-t", topic, "-F", "%j"]
        )
        self.wait_for_log(f"Sending SUBACK to {marker.replace(' ', '-')}", before)
        return subscriber

    def publish(self, topic: str, payload: str, user: str = "guardian", retain: bool = False) -> None:
        """Publish with mosquitto_pub, QoS 1."""
        command = [*self.command("mosquitto_pub", user), "-q", "1", "-t", topic, "-m", payload]
        subprocess.run([*command, *(["-r"] if retain else [])], check=True, capture_output=True, timeout=10)

    def reload(self, **files: str) -> None:
        """Rewrite files of the folder (acl, passwords) and make the broker read them."""
        for name, content in files.items():
            (self.folder / name).write_text(content)
        if self._process is not None:
            self._process.send_signal(signal.SIGHUP)

    def set_password(self, user: str, password: str) -> None:
        """Give a user a password, from now on."""
        command = ["mosquitto_passwd", "-b", str(self.folder / "passwords"), user, password]
        subprocess.run(command, check=True, capture_output=True, timeout=30)
        self.reload()

    def wait_for_log(self, text: str, offset: int = 0, timeout_s: float = 10.0) -> None:
        """Wait until the broker has logged something."""
        deadline = time.monotonic() + timeout_s
        while text not in (self.folder / "log").read_text(errors="replace")[offset:]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the broker did not log {text!r}")
            time.sleep(0.01)

    def _log_size(self) -> int:
        return len((self.folder / "log").read_text(errors="replace"))

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(how)
            if how != signal.SIGKILL:
                self._process.send_signal(signal.SIGCONT)
            self._process.wait(10)
        self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


@contextlib.contextmanager
def mute_broker() -> Iterator[int]:
    """A port that takes connections and never says a word; yields the port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(50)
        yield int(listener.getsockname()[1])
