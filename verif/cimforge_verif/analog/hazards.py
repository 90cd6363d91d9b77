"""Whether a program means one thing only: it ends, reads what was written, and waits for it."""

from collections.abc import Sequence

import numpy as np

from cimforge.spec.analog.address import destination, lines, source
from cimforge.spec.analog.commands import (
    AnalogCommand,
    Drive,
    End,
    Input,
    Output,
    ReadSaturation,
    SetRequantize,
)
from cimforge.spec.analog.config import AnalogConfig
from cimforge.spec.errors import DataError

__all__ = ["check_hazards"]

#: Commands that overlap with others; whatever else there is waits for an idle tile.
_OVERLAP = (Drive, Input, Output, ReadSaturation)


def check_hazards(config: AnalogConfig, commands: Sequence[AnalogCommand], name: str = "program"
                  ) -> None:
    """Refuse a program whose meaning would depend on timing, or on what ran before it.

    ``End`` stops the cycle counter, so it is the last command and the only one of its kind. Both
    memories and the requantizers hold anything until written. Loads happen in program order and
    writes retire in program order, so two more things can go wrong: a drive loads an activation
    before the command that writes it has retired (neither its ``depends`` nor that of an earlier
    drive reaches it), or two columns of a drive have one destination.

    Parameters
    ----------
    config : AnalogConfig
    commands : sequence of AnalogCommand
        Legal ones, from reset.
    name : str
        Of the program, for messages.

    Raises
    ------
    DataError
        Naming the first such command, and the one it should have waited for.
    """
    _check_end(commands, name)
    state = _State(config, name)
    for position, command in enumerate(commands):
        state.step(position, command)


def _check_end(commands: Sequence[AnalogCommand], name: str) -> None:
    ends = [position for position, command in enumerate(commands) if isinstance(command, End)]
    if not ends:
        raise DataError(f"{name}: must end with End, which none of its {len(commands)} commands is")
    if ends[0] < len(commands) - 1:
        raise DataError(f"{name}: must end with its first End, command {ends[0]}, but "
                        f"{len(commands) - 1 - ends[0]} command(s) follow")


class _State:
    """What has been written, and by which command where that matters."""

    def __init__(self, config: AnalogConfig, name: str):
        self._config, self._name = config, name
        self._writer = np.full(config.act_depth, -1)  # last command that writes there
        self._summed = np.zeros(config.acc_depth, dtype=bool)
        self._slots: set[int] = set()
        self._retired = -1  # up to here everything has retired when the next drive loads

    def step(self, position: int, command: AnalogCommand) -> None:
        config = self._config
        if not isinstance(command, _OVERLAP):
            self._retired = position
        if isinstance(command, SetRequantize):
            self._slots.add(command.slot)
        elif isinstance(command, Input):
            self._writer[command.dst:command.dst + command.count * config.port] = position
        elif isinstance(command, Output):
            reads = np.arange(command.src, command.src + command.count * config.port)
            self._check_written(f"output {position} sends sum", reads, self._summed[reads])
        elif isinstance(command, Drive):
            self._load(position, command)
            self._retire(position, command)

    def _load(self, position: int, drive: Drive) -> None:
        reads = lines(self._config, source(drive))[1]
        self._check_written(f"drive {position} loads activation", reads, self._writer[reads] >= 0)
        if drive.depends:
            self._retired = max(self._retired, position - drive.depends)
        last = int(self._writer[reads].max())
        if last > self._retired:
            raise DataError(
                f"{self._name}: drive {position} loads what command {last} writes and does not "
                f"wait for it: depends must be 1..{position - last}, not {drive.depends}")

    def _retire(self, position: int, drive: Drive) -> None:
        writes = lines(self._config, destination(drive))[1]
        if len(np.unique(writes)) < len(writes):
            raise DataError(f"{self._name}: drive {position} writes one address from two columns")
        if drive.accumulate:
            self._check_written(f"drive {position} adds to sum", writes, self._summed[writes])
        if drive.requantize:
            self._check_written(f"drive {position} uses requantizer", np.array([drive.slot]),
                                np.array([drive.slot in self._slots]))
            self._writer[writes] = position
        else:
            self._summed[writes] = True

    def _check_written(self, what: str, addresses: np.ndarray, written: np.ndarray) -> None:
        if not written.all():
            raise DataError(f"{self._name}: {what} {addresses[int(written.argmin())]}, which no "
                            "earlier command writes")
