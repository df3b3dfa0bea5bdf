"""Which model package is in force: the one that a call names, the configured, the installed, the shipped."""

from pathlib import Path

from device import package
from device.config import Config
from device.errors import MissingInputError
from device.package import Package

SHIPPED = Path(__file__).parent / "models"


def in_force(config: Config, directory: Path | None = None) -> Package:
    """Load and check the package to use. Raises MissingInputError or BadDataError: one line."""
    named = directory or (Path(config.model.directory) if config.model.directory else None)
    if named is not None:
        # Whoever names a package for one call vouches for it; what the device runs by itself must be signed.
        return package.load(named, None if directory else config.model.public_key or None)
    shipped = sorted(path for path in SHIPPED.glob("*-*") if path.is_dir())
    if not shipped:
        raise MissingInputError("no model package is installed or shipped: run `outcry model install DIR`")
    return package.load(shipped[-1])
