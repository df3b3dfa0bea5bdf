"""Wheelhouses for the installer's tests: this tree's own, later and broken ones made from it; what became of them."""

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from debian import Debian

TREE = Path(__file__).resolve().parents[2]
DEBIAN_PYTHON = "3.11"  # of debian.py's root, whatever runs these tests


def build(output: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run wheelhouse.sh for this machine's architecture and Debian 12's Python."""
    return subprocess.run(
        [
            TREE / "systemd/wheelhouse.sh",
            "--output",
            output,
            "--arch",
            os.uname().machine,
            "--python",
            DEBIAN_PYTHON,
            *options,
        ],
        env={**os.environ, "OUTCRY_PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )


def build_from_cache(output: Path, cache: Path, *options: str) -> None:
    """Run wheelhouse.sh with other projects' wheels from `cache`; from the network where they are not all there."""
    done = build(output, "--from", str(cache), *options)
    if done.returncode != 0:
        done = build(output, *options)
        assert done.returncode == 0, done.stderr
        cache.mkdir(parents=True, exist_ok=True)
        for wheel in (output / "wheels").iterdir():
            if not wheel.name.startswith("outcry-"):
                shutil.copy(wheel, cache)


def version_of(wheelhouse: Path) -> str:
    """Return the release's version."""
    return (wheelhouse / "wheelhouse.conf").read_text().splitlines()[0].removeprefix("version=")


def variant(wheelhouse: Path, output: Path, version: str, changes: dict[str, str] | None = None) -> Path:
    """Copy a wheelhouse as another version; `changes` replace whole files of the outcry wheel."""
    shutil.copytree(wheelhouse, output, copy_function=os.link)
    old_version = version_of(wheelhouse)
    old_wheel = next(output.glob("wheels/outcry-*.whl"))
    new_wheel = old_wheel.with_name(old_wheel.name.replace(old_version, version))
    replaced = {"device/__init__.py": f'"""Outcry."""\n\n__version__ = "{version}"\n', **(changes or {})}
    info = f"outcry-{old_version}.dist-info"
    with zipfile.ZipFile(old_wheel) as old, zipfile.ZipFile(old_wheel.with_suffix(".new"), "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name in replaced:
                data = replaced[name].encode()
            elif name == f"{info}/METADATA":
                data = data.replace(f"Version: {old_version}\n".encode(), f"Version: {version}\n".encode())
            elif name == f"{info}/RECORD":
                data = "".join(f"{file.replace(old_version, version)},,\n" for file in old.namelist()).encode()
            new.writestr(name.replace(info, f"outcry-{version}.dist-info"), data)
    old_wheel.unlink()
    old_wheel.with_suffix(".new").rename(new_wheel)
    configuration = (output / "wheelhouse.conf").read_text().replace(f"version={old_version}", f"version={version}")
    (output / "wheelhouse.conf").unlink()
    (output / "wheelhouse.conf").write_text(configuration)
    write_hashes(output)
    return output


def write_hashes(wheelhouse: Path) -> None:
    """Write SHA256SUMS anew; a signature no longer fits."""
    lines = [
        f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(wheelhouse)}\n"
        for file in sorted(wheelhouse.rglob("*"))
        if file.is_file() and not file.name.startswith("SHA256SUMS")
    ]
    (wheelhouse / "SHA256SUMS").unlink()
    (wheelhouse / "SHA256SUMS").write_text("".join(lines))


def make_key(folder: Path, name: str) -> tuple[Path, Path]:
    """Make an Ed25519 key; return the private and the public PEM file."""
    private, public = folder / f"{name}.pem", folder / f"{name}.pub.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", private], check=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True)
    return private, public


def sign(wheelhouse: Path, private: Path) -> None:
    """Sign SHA256SUMS as wheelhouse.sh does."""
    sums = wheelhouse / "SHA256SUMS"
    subprocess.run(
        ["openssl", "pkeyutl", "-sign", "-inkey", private, "-rawin", "-in", sums, "-out", f"{sums}.sig"],
        check=True,
    )


def bring(root: Path, wheelhouse: Path, name: str = "wheelhouse") -> None:
    """Copy a wheelhouse to /root/NAME of a Debian."""
    subprocess.run(["cp", "-r", wheelhouse, root / "root" / name], check=True)


def refused(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """Assert one line on standard error after the progress lines, with these words, and the exit code."""
    lines = done.stderr.splitlines()
    assert done.returncode == code, done.stderr
    assert lines, "no line on standard error"
    assert lines[-1].startswith("outcry install: "), done.stderr
    assert [line for line in lines if line.startswith("outcry install: ")] == lines[-1:]
    for word in words:
        assert word in lines[-1], lines[-1]


def current(debian: Debian) -> str:
    return (debian.path / "opt/outcry/current").readlink().name


def release_names(debian: Debian) -> list[str]:
    return sorted(path.name for path in (debian.path / "opt/outcry/releases").iterdir())
