"""The tile's ``stall`` counter, worked out from its ports alone as ``docs/dcim.md`` defines it."""

from typing import NamedTuple

__all__ = ["Handshake", "StallModel"]


class Handshake(NamedTuple):
    """Valid and ready of a stream in one cycle."""

    valid: bool
    ready: bool


class StallModel:
    """Counts the cycles of a running program in which a stream made an engine wait.

    Attributes
    ----------
    count : int
        What the counter must show after the cycles given to :meth:`step`.
    """

    def __init__(self):
        self.reset()

    def reset(self) -> None:
        """No program runs and nothing was counted."""
        self.count = 0
        self._started = self._holds = self._is_end = False

    def step(self, commands: Handshake, weights: Handshake, acts: Handshake, results: Handshake,
             *, is_end: bool, error: bool = False, clear: bool = False) -> None:
        """Take one cycle.

        Parameters
        ----------
        commands, weights, acts, results : Handshake
        is_end : bool
            The command offered in this cycle is End.
        error, clear : bool
            The tile reports an error; ``clear`` is driven.
        """
        accepted = commands.valid and commands.ready
        # The command register shows on the ports: it is empty, or emptied, whenever a command could
        # be taken, unless ``clear`` takes effect, which holds back commands of an empty register.
        ended = self._holds and self._is_end and commands.ready
        cleared = clear and not self._holds and not commands.ready
        running = (self._started or accepted) and not error
        starved = self._started and commands.ready and not commands.valid and not ended
        waits = (starved or (weights.ready and not weights.valid)
                 or (acts.ready and not acts.valid) or (results.valid and not results.ready))
        self.count += running and waits
        if accepted:
            self._started, self._is_end = True, is_end
        if (ended and not accepted) or error or cleared:
            self._started = False
        self._holds = accepted or (self._holds and not commands.ready)
        if cleared:
            self.count = 0
