"""The GPIO pins of this machine: over lgpio, else over RPi.GPIO, else simulated."""

import logging
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pins:
    """gpiozero's pin factory. `simulated`: nothing is wired to it; `ours`: whoever found it closes it."""

    factory: Any
    simulated: bool = False
    ours: bool = True


def found() -> Pins:
    """Return gpiozero's own choice where one is set, else lgpio's, RPi.GPIO's, or simulated pins."""
    from gpiozero import Device
    from gpiozero.pins.mock import MockFactory

    if Device.pin_factory is not None:
        return Pins(Device.pin_factory, ours=False)
    reasons = []
    if not os.access(".", os.W_OK):
        # lgpio makes a pipe in its working directory at import and dies where it can't.
        os.environ.setdefault("LG_WD", tempfile.gettempdir())
    for name, made in _factories():
        try:
            factory = made()
        except Exception as error:  # noqa: BLE001 - lgpio, RPi.GPIO and gpiozero each have their own kinds
            reasons.append(f"{name}: {error}")
            continue
        logger.info("GPIO over %s", name)
        return Pins(factory, simulated=isinstance(factory, MockFactory))
    logger.warning("no GPIO here, so LED, button and buzzer are simulated (%s)", "; ".join(reasons))
    return Pins(MockFactory(), simulated=True)


def _factories() -> list[tuple[str, Callable[[], Any]]]:
    wanted = os.environ.get("GPIOZERO_PIN_FACTORY")
    if wanted:
        from gpiozero import Device

        return [(wanted, Device._default_pin_factory)]
    return [("lgpio", _lgpio), ("RPi.GPIO", _rpigpio)]


def _lgpio() -> Any:
    from gpiozero.pins.lgpio import LGPIOFactory

    return LGPIOFactory()


def _rpigpio() -> Any:
    from gpiozero.pins.rpigpio import RPiGPIOFactory

    return RPiGPIOFactory()
