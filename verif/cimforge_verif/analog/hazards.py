"""Whether a program's ``depends`` are right: drives load what was written before they could."""

import numpy as np

from cimforge.spec.analog.address import destination, lines, source
from cimforge.spec.analog.commands import AnalogCommand, Drive, Input, Output, ReadSaturation
from cimforge.spec.analog.config import AnalogConfig
from cimforge.spec.errors import DataError

__all__ = ["check_hazards"]

#: Commands that overlap with others; whatever else there is waits for an idle tile.
_OVERLAP = (Drive, Input, Output, ReadSaturation)


def check_hazards(config: AnalogConfig, commands: list[AnalogCommand], name: str = "program"
                  ) -> None:
    """Refuse a program whose meaning would depend on timing.

    Loads happen in program order and writes retire in program order, so two things can go wrong:
    a drive loads an activation before the command that writes it has retired (neither its
    ``depends`` nor that of an earlier drive reaches it), or two columns of a drive have one
    destination.

    Parameters
    ----------
    config : AnalogConfig
    commands : list of AnalogCommand
        Legal ones.
    name : str
        Of the program, for messages.

    Raises
    ------
    DataError
        Naming the first such command, and the one it should have waited for.
    """
    writer = np.full(config.act_depth, -1)  # position of the last command that writes there
    retired = -1  # position up to which everything has retired when the drive at hand loads
    for position, command in enumerate(commands):
        if not isinstance(command, _OVERLAP):
            retired = position
        elif isinstance(command, Input):
            writer[command.dst:command.dst + command.count * config.port] = position
        elif isinstance(command, Drive):
            if command.depends:
                retired = max(retired, position - command.depends)
            last = int(writer[lines(config, source(command))[1]].max())
            if last > retired:
                raise DataError(
                    f"{name}: drive {position} loads what command {last} writes and does not wait "
                    f"for it: depends must be 1..{position - last}, not {command.depends}")
            written = lines(config, destination(command))[1]
            if len(np.unique(written)) < len(written):
                raise DataError(f"{name}: drive {position} writes one address from two columns")
            if command.requantize:
                writer[written] = position
