"""The table of errors of ``docs/analog.md``: checks when a command dispatches."""

from cimforge.spec.analog.address import Side, last_address
from cimforge.spec.analog.commands import AnalogError, AnalogOpcode
from cimforge.spec.analog.config import AnalogConfig
from cimforge_verif.golden.requantizer import MAX_SHIFT

__all__ = ["check"]

_OF_ARRAY = (AnalogOpcode.PROGRAM, AnalogOpcode.ERASE, AnalogOpcode.DRIVE,
             AnalogOpcode.READ_SATURATION)


def check(config: AnalogConfig, fields: dict[str, int]) -> AnalogError:
    """Return the first error of a command in the table's order.

    Parameters
    ----------
    config : AnalogConfig
    fields : dict of str to int
        From :func:`cimforge.spec.analog.commands.unpack_word`.
    """
    opcode = fields["opcode"]
    if opcode not in list(AnalogOpcode):
        return AnalogError.OPCODE
    if opcode in _OF_ARRAY and fields["array"] >= config.arrays:
        return AnalogError.ARRAY
    if opcode == AnalogOpcode.DRIVE:
        return _drive(config, fields)
    if _count(opcode, fields):
        return AnalogError.COUNT
    return AnalogError.ADDRESS if _address(config, opcode, fields) else AnalogError.NONE


def _drive(config: AnalogConfig, fields: dict[str, int]) -> AnalogError:
    masks = fields["row_mask"], fields["col_mask"]
    if not all(masks) or max(masks) >> config.grains:
        return AnalogError.MASK
    blocks = 1 << fields["src_block_log2"], 1 << fields["dst_block_log2"]
    if not 1 <= fields["bits"] <= config.adc_bits or max(blocks) > config.grains:
        return AnalogError.PRECISION
    if fields["requantize"] and fields["slot"] >= config.requantizers:
        return AnalogError.ADDRESS
    last_source, last_destination = (
        last_address(config, Side(mask, fields[side], fields[f"{side}_stride"],
                                  fields[f"{side}_jump"], fields[f"{side}_rotation"], block))
        for side, mask, block in zip(("src", "dst"), masks, blocks, strict=True))
    sums = not fields["requantize"] or fields["accumulate"]
    if (last_source >= config.act_depth
            or (fields["requantize"] and last_destination >= config.act_depth)
            or (sums and last_destination >= config.acc_depth)):
        return AnalogError.ADDRESS
    return AnalogError.NONE


def _count(opcode: int, fields: dict[str, int]) -> bool:
    """Return whether a count is out of range; the fields are those that carry it."""
    if opcode == AnalogOpcode.SET_REQUANTIZE:
        return fields["src_stride"] > MAX_SHIFT
    if opcode == AnalogOpcode.PROGRAM:
        return not 1 <= fields["depends"] <= 255
    return ((opcode == AnalogOpcode.INPUT and fields["src"] == 0)
            or (opcode == AnalogOpcode.OUTPUT and fields["dst"] == 0))


def _address(config: AnalogConfig, opcode: int, fields: dict[str, int]) -> bool:
    if opcode == AnalogOpcode.PROGRAM:
        return max(fields["src"], fields["dst"]) >= config.grains
    if opcode == AnalogOpcode.SET_REQUANTIZE:
        return fields["slot"] >= config.requantizers
    if opcode == AnalogOpcode.INPUT:
        return fields["dst"] + fields["src"] * config.port > config.act_depth
    if opcode == AnalogOpcode.OUTPUT:
        return fields["src"] + fields["dst"] * config.port > config.acc_depth
    return False
