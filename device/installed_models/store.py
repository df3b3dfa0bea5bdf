"""The packages installed on this device: which one is in force, which was before, and the switch between them.

`models/` in the state directory holds the packages, each in `NAME-VERSION/`, and `selection.json`. A switch
is one rename of that file, so whatever instant the power fails at, one of the two packages is in force and
whole. A package is copied, checked and proven beside the others before it gets its name.

A new package is on trial until the service was ready with it (`ready`). A service that starts for the third
time without having become ready (`starting`) gets the package before back.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from device import package
from device.errors import BadDataError, OutcryError, UsageError
from device.manifest import MANIFEST, SIGNATURE
from device.package import Package

_log = logging.getLogger(__name__)

FOLDER = "models"
_SELECTION = "selection.json"
_INCOMING = ".incoming-"
TRIAL_STARTS = 2

Prove = Callable[[Package], object]


class Selection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is in force. `starts` counts how often the service began with a package that is still on trial."""

    current: str
    previous: str | None = None
    on_trial: bool = False
    starts: int = 0


@dataclass(frozen=True, slots=True)
class Installed:
    """One installed package, as `outcry model list` shows it; `fault` is why it could not be loaded."""

    identity: str
    current: bool
    previous: bool
    on_trial: bool
    fault: str | None


