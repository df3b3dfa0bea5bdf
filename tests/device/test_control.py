"""The local socket: answers, refusals, slow and rude clients, and what stays on disk."""

import socket
import stat
import threading
import time

import pytest

from device import control
from device.errors import BadDataError, ConfigError, OutcryError


@pytest.fixture
def server(tmp_path):
    """A server on a real socket, served by a thread as the main loop does it."""
    asked = []

    def answer(request, client):
        asked.append(request)
        match request.get("do"):
            case "count":
                for number in range(3):
                    client.send({"number": number})
                client.end()
            case "flood":
                for _ in range(5000):
                    client.send({"filling": "x" * 100})
            case "refuse":
                raise BadDataError("no such thing")
            case "stay":
                client.send({"here": True})

    room = control.ControlServer(tmp_path / "run" / control.SOCKET_NAME, answer)
    room.asked = asked
    ending = threading.Event()

    def serve():
        while not ending.is_set():
            room.serve(0.02)
        room.close()

    thread = threading.Thread(target=serve)
    thread.start()
    yield room
    ending.set()
    thread.join(5)
    assert not room.path.exists()


def test_a_request_gets_all_its_answers(server):
    assert list(control.ask(server.path, {"do": "count"})) == [{"number": 0}, {"number": 1}, {"number": 2}]


def test_the_socket_is_for_its_group_only(server):
    assert stat.S_IMODE(server.path.stat().st_mode) == 0o660


def test_a_refusal_comes_through_with_its_code(server):
    with pytest.raises(OutcryError, match="no such thing") as caught:
        list(control.ask(server.path, {"do": "refuse"}))
    assert caught.value.code == 65


@pytest.mark.parametrize("line", [b"\n", b"nonsense\n", b"[1]\n", b"\xff\xfe\n", b"[" * 60000 + b"\n"])
def test_nonsense_gets_an_answer_and_harms_nobody(server, line):
    with socket.socket(socket.AF_UNIX) as rude:
        rude.connect(str(server.path))
        rude.sendall(line)
        assert b"can't be read" in rude.recv(4096)
    assert len(list(control.ask(server.path, {"do": "count"}))) == 3


def test_a_client_without_end_of_line_is_cut_off(server):
    with socket.socket(socket.AF_UNIX) as rude:
        rude.connect(str(server.path))
        rude.settimeout(5)
        for _ in range(1000):
            try:
                rude.sendall(b"x" * 4096)
            except (BrokenPipeError, ConnectionResetError):
                break
            time.sleep(0.001)
        else:
            pytest.fail("it was never cut off")


def test_a_reader_who_never_reads_is_cut_off_and_the_others_served(server):
    with socket.socket(socket.AF_UNIX) as slow:
        slow.connect(str(server.path))
        slow.sendall(b'{"do":"flood"}\n')
        time.sleep(0.2)
        assert len(list(control.ask(server.path, {"do": "count"}))) == 3


def test_a_client_that_waits_hears_the_end(server):
    answers = control.ask(server.path, {"do": "stay"}, timeout_s=0.3)
    assert next(answers) == {"here": True}
    with pytest.raises(OutcryError, match="does not answer"):
        next(answers)


def test_no_service_is_told_apart_from_a_refusal(tmp_path):
    assert control.ask(tmp_path / "control.sock", {"do": "count"}) is None
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(tmp_path / "stale.sock"))
    stale.close()
    assert control.ask(tmp_path / "stale.sock", {"do": "count"}) is None


def test_a_folder_that_can_not_be_made_is_a_configuration_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="runtime_directory"):
        control.ControlServer(tmp_path / "file" / "control.sock", print)
    with pytest.raises(ConfigError, match="too long"):
        control.ControlServer(tmp_path / ("x" * 120) / "control.sock", print)
