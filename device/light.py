"""One pattern on the LED until SIGTERM: `python -m device.light fault`, for when the service itself gave up."""

import logging
import signal
import sys
from typing import get_args

from device import config
from device.errors import OutcryError, UsageError
from device.led_and_button.rhythms import Pattern
from device.panel import Panel
from device.settings.sections import PanelSection


def main(arguments: list[str]) -> None:
    """Show the pattern named by the only argument until SIGTERM. Raises UsageError.

    Where the configuration is what is broken, the default pins are taken.
    """
    known = get_args(Pattern)
    if len(arguments) != 1 or arguments[0] not in known:
        raise UsageError(f"python -m device.light PATTERN: one of {', '.join(known)}")
    try:
        section = config.load().panel
    except OutcryError:
        section = PanelSection()
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)  # before the panel's thread, which inherits it
    panel = Panel(section)
    panel.show(arguments[0])  # type: ignore[arg-type]  # checked above
    signal.sigwait(ends)
    panel.close()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        main(sys.argv[1:])
    except OutcryError as error:
        print(f"outcry: {error}", file=sys.stderr)
        sys.exit(error.code)
