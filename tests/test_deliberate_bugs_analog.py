"""Bugs put into the analog tile on purpose: the test named beside each of them must fail.

See ``test_deliberate_bugs.py``.
"""

import pytest
import test_hw_analog_check
import test_hw_analog_column
import test_hw_analog_convert
import test_hw_analog_lines
import test_hw_analog_tile
from hw_analog_bench import OTHER, TINY
from hw_deliberate import check_caught, check_without_bugs, name_of

from cimforge_hw.analog.adc import Adc, Converter
from cimforge_hw.analog.array import Array
from cimforge_hw.analog.check import Check
from cimforge_hw.analog.column import Column
from cimforge_hw.analog.counters import Counters
from cimforge_hw.analog.crossbar import Crossbar
from cimforge_hw.analog.legality import Legality
from cimforge_hw.analog.loader import Loader
from cimforge_hw.analog.programmer import Programmer
from cimforge_hw.analog.retire import Retire
from cimforge_hw.analog.rounds import Rounds
from cimforge_hw.analog.saturation import Saturation
from cimforge_hw.analog.shift_add import ShiftAdd, ShiftAddLane
from cimforge_hw.analog.tile import AnalogTile
from cimforge_hw.analog.walk import Walk
from cimforge_hw.analog.word_line import WordLine

_ADDRESSES = test_hw_analog_lines.test_addresses_of_random_sides
_PULSES = test_hw_analog_lines.test_pulses_by_bit_and_row_group
_TAGS = test_hw_analog_lines.test_corrections_and_mixed_tags
_DEPENDS = test_hw_analog_lines.test_a_drive_waits_for_what_it_depends_on
_CONVERTER = test_hw_analog_convert.test_a_converter_does_what_the_formula_says
_ORDER = test_hw_analog_convert.test_every_converter_takes_its_active_columns_in_ascending_order
_COLUMNS = test_hw_analog_convert.test_converters_see_their_columns_and_their_dither
_LANE = test_hw_analog_convert.test_a_lane_sums_planes_bits_and_groups
_READ = test_hw_analog_convert.test_columns_are_read_a_chunk_at_a_time
_CELLS = test_hw_analog_column.test_a_crossbar_is_programmed_a_chunk_of_a_row_at_a_time
_OVERLAP = test_hw_analog_tile.test_drives_of_one_array_overlap_and_bank_their_sums
_MIXED = test_hw_analog_tile.test_a_drive_that_mixes_blocks_is_flagged_with_its_position

