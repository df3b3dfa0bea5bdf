"""From the button's edges to rows of short presses. Pure."""

from typing import Final

PRESS_GAP_S: Final = 0.4  # another press within this belongs to the same row of presses


class PressCounter:
    """Turns the button's edges into rows of short presses; a held one ends the row and counts for nothing."""

    def __init__(self) -> None:
        self._count = 0
        self._down = False
        self._held = False
        self._ends_s: float | None = None

    def pressed(self) -> None:
        """The button went down."""
        self._down, self._held, self._ends_s = True, False, None

    def held(self) -> None:
        """It has been down for as long as an SOS takes."""
        self._held, self._count = True, 0

    def released(self, t_s: float) -> None:
        """The button came up at `t_s`."""
        if self._down and not self._held:
            self._count += 1
            self._ends_s = t_s + PRESS_GAP_S
        self._down = False

    @property
    def ends_s(self) -> float | None:
        """When the row ends unless another press comes."""
        return self._ends_s

    def take(self, t_s: float) -> int:
        """Return the number of presses in a row that ended by `t_s`, once; 0 where none did."""
        if self._ends_s is None or t_s < self._ends_s:
            return 0
        count, self._count, self._ends_s = self._count, 0, None
        return count
