"""A package is taken whole and unaltered, or refused in one line that says what and why."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey

from device.errors import BadDataError, ConfigError, MissingInputError, OutcryError
from device.installed_models import golden
from device.manifest import GOLDEN, MANIFEST, NETWORK, SENSITIVITIES, SIGNATURE, decode_manifest
from device.package import load, parse_public_key
from tests.device.made_package import copy_to, golden_arrays, original, packed, remove, with_file, with_manifest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return copy_to(tmp_path / "made-1")


def refused(folder: Path, *words: str, key: str | None = None) -> str:
    """The one line of the refusal; it names the package and says what is wrong."""
    with pytest.raises(BadDataError) as caught:
        load(folder, key)
    line = str(caught.value)
    assert line.isprintable()
    assert len(line) <= 500
    for word in (str(folder), *words):
        assert word in line
    return line


def test_a_whole_package_loads(folder: Path) -> None:
    package = load(folder)
    assert package.network_bytes == (folder / NETWORK).read_bytes()
    assert set(package.manifest.decision.sensitivities) == set(SENSITIVITIES)
    assert package.golden.posteriors["xnnpack"].shape[1] == len(package.manifest.classes) + 1
    assert not package.signed


def test_the_golden_clip_passes_with_either_kernels(folder: Path) -> None:
    package = load(folder)
    for kernels in ("auto", "builtin"):
        result = golden.check(package, kernels)
        assert result.difference <= result.tolerance
        assert not result.warnings
    assert golden.check(package, "builtin").kernels == "builtin"


def test_a_truncated_network_is_refused(folder: Path) -> None:
    whole = (folder / NETWORK).read_bytes()
    (folder / NETWORK).write_bytes(whole[: len(whole) // 2])
    refused(folder, NETWORK, f"{len(whole) // 2} bytes")


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_network_with_fitting_hashes_is_refused_by_the_golden_clip(folder: Path, share: float) -> None:
    whole = (folder / NETWORK).read_bytes()
    with_file(folder, NETWORK, whole[: max(16, int(len(whole) * share))])
    with pytest.raises(BadDataError, match="network can't be run") as caught:
        golden.check(load(folder))
    assert str(caught.value).isprintable()


def test_what_is_no_network_is_refused(folder: Path) -> None:
    with_file(folder, NETWORK, b"\x7fELF" + bytes(1000))
    refused(folder, NETWORK, "no TensorFlow Lite")


def test_one_flipped_bit_is_found(folder: Path) -> None:
    data = bytearray((folder / NETWORK).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / NETWORK).write_bytes(data)
    refused(folder, NETWORK, "altered")


def test_the_golden_clip_of_another_network_is_off(folder: Path) -> None:
    """A swapped pair whose hashes were made to fit: only the golden clip can tell."""
    arrays = golden_arrays(folder)
    for name in arrays:
        if "posteriors" in name:
            arrays[name] = np.roll(arrays[name], 1, axis=1)
    with_file(folder, GOLDEN, packed(arrays))
    with pytest.raises(BadDataError, match="golden clip is off"):
        golden.check(load(folder))


def test_other_bits_only_warn(folder: Path) -> None:
    arrays = golden_arrays(folder)
    arrays["logits_builtin"] = arrays["logits_builtin"] + np.float32(0.01)
    with_file(folder, GOLDEN, packed(arrays))
    assert "other bits" in golden.check(load(folder), "builtin").warnings[0]


BAD_FIELDS = [
    ({"schema": 2}, "schema 2"),
    ({"schema": "1"}, "schema '1'"),
    ({"schema": None}, "schema None"),
    ({"surprise": 1}, "surprise"),
    ({"name": "../up"}, "name"),
    ({"version": ""}, "version"),
    ({"created": "yesterday"}, "created"),
    ({"features.coefficients": 13}, "made for other features: coefficients is 13"),
    ({"features.preemphasis": 0.95}, "made for other features: preemphasis is 0.95"),
    ({"view.shift": [0.0]}, "view"),
    ({"geometry.batch": 0}, "batch"),
    ({"geometry.batch": 7}, "batch"),
    ({"geometry.window_steps": 5}, "window_steps"),
    ({"geometry.outputs.0.shape": [1, 1, 4]}, "geometry.outputs"),
    ({"geometry.states.0.zero_point": 300}, "zero_point"),
    ({"geometry.states.0.scale": 0}, "scale"),
    ({"geometry.states.0.initial": [1, 2]}, "initial has 2 values"),
    ({"geometry.states.0.name": "input"}, "tensor twice"),
    ({"decision.sensitivities.balanced.release": 1.0, "decision.sensitivities.balanced.threshold": 0.5}, "release"),
    ({"decision.sensitivities": {}}, "lacks fewer-alarms"),
    ({"decision.danger": "guess"}, "danger"),
    ({"decision.calibration.scale": 1e308}, "scale"),
    ({"licence": ""}, "licence"),
    ({"files": {}}, "files"),
    ({"files.evil": {"sha256": "0" * 64, "size": 10**12}}, "size"),
]


@pytest.mark.parametrize(("change", "word"), BAD_FIELDS, ids=lambda x: str(x)[:40])
def test_a_manifest_that_makes_no_sense_is_refused(folder: Path, change: dict, word: str) -> None:
    refused(with_manifest(folder, change), word)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "sub/file", "..", ".hidden", "a\nb", "", "x" * 65])
def test_only_plain_names_are_taken(folder: Path, name: str) -> None:
    raw = json.loads((folder / MANIFEST).read_text())
    raw["files"][name] = {"sha256": "0" * 64, "size": 1}
    (folder / MANIFEST).write_text(json.dumps(raw))
    refused(folder, "files")


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"null", b"[]", b"{", b'{"schema":1', b"[" * 100_000, b'{"schema":1e999}']
)
def test_a_manifest_that_is_no_json_object_is_refused(folder: Path, content: bytes) -> None:
    (folder / MANIFEST).write_bytes(content)
    refused(folder, MANIFEST)


def test_a_huge_manifest_is_not_read(folder: Path) -> None:
    with (folder / MANIFEST).open("r+b") as file:
        file.truncate(10**9)
    refused(folder, MANIFEST, "more than")


def test_links_devices_and_pipes_are_not_followed(folder: Path, tmp_path: Path) -> None:
    for make in (
        lambda path: path.symlink_to("/etc/hostname"),
        os.mkfifo,
        lambda path: path.mkdir(),
    ):
        again = copy_to(tmp_path / "again")
        (again / NETWORK).unlink()
        make(again / NETWORK)
        refused(again, NETWORK)
        remove(again)


def test_what_is_missing_or_too_much_is_named(folder: Path, tmp_path: Path) -> None:
    (folder / "extra.py").write_text("print('never run')")
    refused(folder, "extra.py", "not listed")
    (folder / "extra.py").unlink()
    (folder / GOLDEN).unlink()
    refused(folder, GOLDEN, "missing")
    with pytest.raises(MissingInputError, match="no such directory"):
        load(tmp_path / "nothing")
    refused(tmp_path, MANIFEST, "missing")


# --- signatures ---------------------------------------------------------------------------------------


def keys() -> tuple[SigningKey, str]:
    key = SigningKey.generate()
    return key, base64.b64encode(bytes(key.verify_key)).decode()


def sign(folder: Path, key: SigningKey) -> None:
    (folder / SIGNATURE).write_bytes(key.sign((folder / MANIFEST).read_bytes()).signature)


def test_a_signed_package_loads_with_its_key(folder: Path) -> None:
    key, public = keys()
    sign(folder, key)
    assert load(folder, public).signed
    assert load(folder, bytes(key.verify_key).hex()).signed
    assert not load(folder).signed


def test_unsigned_altered_and_strangers_packages_are_refused(folder: Path) -> None:
    key, public = keys()
    refused(folder, "not signed", key=public)
    sign(folder, keys()[0])
    refused(folder, "signature does not fit", key=public)
    sign(folder, key)
    with_manifest(folder, {"licence": "public domain"})
    refused(folder, "signature does not fit", key=public)
    for broken in (b"", b"x", bytes(64), bytes(65)):
        (folder / SIGNATURE).write_bytes(broken)
        refused(folder, key=public)
    (folder / SIGNATURE).unlink()
    (folder / SIGNATURE).symlink_to("/dev/zero")
    refused(folder, SIGNATURE, key=public)


@pytest.mark.parametrize("text", ["x", "AAAA", "g" * 64, "é" * 32, "A" * 43])
def test_a_key_that_is_none_is_a_fault_of_the_configuration(text: str) -> None:
    with pytest.raises(ConfigError, match="public_key"):
        parse_public_key(text)


# --- the golden archive -------------------------------------------------------------------------------


def test_a_zip_bomb_is_refused_before_it_is_unpacked(folder: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("samples.npy", "w") as entry:
        for _ in range(100):
            entry.write(bytes(1 << 20))
    refused(with_file(folder, GOLDEN, file.getvalue()), GOLDEN, "unpack to more than")


def test_an_array_that_claims_terabytes_allocates_nothing(folder: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<i2", "fortran_order": False, "shape": (10**13,)})
    refused(with_file(folder, GOLDEN, archive({"samples.npy": header.getvalue()})), GOLDEN)


def test_a_pickle_is_never_opened(folder: Path, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple:
            return (os.mkdir, (str(tmp_path / "executed"),))

    array = np.array([Bomb()], dtype=object)
    file = io.BytesIO()
    np.lib.format.write_array(file, array, allow_pickle=True)
    assert pickle.dumps(Bomb())
    refused(with_file(folder, GOLDEN, archive({"samples.npy": file.getvalue()})), GOLDEN)
    assert not (tmp_path / "executed").exists()


def archive(entries: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for name, data in entries.items():
            made.writestr(name, data)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("samples", np.zeros((2, 2), np.int16)),
        ("samples", np.zeros(4, np.float64)),
        ("tolerance", np.float32(np.nan)),
        ("posteriors_xnnpack", np.zeros((3, 2), np.float32)),
        ("inputs", np.zeros((1, 1, 1, 1), np.int8)),
        ("logits_builtin", None),
    ],
)
def test_arrays_that_do_not_fit_are_named(folder: Path, name: str, array: np.ndarray | None) -> None:
    arrays = golden_arrays(folder)
    arrays[name] = array
    if array is None:
        del arrays[name]
    refused(with_file(folder, GOLDEN, packed(arrays)), GOLDEN, name)


# --- fuzz ---------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def accept(raw: bytes) -> None:
    """Decode, or refuse in one line; anything else is a fault of ours."""
    with contextlib.suppress(OutcryError):
        one_line(lambda: decode_manifest(raw, "fuzz"))


def one_line(call: Callable[[], object]) -> None:
    """Call; if it refuses, then in one printable line."""
    try:
        call()
    except OutcryError as error:
        if not str(error).isprintable() or len(str(error)) > 500:
            pytest.fail(f"not one line: {error!r}")
        raise


@FUZZ
@given(st.binary(max_size=200))
def test_any_bytes_are_a_manifest_or_one_line(raw: bytes) -> None:
    accept(raw)


@FUZZ
@given(st.data())
def test_a_manifest_with_any_value_anywhere_is_taken_or_one_line(data: st.DataObject) -> None:
    whole = json.loads((original() / MANIFEST).read_text())
    part, key = whole, data.draw(st.sampled_from(sorted(whole)))
    for _ in range(5):
        inner = part[key]
        if not isinstance(inner, dict | list) or not inner or data.draw(st.booleans()):
            break
        part = inner
        key = data.draw(st.sampled_from(sorted(inner) if isinstance(inner, dict) else range(len(inner))))
    part[key] = data.draw(JSON)
    accept(json.dumps(whole).encode("utf-8", "surrogatepass"))


@FUZZ
@given(st.data())
def test_bytes_overwritten_anywhere_never_load(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = fuzz_folder(tmp_path_factory)
    name = data.draw(st.sampled_from([NETWORK, GOLDEN, "README.md"]))
    whole = (folder / name).read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    patch = data.draw(st.binary(min_size=1, max_size=8))
    spoilt = whole[:at] + patch + whole[at + len(patch) :]
    (folder / name).write_bytes(spoilt)
    try:
        if spoilt == whole:
            load(folder)
        else:
            refused(folder, name)
    finally:
        (folder / name).write_bytes(whole)


@FUZZ
@given(st.data())
def test_a_spoilt_golden_archive_with_fitting_hashes_is_taken_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = fuzz_folder(tmp_path_factory)
    whole = bytearray((original() / GOLDEN).read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with_file(folder, GOLDEN, bytes(whole))
    try:
        with contextlib.suppress(BadDataError):
            one_line(lambda: load(folder))
    finally:
        with_file(folder, GOLDEN, (original() / GOLDEN).read_bytes())


@FUZZ
@given(st.data())
def test_spoilt_headers_of_arrays_are_taken_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """The archive is sound, what lies in it is not: this is where a parser of headers is tried."""
    folder = fuzz_folder(tmp_path_factory)
    good = io.BytesIO()
    np.save(good, np.zeros(16, np.int16))
    spoilt = bytearray(good.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        spoilt[data.draw(st.integers(0, len(spoilt) - 1))] = data.draw(st.integers(0, 255))
    with_file(folder, GOLDEN, archive({"samples.npy": bytes(spoilt)}))
    try:
        refused(folder, GOLDEN)
    finally:
        with_file(folder, GOLDEN, (original() / GOLDEN).read_bytes())


_FUZZED: list[Path] = []


def fuzz_folder(factory: pytest.TempPathFactory) -> Path:
    """One package for all examples: each leaves it as it was."""
    if not _FUZZED:
        _FUZZED.append(copy_to(factory.mktemp("fuzz") / "made-1"))
    return _FUZZED[0]


def test_the_manifest_is_encoded_as_it_is_decoded(folder: Path) -> None:
    raw = (folder / MANIFEST).read_bytes()
    manifest = decode_manifest(raw, "here")
    assert decode_manifest(msgspec.json.encode(manifest), "here") == manifest