#: Name, method, what it says, what it says instead, the test that notices, its arguments.
BUGS = [
    ("address-stride", Walk._addresses, "side.stride * i)", "i)", _ADDRESSES, OTHER),
    ("rotation-backwards", Walk._addresses, "- side.rotation", "+ side.rotation", _ADDRESSES, TINY),
    ("jump-by-grains", Walk._addresses, "side.jump * turn", "side.jump * self.grain",
     _ADDRESSES, TINY),
    ("block-of-one-grain", Walk._addresses, "chunk[:parts + k] if", "chunk[:parts] if",
     _ADDRESSES, OTHER),
    ("sign-cycle-added", ShiftAddLane.elaborate, "older - value", "older + value", _LANE, TINY, 1),
    ("sign-of-every-group-but-the-first", ShiftAddLane.elaborate, "Mux(self.pulse.sign, older",
     "Mux(begins, older", _LANE, TINY, 3),
    ("offset-correction-lost", ShiftAddLane.elaborate, "-self.correction", "0", _LANE, TINY, 1),
    ("bits-not-shifted", ShiftAddLane.elaborate, "old.data.sum << 1", "old.data.sum",
     _LANE, TINY, 1),
    ("planes-not-shifted", ShiftAddLane._value, "cfg.cell_bits * plane", "plane",
     _LANE, TINY.replace(cell_bits=4), 1),
    ("offset-of-one-plane", ShiftAddLane._value, "sum(1 << s for s in shifts)", "1",
     _LANE, TINY, 1),
    ("correction-of-empty-cells", Legality.elaborate, "m.If(load.en & here[c])", "m.If(load.en)",
     _TAGS, TINY),
    ("mixed-tags-of-columns-not-converted", Legality.elaborate, "self.col_mask[c] & ", "",
     _TAGS, TINY),
    ("tags-survive-erasing", Legality._tags, "m.d.sync += row.eq(0)", "pass", _TAGS, TINY),
    ("columns-in-blocks", Adc.elaborate, "self.held[i * cfg.adcs + j]",
     "self.held[j * (cfg.array // cfg.adcs) + i]", _COLUMNS, TINY),
    ("round-robin-order", Rounds.elaborate, "self.mask[q::kinds]",
     "self.mask[kinds - 1 - q::kinds]",
     _ORDER, TINY.replace(adcs=8)),
    ("a-round-too-few", Rounds.elaborate, "m.Elif(self.step & last_turn)", "m.Elif(self.step)",
     _ORDER, TINY.replace(adcs=1)),
    ("one-dither-for-all", Adc.elaborate, "rotate(self.lfsr, 3 * j)", "self.lfsr", _COLUMNS,
     test_hw_analog_convert.DITHER),
    ("saturation-lost-below", Converter.elaborate, "(code < 0) | high", "high", _CONVERTER, TINY),
    ("clamp-lost", Converter.elaborate, "Mux(high, limit, code)", "code", _CONVERTER,
     TINY.replace(adc_bits=2)),
    ("rounds-up", Converter.elaborate, "step >> 1", "step - 1", _CONVERTER, TINY),
    ("saturations-not-cleared", Saturation.elaborate, "counted.eq(0)", "counted.eq(counted)",
     test_hw_analog_convert.test_saturations_count_from_zero_after_clear, TINY.replace(port=2)),
    ("saturation-not-sticky", Counters.elaborate, "self.saturated | (total != 0)", "total != 0",
     test_hw_analog_tile.test_counters_count_events),
    ("converter-read-of-the-next", ShiftAdd._read, "lanes[turn * cfg.port + i]",
     "lanes[i * turns + turn]", _READ, TINY.replace(port=2, adcs=8)),
    ("a-pulse-too-many", WordLine._pulses, "after >= grains << split", "after > grains << split",
     _PULSES, TINY, 2),
    ("least-significant-bit-first", WordLine._pulses, "bit.eq(bit - 1)", "bit.eq(bit + 1)",
     _PULSES, TINY, 1 << 15),
    ("rows-of-the-next-drive", WordLine._activations, "m.If(self.start)", "m.If(1)",
     _PULSES, TINY, 2),
    ("weights-in-twos-complement", Programmer.elaborate, "weight ^ (1 << WORD_BITS - 1)", "weight",
     test_hw_analog_lines.test_the_programmer_writes_a_square_row_by_row, TINY),
    ("a-row-keeps-its-old-ones", Column._cells, "(cells & ~self.rows)", "cells",
     test_hw_analog_column.test_a_column_sums_its_driven_cells, TINY),
    ("never-erases", Crossbar.elaborate, "column.erase.eq(program.erase)",
     "column.erase.eq(0)", _CELLS, TINY),
    ("depends-on-the-one-before", Loader._pop, "before < queue.depends", "before <= queue.depends",
     _DEPENDS, 1, 5, 4, False),
    ("drives-load-with-a-gap", Loader._pop, "(~self.beat | walk.last)", "~self.beat",
     test_hw_analog_lines.test_drives_load_without_gaps),
    ("one-bank-of-accumulators", Array._read, "write_bank.eq(~write_bank)",
     "write_bank.eq(write_bank)", _OVERLAP),
    ("starts-over-a-waiting-bank", Array._read, "(used != 2) | leaves", "1", _OVERLAP),
    ("a-cycle-lost-between-drives", Array._control, "(~self.busy | end)", "~self.busy", _OVERLAP),
    ("last-illegal-drive", AnalogTile._connect_flags, " & ~self.illegal", "", _MIXED),
    ("always-accumulates", Retire._sums, "Mux(head.accumulate, stored.as_signed(), 0)",
     "stored.as_signed()", test_hw_analog_tile.test_set_requantize_reaches_its_slot),
    ("last-address-one-late", Check._last, "size * cfg.grain - 1", "size * cfg.grain - 2",
     test_hw_analog_check.test_agrees_with_the_table, TINY),
    ("rotation-not-checked", Check._last, "Cat(used, used) >> by if len(by) else used", "used",
     test_hw_analog_check.test_agrees_with_the_table, TINY),
]


@pytest.mark.parametrize("bug", BUGS, ids=name_of)
def test_the_bug_is_caught(bug, monkeypatch):
    check_caught(bug, monkeypatch)


def test_every_test_that_notices_passes_without_a_bug():
    check_without_bugs({name_of(bug).partition("> ")[2]: bug for bug in BUGS}.values())
