"""`python -m convert`: a package from a run folder, keys, signatures, and what is wrong in one line."""

from __future__ import annotations

import json
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from convert import __main__ as command
from convert.engines import Engine
from convert.run_folder import RunFolder
from convert.verification_report import write_report
from convert.verify import verify
from device.errors import BadDataError
from device.installed_models import golden
from device.manifest import SENSITIVITIES, SIGNATURE
from device.network import Network
from device.package import load
from tests.convert.made_run import made_clips, made_run, write_clips

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = made_run(tmp_path_factory.mktemp("run") / "run", input_norm=True)
    (folder / "stream.json").write_text('{"frames_per_step": 8, "batch": 2, "window_steps": 16, "hop_steps": 8}')
    return folder


@pytest.fixture(scope="module")
def built(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("packages")
    done = called(str(run), "--output", str(output), "--name", "made", "--version", "7")
    assert done == (0, ""), done
    return output / "made-7"


@pytest.fixture
def package(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / built.name))


def called(*arguments: str) -> tuple[int, str]:
    """Exit code and standard error of `python -m convert`, less the line on missing thresholds."""
    runner = CliRunner()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["convert", *arguments])
        with runner.isolation() as (_, error, _):
            code = 0
            try:
                command.main()
            except SystemExit as end:
                code = int(end.code or 0)
            said = error.getvalue().decode()
    lines = [line for line in said.splitlines() if line.startswith("convert: ") and "has no decision.json" not in line]
    return code, "\n".join(lines)


def test_a_built_package_loads_proves_itself_and_is_small(built: Path) -> None:
    package = load(built)
    assert golden.check(package).difference == 0
    assert golden.check(package, "builtin").difference == 0
    assert set(package.manifest.decision.sensitivities) == set(SENSITIVITIES)
    assert sum(file.stat().st_size for file in built.iterdir()) < 400_000
    assert "docs/verification/made-7.md" in (built / "README.md").read_text()
    # A batch normalisation on the input: padding is 0 behind it, so the tail starts elsewhere, channel by channel.
    assert isinstance(package.manifest.geometry.states[0].initial, tuple)


def test_the_device_says_what_keras_says(run: Path, built: Path) -> None:
    from convert.verify import keras_says

    folder, package = RunFolder(run), load(built)
    unseen = folder.unseen()
    reference = keras_says(folder.model(), folder, package.manifest, unseen)
    network = Network(package)
    told = np.stack([network.clip(clip).emotions for clip in unseen.clips])
    assert np.abs(told - reference.emotions).mean() < 0.01
    danger = np.array([network.clip(clip).danger for clip in unseen.clips])
    assert np.abs(danger - reference.danger).mean() < 0.02


def test_verify_writes_a_page_and_a_picture(run: Path, built: Path, tmp_path: Path) -> None:
    many = Path(shutil.copytree(run, tmp_path / "run"))
    clips = [clip[:60] for clip in made_clips(500, seed=8)]
    write_clips(many / "unseen.npz", clips, emotions=np.arange(500) % 8)
    engines = [Engine("XNNPACK", "xnnpack"), Engine("nowhere", "builtin", python="/bin/false")]
    found = verify(load(built), RunFolder(many), engines, [])
    assert found.comparisons[0].mean_error < 0.01
    assert found.comparisons[0].golden_difference == 0
    assert found.left_out == ["nowhere: exit code 1: no word"]
    page = write_report(found, tmp_path / "report", "command").read_text()
    for word in ("made-7.png", "FULLY_CONNECTED", "nowhere", "Drift", "| XNNPACK |"):
        assert word in page
    assert (tmp_path / "report" / "made-7.png").stat().st_size > 5000


def test_too_few_utterances_prove_nothing(run: Path, built: Path) -> None:
    with pytest.raises(BadDataError, match="40 utterances of unseen speakers, 500 are needed"):
        verify(load(built), RunFolder(run), [], [])


def test_keygen_and_sign(package: Path, tmp_path: Path) -> None:
    from convert.signing import keygen

    key = tmp_path / "key"
    public = keygen(key)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert called("sign", str(package), "--key", str(key)) == (0, "")
    assert load(package, public).signed
    code, line = called("keygen", str(key))
    assert (code, "never overwritten" in line) == (2, True)


def test_what_is_wrong_is_one_line_and_nothing_half_written(run: Path, package: Path, tmp_path: Path) -> None:
    def spoilt(name: str, content: bytes | None) -> str:
        copy = tmp_path / "spoilt"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(run, copy)
        (copy / name).unlink(missing_ok=True)
        if content is not None:
            (copy / name).write_bytes(content)
        return str(copy)

    output = str(tmp_path / "out")
    cases = [
        (66, "network.keras is missing", (spoilt, "network.keras", None)),
        (66, "view.json is missing", (spoilt, "view.json", None)),
        (65, "view.json", (spoilt, "view.json", b"{}")),
        (65, "calibration.npz", (spoilt, "calibration.npz", b"no archive")),
        (65, "3 classes", (spoilt, "classes.json", json.dumps([{"name": n, "danger": True} for n in "abc"]).encode())),
        (65, "decision.json", (spoilt, "decision.json", b'{"sensitivities": 3}')),
        (2, "multiple of 4", (spoilt, "stream.json", b'{"frames_per_step": 7}')),
    ]
    for code, words, (make, name, content) in cases:
        found = called(make(name, content), "--output", output)
        assert (found[0], words in found[1], found[1].count("\n")) == (code, True, 0), (words, found)
        assert not list((tmp_path / "out").glob("**/*"))
    taken = package.parent
    assert called(str(run), "--output", str(taken), "--name", "made", "--version", "7")[0] == 2
    assert called("sign", str(package), "--key", str(tmp_path / "no-key"))[0] == 66
    (tmp_path / "bad-key").write_bytes(b"not a key")
    assert called("sign", str(package), "--key", str(tmp_path / "bad-key"))[0] == 65
    assert not (package / SIGNATURE).exists()
