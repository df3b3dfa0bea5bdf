"""Which model package is in force: the one a call names, the configured, the installed, the shipped."""

import logging
import re
from collections.abc import Callable
from pathlib import Path

from device import package
from device.config import Config
from device.errors import BadDataError, MissingInputError
from device.installed_models import golden, store
from device.package import Package

_log = logging.getLogger(__name__)

SHIPPED = Path(__file__).parents[1] / "models"
DEFAULT = "outcry"


def shipped() -> list[Path]:
    """The packages that came with this release, the first to be taken first: the default's newest, then others."""

    def rank(folder: Path) -> tuple[bool, list[int], str]:
        version = folder.name.rpartition("-")[2]
        return _is_default(folder), [int(number) for number in re.findall(r"\d+", version)], folder.name

    return sorted((path for path in SHIPPED.glob("*-*") if path.is_dir()), key=rank, reverse=True)


def _is_default(folder: Path) -> bool:
    return folder.name.rpartition("-")[0] == DEFAULT


def in_force(config: Config, directory: Path | None = None, refused: Callable[[str], object] = _log.warning) -> Package:
    """Load and prove the package to use; `refused` hears why a better one was passed over.

    Raises MissingInputError or BadDataError, one line, where none can be used.
    """
    if directory is not None:
        # Whoever names a package for one call vouches for it; what the device runs by itself must be signed.
        return package.load(directory)
    key = config.model.public_key or None
    if config.model.directory:
        return package.load(Path(config.model.directory), key)
    installed = store.Store(Path(config.device.state_directory)).candidates()
    found, faults = store.first_whole(installed, golden.check, key)
    if found is None:
        # A shipped package is as trustworthy as the program that it came with; but one of another name, which hears
        # less, must be asked for: in place of the default it would be deafness that nobody is told of.
        found, more = store.first_whole([*filter(_is_default, shipped())], golden.check)
        faults += more
    for fault in faults:
        refused(fault)
    if found is None:
        if faults:
            raise BadDataError(faults[-1])
        raise MissingInputError("no model package is installed or shipped: run `outcry model install DIR`")
    return found