class Store:
    """The packages under `state_directory/models`; safe against kills and against a second process."""

    def __init__(self, state_directory: Path) -> None:
        self.directory = state_directory / FOLDER

    def selection(self) -> Selection | None:
        """What is in force, or None where nothing was installed (or what was written can't be read)."""
        try:
            return msgspec.json.decode((self.directory / _SELECTION).read_bytes(), type=Selection)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            _log.error("%s can't be read (%s): the shipped model is used", self.directory / _SELECTION, error)
            return None

    def candidates(self) -> list[Path]:
        """The directories to try, best first: the current package, then the one before."""
        selection = self.selection()
        names = [selection.current, selection.previous] if selection else []
        return [self.directory / name for name in names if name and _is_plain(name)]

    def install(self, source: Path, prove: Prove, public_key: str | None = None) -> Package:
        """Copy, check and prove the package at `source`, then put it in force, on trial.

        `prove` raises when the package does not work on this machine (`golden.check`). Raises BadDataError or
        MissingInputError with the running package untouched, UsageError where the version is taken.
        """
        with self._locked():
            offered = package.load(source, public_key)
            identity = offered.manifest.identity
            target = self.directory / identity
            incoming = self._copy(offered, source)
            try:
                prove(package.load(incoming, public_key))
                self._name(incoming, target)
            finally:
                shutil.rmtree(incoming, ignore_errors=True)
            before = self.selection()
            if before is None or before.current != identity:
                previous = before.current if before else None
                self._select(Selection(identity, previous, on_trial=previous is not None))
            self._tidy()
            return package.load(target, public_key)

    def rollback(self, public_key: str | None = None) -> str:
        """Put the package before in force again; return its name. UsageError where there is none."""
        with self._locked():
            return self._roll_back(public_key)

    def starting(self) -> str | None:
        """The service begins. Where the package on trial has had its chances, the one before is in force again.

        Returns the name of the package that failed, or None.
        """
        if (now := self.selection()) is None or not now.on_trial:
            return None
        with self._locked():
            if now.starts < TRIAL_STARTS:
                self._select(msgspec.structs.replace(now, starts=now.starts + 1))
                return None
            try:
                self._roll_back(None)
            except OutcryError as error:
                _log.error("model %s did not become ready, and there is no way back: %s", now.current, error)
                self._select(msgspec.structs.replace(now, on_trial=False, starts=0))
                return None
            return now.current

    def ready(self) -> None:
        """The service is listening with the current package: its trial is over."""
        if (now := self.selection()) is not None and now.on_trial:
            with self._locked():
                self._select(msgspec.structs.replace(now, on_trial=False, starts=0))

    def listed(self, public_key: str | None = None) -> list[Installed]:
        """Every installed package, by name."""
        selection, rows = self.selection(), []
        current, previous = (selection.current, selection.previous) if selection else (None, None)
        for folder in self._packages():
            fault = None
            try:
                package.load(folder, public_key)
            except OutcryError as error:
                fault = str(error)
            name = folder.name
            on_trial = bool(selection and selection.on_trial and name == current)
            rows.append(Installed(name, name == current, name == previous, on_trial, fault))
        return rows

    def _roll_back(self, public_key: str | None) -> str:
        now = self.selection()
        if now is None or now.previous is None:
            raise UsageError("no model package was in force before this one")
        package.load(self.directory / now.previous, public_key)
        self._select(Selection(now.previous, now.current))
        return now.previous

    def _packages(self) -> list[Path]:
        if not self.directory.is_dir():
            return []
        return sorted(p for p in self.directory.iterdir() if p.is_dir() and _is_plain(p.name))

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise BadDataError(f"{self.directory}: can't be written ({error.strerror})") from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        except OSError as error:
            # Errors of ours are OSErrors too where they say that something is missing.
            if isinstance(error, OutcryError):
                raise
            raise BadDataError(f"{self.directory}: {error.strerror}; nothing was changed") from None
        finally:
            os.close(handle)

    def _copy(self, offered: Package, source: Path) -> Path:
        """The package's files beside the others, on the disk; left-overs of a kill are removed first."""
        for leftover in self.directory.glob(f"{_INCOMING}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        incoming = Path(tempfile.mkdtemp(prefix=_INCOMING, dir=self.directory))
        names = [MANIFEST, *offered.manifest.files]
        if os.path.lexists(source / SIGNATURE):
            names.append(SIGNATURE)
        for name in names:
            with (incoming / name).open("wb") as file:
                file.write(package.read_file(source, name))
                file.flush()
                os.fsync(file.fileno())
        incoming.chmod(0o755)
        _sync(incoming)
        return incoming

    def _name(self, incoming: Path, target: Path) -> None:
        """Give the copy its name; the same package that lies there already stays, a broken one makes room and goes."""
        aside = self.directory / f"{_INCOMING}{target.name}"
        if target.exists():
            try:
                package.load(target)
            except OutcryError:
                target.rename(aside)
            else:
                if (target / MANIFEST).read_bytes() != (incoming / MANIFEST).read_bytes():
                    raise UsageError(f"another package is installed as {target.name}; give this one another version")
                self._renew_signature(incoming, target)
                return
        incoming.rename(target)
        _sync(self.directory)
        shutil.rmtree(aside, ignore_errors=True)

    def _renew_signature(self, incoming: Path, target: Path) -> None:
        if (incoming / SIGNATURE).exists():
            (incoming / SIGNATURE).replace(target / SIGNATURE)
            _sync(target)

    def _select(self, selection: Selection) -> None:
        """Write the selection: one rename, before and after which a whole package is in force."""
        fresh = self.directory / f".{_SELECTION}"
        with fresh.open("wb") as file:
            file.write(msgspec.json.encode(selection) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.directory / _SELECTION)
        _sync(self.directory)

    def _tidy(self) -> None:
        """Only the current package and the one before it are kept."""
        if (now := self.selection()) is None:
            return
        for folder in self._packages():
            if folder.name not in (now.current, now.previous):
                shutil.rmtree(folder, ignore_errors=True)


def first_whole(
    candidates: list[Path], prove: Prove, public_key: str | None = None
) -> tuple[Package | None, list[str]]:
    """The first package that loads and proves itself, and why each one before it was refused."""
    refused = []
    for directory in candidates:
        try:
            found = package.load(directory, public_key)
            prove(found)
        except OutcryError as error:
            refused.append(str(error))
        else:
            return found, refused
    return None, refused


def _is_plain(name: str) -> bool:
    return name == os.path.basename(name) and not name.startswith(".")


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
