"""Every command's errors: one clear line on standard error, the exit code of its kind, nothing half-written."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from device import __version__
from device.cli import main, outcry
from device.installed_models import chosen

REPOSITORY = Path(__file__).parents[2]
PACKAGE = chosen.shipped()[0]


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run the command line here; its exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "run"))
    monkeypatch.delenv("OUTCRY_CONFIG", raising=False)
    # No sound server, no sound card: what a bare machine has.
    monkeypatch.setenv("PULSE_SERVER", "unix:/nowhere")

    def go(*words):
        monkeypatch.setattr(sys, "argv", ["outcry", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code or 0
        out, err = capsys.readouterr()
        return code, out, err

    return go


@pytest.fixture
def run_apart(tmp_path):
    """The same in a process of its own: once ALSA has read its configuration a process never sees another one."""
    places = {"HOME": "", "STATE_DIRECTORY": "state", "RUNTIME_DIRECTORY": "run"}
    environ = {
        **{name: value for name, value in os.environ.items() if name not in ("OUTCRY_CONFIG", "XDG_RUNTIME_DIR")},
        **{name: str(tmp_path / place) for name, place in places.items()},
        "PULSE_SERVER": "unix:/nowhere",
        "PYTHONPATH": str(REPOSITORY),
    }

    def go(*words):
        command = [sys.executable, "-m", "device", *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ, cwd=tmp_path)
        return done.returncode, done.stdout, done.stderr

    return go


def sound(path: Path, seconds: float = 1.0, rate_hz: int = 16_000) -> Path:
    noise = np.random.default_rng(1).normal(0, 0.05, int(seconds * rate_hz))
    soundfile.write(path, noise, rate_hz)
    return path


def one_line(err: str) -> str:
    lines = err.strip().splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("outcry: ")
    assert "Traceback" not in err
    return lines[0]


def make_bad_files(folder: Path) -> dict[str, Path]:
    """Files that are no sound, each in its own way."""
    whole = sound(folder / "whole.wav", 2.0).read_bytes()
    contents = {
        "empty.wav": b"",
        "truncated.wav": whole[: len(whole) // 2],
        "header-only.wav": whole[:44],
        "text.wav": b"this is no sound at all\n" * 50,
        "random.mp3": np.random.default_rng(3).bytes(5000),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / "folder.wav").mkdir()
    os.mkfifo(folder / "pipe.wav")
    return {name: folder / name for name in [*contents, "folder.wav", "pipe.wav"]}


BAD_FILES = ["empty.wav", "truncated.wav", "header-only.wav", "text.wav", "random.mp3", "folder.wav", "pipe.wav"]


@pytest.mark.parametrize("command", ["replay", "classify", "explain", "bench --file", "calibrate"])
@pytest.mark.parametrize("name", BAD_FILES)
def test_a_file_that_is_no_sound_is_65(run, tmp_path, command, name):
    path = make_bad_files(tmp_path)[name]
    before = sorted(tmp_path.rglob("*"))
    code, _, err = run(*command.split(), path)
    assert code == 65
    assert name in one_line(err)
    assert [p for p in sorted(tmp_path.rglob("*")) if p.suffix in (".png", ".json")] == []
    assert {p for p in before if p.is_file()} <= set(tmp_path.rglob("*"))


@pytest.mark.parametrize(
    "command", ["replay", "classify", "explain", "bench --file", "calibrate", "model verify", "model install"]
)
def test_what_is_not_there_is_66(run, command):
    code, out, err = run(*command.split(), "nowhere.wav")
    assert code == 66
    assert out == ""
    assert "nowhere.wav" in one_line(err)


@pytest.mark.parametrize(
    "words",
    [
        ["replay"],
        ["classify"],
        ["nonsense"],
        ["replay", "a.wav", "b.wav"],
        ["replay", "--nonsense", "a.wav"],
        ["bench", "--seconds", "many"],
        ["bench", "--seconds", "-3"],
        ["calibrate", "--seconds", "1"],
        ["model", "nonsense"],
        ["model", "install"],
        ["model", "rollback"],
        ["check-config", "a.toml", "--config", "b.toml"],
    ],
    ids=" ".join,
)
def test_a_wrong_call_is_2(run, words):
    code, out, err = run(*words)
    assert code == 2
    assert out == ""
    one_line(err)


BAD_CONFIGS = {
    "no such file": None,
    "not TOML": "[device\n",
    "unknown key": "[device]\nnmae = 'x'\n",
    "unknown section": "[devise]\n",
    "wrong type": "[panel]\nled = 'seventeen'\n",
    "out of range": "[microphone]\nchunk_ms = 5\n",
    "nan": "[decision]\nthreshold = nan\n",
    "bad name": "[device]\nname = 'Kitchen!'\n",
}
CONFIGURED = ["check-config", "run", "replay whole.wav", "classify whole.wav", "bench", "listen", "forget --yes",
              "model list", "model rollback", "model verify", "calibrate whole.wav", "explain whole.wav"]  # fmt: skip


@pytest.mark.parametrize("case", BAD_CONFIGS)
@pytest.mark.parametrize("command", CONFIGURED)
def test_a_configuration_that_does_not_hold_is_78(run, tmp_path, command, case):
    sound(tmp_path / "whole.wav")
    config = tmp_path / "config.toml"
    if BAD_CONFIGS[case] is not None:
        config.write_text(BAD_CONFIGS[case])
    code, out, err = run(*command.split(), "--config", config)
    assert code == 78
    assert out == ""
    assert "config.toml" in one_line(err)
    assert not (tmp_path / "state").exists()


def test_a_password_file_that_is_missing_is_78_before_anything_begins(run, tmp_path):
    (tmp_path / "c.toml").write_text('[mqtt]\nhost = "localhost"\npassword_file = "nowhere"\n')
    for command in ("check-config", "run"):
        code, _, err = run(command, "--config", tmp_path / "c.toml")
        assert code == 78
        assert "password_file" in one_line(err)


@pytest.mark.parametrize("text", [None, "", "no certificate"], ids=["missing", "empty", "nonsense"])
def test_check_config_looks_into_the_files_of_tls(run, tmp_path, text):
    if text is not None:
        (tmp_path / "ca.crt").write_text(text)
    (tmp_path / "c.toml").write_text('[mqtt]\nhost = "localhost"\ntls = true\nca_file = "ca.crt"\n')
    code, out, err = run("check-config", "--config", tmp_path / "c.toml")
    assert code == 78
    assert out == ""
    assert f"mqtt.ca_file {tmp_path}/ca.crt can't be used: " in one_line(err)


def test_what_run_sh_replays_without_a_microphone_is_an_alert(run, tmp_path):
    script = (REPOSITORY / "run.sh").read_text()
    maker = script[script.index("<<'EOF'\n") + 8 : script.index("\nEOF\n")]
    subprocess.run([sys.executable, "-", tmp_path / "made.wav"], input=maker, text=True, check=True)
    code, out, _ = run("replay", tmp_path / "made.wav")
    assert code == 0
    assert [json.loads(line)["kind"] for line in out.splitlines()] == ["armed", "pre_alert", "alert"]


def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(PACKAGE, tmp_path / PACKAGE.name))


def spoil_network(package: Path) -> None:
    raw = bytearray((package / "network.tflite").read_bytes())
    raw[-1] ^= 1
    (package / "network.tflite").write_bytes(raw)


def spoil_features(package: Path) -> None:
    manifest = json.loads((package / "manifest.json").read_text())
    manifest["features"]["mel_bands"] = 26
    (package / "manifest.json").write_text(json.dumps(manifest))


def spoil_path(package: Path) -> None:
    manifest = json.loads((package / "manifest.json").read_text())
    manifest["files"]["../evil"] = manifest["files"]["network.tflite"]
    (package / "manifest.json").write_text(json.dumps(manifest))


def spoil_link(package: Path) -> None:
    (package / "network.tflite").rename(package.parent / "elsewhere.tflite")
    (package / "network.tflite").symlink_to(package.parent / "elsewhere.tflite")


SPOILERS = {
    "hash": spoil_network,
    "features": spoil_features,
    "path": spoil_path,
    "link": spoil_link,
    "no manifest": lambda package: (package / "manifest.json").unlink(),
    "no JSON": lambda package: (package / "manifest.json").write_text("{"),
    "stray file": lambda package: (package / "stray").write_text("x"),
}


@pytest.mark.parametrize("spoiler", SPOILERS)
@pytest.mark.parametrize(
    "command", ["model verify {}", "model install {}", "classify --model {} whole.wav", "replay --model {} whole.wav",
                "bench --model {}", "explain --model {} whole.wav", "calibrate --model {} whole.wav"]
)  # fmt: skip
def test_a_package_that_does_not_fit_is_65(run, tmp_path, command, spoiler):
    sound(tmp_path / "whole.wav")
    package = copied(tmp_path)
    SPOILERS[spoiler](package)
    code, out, err = run(*command.format(package).split())
    assert code == 65
    assert out == ""
    one_line(err)
    models = tmp_path / "state" / "models"
    assert not models.exists() or not list(models.glob("*-*"))


def test_a_package_without_the_configured_signature_is_65(run, tmp_path):
    (tmp_path / "c.toml").write_text(f'[model]\npublic_key = "{"ab" * 32}"\n')
    code, _, err = run("model", "install", copied(tmp_path), "--config", tmp_path / "c.toml")
    assert code == 65
    assert "sign" in one_line(err)


def test_install_list_verify(run, tmp_path):
    package = copied(tmp_path)
    assert run("model", "install", package)[0] == 0
    code, out, _ = run("model", "list", "--json")
    assert code == 0
    assert json.loads(out.splitlines()[0])["current"] is True
    assert run("model", "verify")[0] == 0
    # The same again is no error, and nothing is there to go back to.
    assert run("model", "install", package)[0] == 0
    assert run("model", "rollback")[0] == 2


@pytest.mark.parametrize("command", ["mics", "listen", "calibrate"])
def test_no_microphone_is_66(run_apart, command):
    code, _, err = run_apart(command)
    assert code == 66
    assert "no microphone found" in err


def test_an_unknown_microphone_is_66_and_says_what_there_is(run_apart, tmp_path):
    (tmp_path / "c.toml").write_text('[microphone]\nname = "Nonesuch"\n')
    code, _, err = run_apart("listen", "--config", tmp_path / "c.toml")
    assert code == 66
    assert "Nonesuch" in err


@pytest.mark.parametrize(
    ("content", "code"),
    [(None, 66), ("", 65), ("{", 65), ('{"means": [1], "seconds": 3, "parameters": "x"}', 65), ("[]", 65)],
)
@pytest.mark.parametrize("command", ["replay", "classify", "explain"])
def test_a_wearers_file_that_can_not_be_used(run, tmp_path, command, content, code):
    sound(tmp_path / "whole.wav")
    if content is not None:
        (tmp_path / "wearer.json").write_text(content)
    got, out, err = run(command, "--wearer", tmp_path / "wearer.json", tmp_path / "whole.wav")
    assert (got, out) == (code, "")
    assert "wearer" in one_line(err)


def test_a_wearer_of_another_package_is_65(run, tmp_path):
    sound(tmp_path / "whole.wav")
    wearer = {"means": [0.0] * 42, "seconds": 30.0, "parameters": "0123456789abcdef", "microphone": ""}
    (tmp_path / "wearer.json").write_text(json.dumps(wearer))
    code, _, err = run("classify", "--wearer", tmp_path / "wearer.json", tmp_path / "whole.wav")
    assert code == 65
    assert "calibrate" in one_line(err)


def test_too_little_voice_is_65_and_writes_nothing(run, tmp_path):
    sound(tmp_path / "noise.wav")
    code, _, err = run("calibrate", tmp_path / "noise.wav", "--output", tmp_path / "wearer.json")
    assert code == 65
    assert "voice" in one_line(err)
    assert not (tmp_path / "wearer.json").exists()


@pytest.mark.parametrize("words", [["explain", "whole.wav", "--output", "no/such/x.png"],
                                   ["explain", "whole.wav", "--output", "x.nonsense"]])  # fmt: skip
def test_a_picture_that_can_not_be_written(run, tmp_path, words):
    pytest.importorskip("matplotlib")
    sound(tmp_path / "whole.wav")
    code, _, err = run(*words)
    assert code in (65, 66)
    one_line(err)


def test_classify_answers_in_order_and_goes_on_after_a_bad_file(run, tmp_path):
    first, last = sound(tmp_path / "a.wav"), sound(tmp_path / "b.flac", 0.01)
    bad = make_bad_files(tmp_path)["text.wav"]
    code, out, err = run("classify", first, "missing.wav", bad, last)
    assert code == 65
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["file"] for line in lines] == [str(first), str(last)]
    assert list(lines[0]) == ["file", "seconds", "emotions", "danger", "danger_max"]
    classes = json.loads((PACKAGE / "manifest.json").read_text())["classes"]
    assert list(lines[0]["emotions"]) == [one["name"] for one in classes]
    assert sum(lines[0]["emotions"].values()) == pytest.approx(1, abs=1e-4)
    assert all(0 <= line[key] <= 1 for line in lines for key in ("danger", "danger_max"))
    assert len(err.strip().splitlines()) == 2
    assert run("classify", first, "missing.wav")[0] == 66
    assert run("classify", first)[0] == 0


def test_replay_prints_events_seconds_and_decisions(run, tmp_path):
    path = sound(tmp_path / "a.wav", 3.5)
    (tmp_path / "easy.toml").write_text("[decision]\nthreshold = 1e-9\nrelease = 1e-10\nsmooth_s = 0.1\nn = 1\nm = 1\n")
    code, out, err = run("replay", path, "--posteriors", "--decisions", "--config", tmp_path / "easy.toml")
    assert (code, err) == (0, "")
    lines = [json.loads(line) for line in out.splitlines()]
    assert all("t_s" in line for line in lines)
    assert [line["kind"] for line in lines if "kind" in line] == ["armed", "pre_alert", "alert"]
    assert [line["t_s"] for line in lines if "emotions" in line and "kind" not in line] == [1.0, 2.0, 3.0, 3.5]
    changes = [line for line in lines if "decision" in line]
    assert changes[0]["decision"] == "danger"
    assert changes[0]["t_s"] < 1.0


def test_two_replays_say_the_same(run, tmp_path):
    path = sound(tmp_path / "a.wav", 2.0)
    first, second = (run("replay", path, "--posteriors", "--decisions")[1] for _ in range(2))
    ids = [json.loads(line).pop("id", None) for line in first.splitlines()]
    assert first.replace(ids[0], "") == second.replace(json.loads(second.splitlines()[0])["id"], "")


def test_version_and_help_of_everything(run):
    assert run("version")[1].strip() == __version__
    assert __version__ in run("--version")[1]

    def walk(command, words):
        code, out, err = run(*words, "--help")
        assert (code, err) == (0, "")
        assert command.help.split(".")[0].split()[0] in out
        for name, inner in getattr(command, "commands", {}).items():
            walk(inner, [*words, name])

    walk(outcry, [])


def test_debug_shows_where_an_error_came_from(run):
    code, _, err = run("replay", "nowhere.wav", "--debug")
    assert code == 66
    assert "Traceback" in err


def test_a_reader_that_goes_away_is_no_error(tmp_path):
    path = sound(tmp_path / "a.wav", 20.0)
    command = f"{sys.executable} -m device replay --posteriors {path} | head -n 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False, cwd=REPOSITORY
    )
    assert done.returncode == 0
    assert done.stderr == ""


def test_doctor_finds_what_is_missing_and_says_what_next(run_apart):
    code, out, _ = run_apart("doctor", "--json")
    findings = {line["check"]: line for line in map(json.loads, out.splitlines())}
    assert findings["model"]["verdict"] in ("ok", "warn")
    assert findings["microphone"]["verdict"] == "fail"
    assert findings["broker"]["verdict"] == "warn"
    assert findings["broker"]["next_step"]
    assert code == 66


def test_doctor_on_a_bad_configuration(run, tmp_path):
    (tmp_path / "c.toml").write_text("[device]\nnmae = 'x'\n")
    code, out, _ = run("doctor", "--config", tmp_path / "c.toml")
    assert code == 78
    assert "FAIL  configuration" in out


def test_bench_measures_every_stage(run):
    code, out, _ = run("bench", "--seconds", "3", "--json")
    assert code == 0
    figures = json.loads(out)
    assert set(figures["cpu_ms_per_second"]) >= {"features", "network", "decision", "all"}
    assert all(value > 0 for value in figures["cpu_ms_per_second"].values())
    assert 20 < figures["peak_mb"] < 100
    assert figures["start_s"] > 0


def test_explain_draws_a_picture(run, tmp_path):
    pytest.importorskip("matplotlib")
    sound(tmp_path / "whole.wav", 2.0)
    assert run("explain", "whole.wav")[0] == 0
    assert (tmp_path / "whole.png").read_bytes().startswith(b"\x89PNG")
