"""The errors that a person may see: one line each, each with the exit code of its kind.

Raised where the fault is known; `cli.py` prints the message as one line and ends with the code.
The message says what is wrong, where, and what to do.
"""


class OutcryError(Exception):
    """A fault of ours (exit 70), and the root of all others here."""

    code = 70


class UsageError(OutcryError):
    """The command was called wrongly (exit 2)."""

    code = 2


class BadDataError(OutcryError, ValueError):
    """A file or a model package holds what can't be used (exit 65)."""

    code = 65


class MissingInputError(OutcryError, FileNotFoundError):
    """A file, folder or microphone that was named is not there (exit 66)."""

    code = 66


class SoundHangError(OutcryError, TimeoutError):
    """A call into the sound library missed its deadline; only a new process helps (exit 69)."""

    code = 69


class ConfigError(OutcryError, ValueError):
    """The configuration can't be used; systemd does not restart on it (exit 78)."""

    code = 78
