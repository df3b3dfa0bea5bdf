"""The local socket (0660) by which a command reaches the running service: JSON lines both ways.

A request is one object with `do`; the answers are objects, one a line, until the service closes. The server
has no thread: the service's main loop calls `serve`, and whoever asks or reads slowly waits alone.
"""

import contextlib
import logging
import selectors
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from device.errors import ConfigError, OutcryError

_log = logging.getLogger(__name__)

SOCKET_NAME = "control.sock"
_PATH_BYTES = 107  # sun_path holds 108 with its end
_REQUEST_BYTES = 65_536
_BACKLOG_BYTES = 262_144  # a reader who falls behind by more is cut off
_CLIENTS = 16

Message = dict[str, object]


class Client:
    """One connection to the running service, seen from the service."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.inbox = bytearray()
        self.outbox = bytearray()
        self.asked = False
        self.ending = False

    def send(self, message: Message) -> None:
        """Queue one line; it leaves with the next turn of the main loop."""
        if len(self.outbox) > _BACKLOG_BYTES:
            self.outbox.clear()
            self.ending = True
            return
        self.outbox += msgspec.json.encode(message) + b"\n"

    def end(self, message: Message | None = None) -> None:
        """Send a last line, if any, and close once it is out."""
        if message is not None:
            self.send(message)
        self.ending = True


class ControlServer:
    """Listens on a Unix socket; hands every request to `answer(request, client)` in the caller's thread."""

    def __init__(self, path: Path, answer: Callable[[Message, Client], None]) -> None:
        self.path = path
        self._answer = answer
        self._clients: list[Client] = []
        if len(bytes(path)) > _PATH_BYTES:
            raise ConfigError(f"the socket's path {path} is too long; shorten device.runtime_directory")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.bind(str(path))
            path.chmod(0o660)
        except OSError as error:
            raise ConfigError(
                f"the control socket {path} can't be made ({error}); check device.runtime_directory"
            ) from error
        self._socket.listen(_CLIENTS)
        self._socket.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._socket, selectors.EVENT_READ)
        self._wake_read, self._wake_write = socket.socketpair()
        for end in (self._wake_read, self._wake_write):
            end.setblocking(False)
        self._selector.register(self._wake_read, selectors.EVENT_READ)

    def wake(self) -> None:
        """Make a `serve` that waits return at once; from any thread, also from a signal handler."""
        with contextlib.suppress(OSError):
            self._wake_write.send(b"x")

    def serve(self, timeout_s: float) -> None:
        """Wait for requests up to `timeout_s`, answer what came, send what is queued."""
        for client in self._clients:
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if client.outbox else 0)
            self._selector.modify(client.connection, wanted, client)
        for key, _ in self._selector.select(timeout_s):
            if key.fileobj is self._socket:
                self._accept()
            elif key.fileobj is self._wake_read:
                with contextlib.suppress(OSError):
                    self._wake_read.recv(4096)
            else:
                self._read(key.data)
        for client in list(self._clients):
            self._write(client)

    def close(self) -> None:
        """Close every connection and remove the socket."""
        for client in list(self._clients):
            self._drop(client)
        self._selector.close()
        for end in (self._socket, self._wake_read, self._wake_write):
            end.close()
        self.path.unlink(missing_ok=True)

    def _accept(self) -> None:
        try:
            connection, _ = self._socket.accept()
        except OSError:  # it was gone again, or this process has no file to spare: the others are served
            return
        connection.setblocking(False)
        if len(self._clients) >= _CLIENTS:
            connection.close()
            return
        client = Client(connection)
        self._clients.append(client)
        self._selector.register(connection, selectors.EVENT_READ, client)

    def _read(self, client: Client) -> None:
        try:
            piece = client.connection.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        if not piece:
            self._drop(client)
            return
        client.inbox += piece
        if client.asked or b"\n" not in client.inbox:
            if len(client.inbox) > _REQUEST_BYTES:
                self._drop(client)
            return
        client.asked = True
        self._ask(client, bytes(client.inbox.split(b"\n", 1)[0]))

    def _ask(self, client: Client, line: bytes) -> None:
        try:
            request = msgspec.json.decode(line, type=dict[str, object])
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            client.end({"error": f"the request can't be read: {error}", "code": 2})
            return
        try:
            self._answer(request, client)
        except OutcryError as error:
            client.end({"error": str(error), "code": error.code})

    def _write(self, client: Client) -> None:
        try:
            if client.outbox:
                sent = client.connection.send(client.outbox)
                del client.outbox[:sent]
        except BlockingIOError:
            return
        except OSError:
            self._drop(client)
            return
        if client.ending and not client.outbox:
            self._drop(client)

    def _drop(self, client: Client) -> None:
        if client in self._clients:
            self._clients.remove(client)
            self._selector.unregister(client.connection)
            client.connection.close()
            client.ending = True


def ask(path: Path, request: Message, timeout_s: float = 5.0) -> Iterator[Message] | None:
    """Send a request to the running service; its answers, or None where no service runs.

    Raises the OutcryError that the service answers with, and OutcryError when it does not answer in time.
    """
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(timeout_s)
    try:
        connection.connect(str(path))
        connection.sendall(msgspec.json.encode(request) + b"\n")
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    except OSError as error:
        connection.close()
        raise OutcryError(f"the running service can't be reached at {path} ({error}); are you in its group?") from error
    return _answers(connection, path)


def _answers(connection: socket.socket, path: Path) -> Iterator[Message]:
    with connection, connection.makefile("rb") as lines:
        try:
            for line in lines:
                message = msgspec.json.decode(line, type=dict[str, object])
                if "error" in message:
                    error = OutcryError(str(message["error"]))
                    code = message.get("code")
                    error.code = code if isinstance(code, int) else OutcryError.code
                    raise error
                yield message
        except TimeoutError as error:
            raise OutcryError(f"the service at {path} does not answer; see its log") from error
        except ConnectionError:
            return
