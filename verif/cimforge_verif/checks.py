"""The table of errors of ``docs/dcim.md`` ("Commands"): checks when a command dispatches."""

from dataclasses import dataclass

from cimforge.spec.commands import ErrorCode, Opcode
from cimforge.spec.config import DcimConfig
from cimforge.spec.mode import Mode
from cimforge_verif.golden.requantizer import MAX_SHIFT

__all__ = ["BankState", "check"]


@dataclass
class BankState:
    """What the sequencer remembers of a bank, in program order."""

    full: bool = False  #: loaded, and not released since
    selects: int = 0  #: steps that the last LoadSelects brought


def check(config: DcimConfig, fields: dict[str, int], banks: list[BankState]) -> ErrorCode:
    """Return the first error of a command in the table's order, or let ``banks`` follow it.

    Parameters
    ----------
    config : DcimConfig
    fields : dict of str to int
        From :func:`cimforge.spec.commands.unpack_word`.
    banks : list of BankState
        One per bank; changed only if the command is legal.

    Returns
    -------
    ErrorCode
    """
    opcode = fields["opcode"]
    bank = banks[fields["bank"]] if fields["bank"] < len(banks) else None
    for code, wrong in ((ErrorCode.OPCODE, _opcode(config, opcode, bank)),
                        (ErrorCode.MODE, _mode(config, opcode, fields)),
                        (ErrorCode.COUNT, _count(config, opcode, fields)),
                        (ErrorCode.ADDRESS, _address(config, opcode, fields))):
        if wrong:
            return code
    return ErrorCode.NONE if bank is None else _bank(config, opcode, fields, bank)


def _opcode(config: DcimConfig, opcode: int, bank: BankState | None) -> bool:
    if opcode not in list(Opcode) or (opcode == Opcode.LOAD_SELECTS and config.select != "pair"):
        return True
    uses_bank = opcode in (Opcode.LOAD_WEIGHTS, Opcode.LOAD_SELECTS, Opcode.COMPUTE)
    return uses_bank and bank is None


def _mode(config: DcimConfig, opcode: int, fields: dict[str, int]) -> bool:
    mode = Mode(fields["n"], 1 << fields["m_log2"], 1 << fields["group_log2"])
    return opcode == Opcode.COMPUTE and mode not in config.modes


def _count(config: DcimConfig, opcode: int, fields: dict[str, int]) -> bool:
    if opcode == Opcode.SET_REQUANTIZE:
        return fields["steps"] > MAX_SHIFT  # the field carries the shift
    if opcode in (Opcode.LOAD_ACTS, Opcode.COMPUTE) and fields["count"] == 0:
        return True
    if opcode == Opcode.LOAD_ACTS:  # the field of the stride carries the beats
        return not 1 <= fields["stride"] <= config.window_beats
    return (opcode in (Opcode.LOAD_SELECTS, Opcode.COMPUTE)
            and not 1 <= fields["steps"] <= config.max_steps)


def _address(config: DcimConfig, opcode: int, fields: dict[str, int]) -> bool:
    row, count = fields["row"], fields["count"]
    if opcode == Opcode.LOAD_ACTS:
        return row + count > config.act_depth
    if opcode == Opcode.SET_REQUANTIZE:  # the field of the row carries the output
        return row >= config.sub_macros * config.cols
    if opcode != Opcode.COMPUTE:
        return False
    stores = not (fields["first"] and fields["last"]) or fields["steps"] > 1
    return (row + fields["stride"] * (count - 1) >= config.act_depth
            or (stores and fields["acc"] + count > config.acc_depth))


def _bank(config: DcimConfig, opcode: int, fields: dict[str, int], bank: BankState) -> ErrorCode:
    if opcode == Opcode.COMPUTE:
        if not bank.full:
            return ErrorCode.NO_WEIGHTS
        if config.select == "pair" and fields["steps"] > bank.selects:
            return ErrorCode.NO_SELECTS
        bank.full = not fields["release"]
    elif opcode in (Opcode.LOAD_WEIGHTS, Opcode.LOAD_SELECTS):
        if bank.full:
            return ErrorCode.BANK_FULL
        if opcode == Opcode.LOAD_WEIGHTS:
            bank.full = True
        else:
            bank.selects = fields["steps"]
    return ErrorCode.NONE
