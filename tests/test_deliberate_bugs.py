"""Bugs put into the hardware on purpose: the test named beside each of them must fail.

A test suite is worth what it catches. Every bug replaces one piece of a method's source while the
test runs; a piece that is no longer there exactly once fails, so that this table cannot rot.
"""

import pytest
import test_hw_accumulator
import test_hw_activation_buffer
import test_hw_check
import test_hw_column
import test_hw_counters
import test_hw_distribution
import test_hw_drain
import test_hw_issue
import test_hw_macro
import test_hw_merging
import test_hw_requantizer
import test_hw_sequencer
import test_hw_slicer
import test_hw_sub_macro
import test_hw_tile
import test_hw_tile_errors
import test_hw_tile_limits
import test_hw_weight_loader
from hw_deliberate import check_caught, check_without_bugs, name_of, with_bug
from hw_support import BASE, PAIR, WIDEST

from cimforge.spec.commands import ErrorCode, LoadActs
from cimforge_hw.common import requantizer
from cimforge_hw.common.carry_save import CarrySave
from cimforge_hw.common.requantizer import RequantizerPipeline
from cimforge_hw.dcim.accumulator import Accumulator
from cimforge_hw.dcim.activation_buffer import ActivationBuffer, LoadActsLayout
from cimforge_hw.dcim.carry_save_column import CarrySaveColumn
from cimforge_hw.dcim.check import Check
from cimforge_hw.dcim.column import Column
from cimforge_hw.dcim.counters import Counters
from cimforge_hw.dcim.distribution import Distribution
from cimforge_hw.dcim.drain import Drain
from cimforge_hw.dcim.issue import ComputeLayout, Issue
from cimforge_hw.dcim.macro import Macro
from cimforge_hw.dcim.merging import Merging
from cimforge_hw.dcim.mode import mode_value
from cimforge_hw.dcim.sequencer import Sequencer
from cimforge_hw.dcim.slicer import Slicer
from cimforge_hw.dcim.sub_macro import SubMacro
from cimforge_hw.dcim.tile import DcimTile
from cimforge_hw.dcim.weight_loader import WeightLoader

SERIAL, TWO = BASE.replace(act_slice=1), BASE.replace(act_slice=2)
SHARED, NARROW = BASE.replace(cols=4, index_share=2, act_slice=4), BASE.replace(out_port=1)

_CYCLES = test_hw_tile.test_random_programs_in_exactly_the_predicted_cycles
_DEPTH = test_hw_tile_limits.test_the_whole_depth_of_the_memories

#: Name, method, what it says, what it says instead, the test that notices, its arguments.
ARITHMETIC = [
    ("sign-of-last-bit", Column._addends, "Mux(self.last, -gated, gated)", "gated",
     test_hw_column.test_matches_golden, SERIAL, Column),
    ("sign-of-last-slice", Column._addends, "act[-1] & self.last", "act[-1] & ~self.last",
     test_hw_column.test_matches_golden, TWO, Column),
    ("sign-of-every-slice", Column._addends, "act[-1] & self.last", "act[-1]",
     test_hw_column.test_matches_golden, TWO, Column),
    ("slices-shift-by-one", Column._accumulate, ">> cfg.act_slice", ">> 1",
     test_hw_column.test_matches_golden, TWO, Column),
    ("sum-not-held", Column._accumulate, "m.If(enable)", "m.If(enable | self.write.en)",
     test_hw_column.test_sum_holds_until_the_next_enabled_slice, BASE.replace(adder_stages=1)),
    ("second-stage-does-not-wait", Column._accumulate, "pending & self.advance", "pending",
     test_hw_column.test_the_second_stage_waits_for_advance, Column),
    ("first-of-the-next-slice", Column._accumulate, "self.advance, held_first",
     "self.advance, self.first", test_hw_column.test_a_pause_between_slices_changes_nothing, 2),
    ("carry-save-sign-lost", CarrySaveColumn._partial, "subtract != (k == len(bits) - 1)",
     "k == len(bits) - 1", test_hw_column.test_matches_golden, BASE, CarrySaveColumn),
    ("carry-save-last-ignored", CarrySaveColumn._addends, " ^ self.last.replicate(len(number))", "",
     test_hw_column.test_matches_golden, TWO, CarrySaveColumn),
    ("carry-save-ones-lost", CarrySaveColumn._addends, "tree.add_bits(self.last, top + 1)", "pass",
     test_hw_column.test_matches_golden, SERIAL, CarrySaveColumn),
    ("carry-save-constant-lost", CarrySave.add_bits, "self._constant -= 1", "self._constant -= 0",
     test_hw_column.test_matches_golden, BASE, CarrySaveColumn),
    ("carry-of-the-same-weight", CarrySave._full_adder, "self._push(weight + 1, ready",
     "self._push(weight, ready", test_hw_column.test_matches_golden, BASE, CarrySaveColumn),
    ("line-of-the-next-index", CarrySaveColumn._picked, "index == i", "index == i ^ 1",
     test_hw_column.test_every_index_picks_its_line, BASE, CarrySaveColumn),
    ("one-hot-of-the-next-line", Column._coded, "== line for line",
     "== line ^ 1 for line", test_hw_column.test_every_index_picks_its_line,
     BASE.replace(index_coding="one_hot"), Column),
    ("write-row-off-by-one", Column._stored, "== row)", "== (row + 1) % cfg.rows)",
     test_hw_column.test_matches_golden, BASE, Column),
    ("write-ignores-its-bank", Column._stored, " & (self.write.bank == bank)", "",
     test_hw_column.test_a_write_never_disturbs_the_bank_that_is_read, 8),
    ("index-of-the-wrong-unit", SubMacro.elaborate, "self.write.data[unit]",
     "self.write.data[unit // share]", test_hw_sub_macro.test_matches_golden, SHARED),
    ("index-share-first-weight-only", Column.elaborate, "unit.word_select(j,",
     "unit.word_select(0,", test_hw_sub_macro.test_matches_golden, SHARED),
    ("slices-most-significant-first", Slicer.elaborate, "act.word_select(index,",
     "act.word_select(cfg.slices - 1 - index,", test_hw_slicer.test_cuts_every_slice, TWO),
    ("slot-of-the-next-sub-macro", Distribution._row, "for block in blocks[row]]",
     "for block in [*blocks[row][1:], blocks[row][0]]]",
     test_hw_distribution.test_every_mode_gives_every_slot_its_block, BASE),
    ("slot-of-the-next-row", Distribution._row, "for block in blocks[row]]",
     "for block in blocks[(row + 1) % len(blocks)]]",
     test_hw_distribution.test_every_mode_gives_every_slot_its_block, BASE),
    ("level2-ignored", Distribution._pairs, "self.level2[row][p]", "p",
     test_hw_distribution.test_every_select_of_a_row),
    ("level1-of-the-next-mux", Distribution._pairs, "self.level1[row][p]",
     "self.level1[row][p - 1]", test_hw_distribution.test_every_select_of_a_row),
    ("merged-groups-swapped", Merging.elaborate, "self.merged[j *",
     "self.merged[(len(level) - 1 - j) *", test_hw_merging.test_matches_golden, BASE),
    ("merges-the-wrong-sub-macros", Merging.elaborate, "zip(level[::2], level[1::2]",
     "zip(level[:len(level) // 2], level[len(level) // 2:]",
     test_hw_merging.test_matches_golden, BASE.replace(sub_macros=4)),
    ("accumulator-ignores-first", Accumulator.elaborate, "Mux(tag.first, 0, read.data[lane])",
     "read.data[lane]", test_hw_accumulator.test_matches_golden, BASE),
    ("accumulator-stores-last", Accumulator.elaborate, "self.merged.valid & ~tag.last",
     "self.merged.valid", test_hw_accumulator.test_a_sum_is_stored_in_the_cycle_it_arrives),
    ("rounds-half-up", requantizer._rounded, "(half & (sticky | floor[0]))", "half",
     test_hw_requantizer.test_every_remainder_rounds_half_to_even, 1),
    ("sticky-bit-lost", requantizer._rounded, "(sticky | floor[0])", "floor[0]",
     test_hw_requantizer.test_every_remainder_rounds_half_to_even, 2),
    ("saturation-lost", requantizer._rounded, "rounded > high", "rounded > high + 1",
     test_hw_requantizer.test_saturates_exactly_at_the_ends, BASE),
    ("bias-too-narrow", requantizer._biased, "max(config.acc_bits, 32) + 1", "config.acc_bits",
     test_hw_requantizer.test_corners, BASE),
]
CONTROL = [
    ("stall-lost", Macro.elaborate, "~self.merged.valid | self.merged.ready", "1",
     test_hw_macro.test_a_stall_freezes_the_whole_pipeline, BASE),
    ("released-a-cycle-early", Macro.elaborate,
     'stage1["valid"] & stage1["release"] & move', "self.vectors.release & self.vectors.ready",
     test_hw_macro.test_released_is_one_pulse_at_the_last_read_of_the_bank, BASE),
    ("released-while-stalled", Macro.elaborate, 'stage1["release"] & move', 'stage1["release"]',
     test_hw_macro.test_a_stall_freezes_the_whole_pipeline, BASE),
    ("every-step-is-first", Macro._step_tag, " & (self.step == 0)", "",
     test_hw_macro.test_matches_golden_in_every_mode, PAIR),
    ("column-mask-of-the-next-sub-macro", Macro._merge, "word_select(p, cfg.cols)",
     "word_select(p ^ 1, cfg.cols)", test_hw_macro.test_matches_golden_in_every_mode, PAIR),
    ("drain-one-beat-more", Drain.elaborate, "(beats >> self.totals.group_log2) - 1",
     "beats >> self.totals.group_log2", test_hw_drain.test_matches_golden, NARROW, 0),
    ("drain-beats-ignore-G", Drain.elaborate, "(beats >> self.totals.group_log2) - 1", "beats - 1",
     test_hw_drain.test_matches_golden, BASE, 0),
    ("drain-loses-a-stalled-beat", Drain.elaborate, "m.If(valid & advance)",
     "m.If(valid)", test_hw_drain.test_matches_golden, BASE, 0.5),
    ("requantizer-slips", RequantizerPipeline.elaborate, "m.If(self.advance)", "m.If(1)",
     test_hw_drain.test_matches_golden, BASE, 0.5),
    ("raw-is-rounded", RequantizerPipeline.elaborate, "Mux(self.raw, 0, p.shift)", "p.shift",
     test_hw_drain.test_matches_golden, BASE, 0),
    ("drain-last-of-no-command", Drain.elaborate, 'held["end"] & last', "last",
     test_hw_tile.test_last_marks_the_last_beat_of_every_command, BASE),
    ("scale-of-another-lane", Drain._lanes, "self.write.en << lane", "self.write.en",
     test_hw_drain.test_matches_golden, BASE, 0),
    ("pending-one-row-less", ActivationBuffer.elaborate, "< task.row + task.count",
     "< task.row + task.count - 1",
     test_hw_activation_buffer.test_a_row_is_pending_until_the_cycle_after_its_last_beat, BASE),
    ("pending-one-row-late", ActivationBuffer.elaborate, "self.read_row >= task.row",
     "self.read_row > task.row",
     test_hw_activation_buffer.test_a_row_is_pending_until_the_cycle_after_its_last_beat, BASE),
    ("window-row-off-by-one", ActivationBuffer._memory, "lane.write_row.eq(row)",
     "lane.write_row.eq(row + 1)", test_hw_activation_buffer.test_reads_what_was_loaded, BASE, 0),
    ("stale-bank-stays-ready", WeightLoader._queue, "self.ready[bank].eq(0)",
     "self.ready[bank].eq(1)",
     test_hw_weight_loader.test_claimed_ends_ready_and_released_ends_occupied, 0),
    ("stale-bank-is-computed", WeightLoader._queue, "self.ready[bank].eq(0)",
     "self.ready[bank].eq(1)", _CYCLES, BASE),
    ("occupied-bank-overwritten", WeightLoader._queue,
     " & ~occupied.bit_select(queue.bank, 1)", "",
     test_hw_weight_loader.test_the_same_bank_twice_waits_for_the_release),
    ("bank-being-filled-overwritten", WeightLoader._queue, " & ~filling", "",
     test_hw_weight_loader.test_a_task_for_the_bank_being_filled_waits),
    ("weights-of-the-wrong-part", WeightLoader._write, "p // cfg.load_rows",
     "p // cfg.load_rows ^ 1", test_hw_weight_loader.test_every_beat_reaches_its_rows,
     BASE.replace(load_rows=1)),
    ("queued-weights-discarded", WeightLoader.elaborate, "self.discard & self.idle",
     "self.discard", test_hw_tile_errors.test_a_queued_load_still_gets_its_weights_after_an_error),
]
PROGRAMS = [
    ("output-timer-late", Issue._timers, "busy_cycles + beats - 1", "busy_cycles + beats",
     _CYCLES, NARROW.replace(act_slice=4)),
    ("output-timer-early", Issue._timers, "output <= busy_cycles", "output <= busy_cycles + 1",
     test_hw_issue.test_windows_are_read_as_rule_5_says, NARROW),
    ("macro-timer-late", Issue._timers, "macro.eq(busy_cycles - 1)", "macro.eq(busy_cycles)",
     _CYCLES, TWO),
    ("pending-ignored", Issue.elaborate, " & ~self.pending", "",
     test_hw_issue.test_a_window_still_being_loaded_is_waited_for),
    ("released-by-every-vector", Issue._present, "task.release & last_window", "task.release",
     _CYCLES, BASE),
    ("stride-ignored", Issue.elaborate, "task.row + task.stride", "task.row + 1",
     test_hw_issue.test_windows_are_read_as_rule_5_says, BASE),
    ("error-not-sticky", Sequencer._check, "valid & ~self.discard & (check", "valid & (check",
     test_hw_sequencer.test_an_error_stops_the_program_and_is_sticky),
    ("work-after-an-error", Sequencer.elaborate, "valid & ~self.discard & ~failed",
     "valid & ~failed", test_hw_sequencer.test_an_error_stops_the_program_and_is_sticky),
    ("clear-with-work-under-way", Sequencer.elaborate, "self.clear & self.drained & ~valid",
     "self.clear & ~valid", test_hw_sequencer.test_clear_waits_until_everything_is_drained),
    ("command-lost-beside-clear", Sequencer.elaborate, " & ~self.cleared", "",
     test_hw_sequencer.test_a_command_that_comes_with_clear_waits_a_cycle),
    ("end-does-not-wait", Sequencer._dispatch, "(drained_op & self.drained)", "drained_op",
     _CYCLES, BASE),
    ("release-not-tracked", Sequencer._check, "& command.release", "& 0",
     test_hw_sequencer.test_banks_are_judged_in_program_order,
     [test_hw_sequencer.LOAD[0], test_hw_sequencer.compute(), test_hw_sequencer.compute()],
     ErrorCode.NO_WEIGHTS),
    ("last-window-refused", Check._checks_of_word, "windows_end > cfg.act_depth",
     "windows_end >= cfg.act_depth", test_hw_check.test_agrees_with_the_table, BASE),
    ("judges-the-next-command", Check.elaborate, "_checks_of_order(held)",
     "_checks_of_order(self.command)", test_hw_check.test_agrees_with_the_table, BASE),
    ("later-error-wins", Check._first, "reversed(checks)", "checks",
     test_hw_check.test_agrees_with_the_table, BASE),
    ("address-accepted", Check._checks_of_word, "(windows_end > cfg.act_depth)",
     "(windows_end > cfg.act_depth + 1)", test_hw_tile_errors.test_every_error_of_the_table, BASE,
     LoadActs(row=8, count=1, beats=1), ErrorCode.ADDRESS),
    ("nonzeros-of-both-loads", Counters.elaborate, "Mux(self.weight_first, 0, live[bank])",
     "live[bank]", test_hw_counters.test_an_empty_and_a_full_bank, BASE, 1),
    ("index-counted-as-weight", DcimTile._nonzero, "stored.word_select(j, cfg.weight_bits).any()",
     "stored.any()", _CYCLES, BASE),
    ("wrong-bank-released", DcimTile._connect_banks, "released_bank.eq(macro.released_bank)",
     "released_bank.eq(~macro.released_bank)", _CYCLES, BASE),
]
LIMITS = [
    ("reset-forgets-the-slice", Macro._count, "Signal(range(max(2, cfg.slices)))",
     "Signal(range(max(2, cfg.slices)), reset_less=True)", test_hw_tile.test_reset_in_flight, TWO,
     {}),
    ("reset-forgets-occupied-banks", WeightLoader._queue, "occupied, start = Signal(2), Signal()",
     "occupied, start = Signal(2, reset_less=True), Signal()", test_hw_tile.test_reset_in_flight,
     TWO, {}),
    ("reset-forgets-that-the-macro-is-free", Issue._timers, "macro = Signal(range(longest + 1))",
     "macro = Signal(range(longest + 1), reset_less=True)", test_hw_tile.test_reset_in_flight,
     PAIR.replace(act_slice=1), {}),
    ("stall-without-a-result", DcimTile._connect_counters,
     "(self.results.valid & ~self.results.ready)", "~self.results.ready",
     test_hw_tile.test_random_programs_with_stalls, BASE),
    ("starved-after-end", Sequencer._run, " & ~ended", "",
     test_hw_tile.test_random_programs_with_stalls, BASE),
    ("load-rows-of-7-bits", LoadActsLayout.__init__, '"row": 16', '"row": 7', _DEPTH),
    ("load-counts-of-7-bits", LoadActsLayout.__init__, '"count": 16', '"count": 7', _DEPTH),
    *((f"compute-{name}-of-7-bits", ComputeLayout.__init__, f'"{name}": 16', f'"{name}": 7', _DEPTH)
      for name in ("row", "stride", "count", "acc")),
    ("sums-stored-in-128-rows", Accumulator.elaborate, "write.addr.eq(tag.acc)",
     "write.addr.eq(tag.acc[:7])", _DEPTH),
    ("position-of-7-bits", Sequencer.elaborate, "Signal(32)", "Signal(7)",
     test_hw_tile_limits.test_the_position_of_a_late_error),
    ("bias-of-24-bits", Sequencer._dispatch, "bias.eq(command.bias)",
     "bias.eq(command.bias[:24].as_signed())",
     test_hw_sequencer.test_set_requantize_reaches_the_drain, -1 << 31),
    ("shift-of-5-bits", Sequencer._dispatch, "shift.eq(command.steps)",
     "shift.eq(command.steps[:5])",
     test_hw_sequencer.test_set_requantize_reaches_the_drain, -5),
    ("last-window-of-24-bits", Check._checks_of_word, "c.row + c.stride * (c.count - 1)",
     "(c.row + c.stride * (c.count - 1))[:24]", test_hw_check.test_borders_of_a_compute,
     dict(row=0, stride=0x8000, count=0x201), ErrorCode.ADDRESS),
    ("windows-end-of-16-bits", Check._checks_of_word, "c.row + c.count", "(c.row + c.count)[:16]",
     test_hw_check.test_agrees_with_the_table, BASE),
    ("N-of-4-bits", mode_value, "(mode.n |", "(mode.n & 15 |",
     test_hw_check.test_agrees_with_the_table, WIDEST[0]),
    ("N-of-4-bits-distributed", Distribution._chosen, "mode_value(mode) for",
     "mode_value(mode) & ~16 for", test_hw_distribution.test_every_mode_gives_every_slot_its_block,
     WIDEST[0]),
    ("two-weights-of-a-unit-counted", DcimTile._nonzero, "range(cfg.index_share)",
     "range(min(2, cfg.index_share))", _CYCLES, WIDEST[2]),
    ("steps-lost-on-release", Sequencer._check, "m.d.sync += loaded[bank].eq(0)",
     "m.d.sync += [loaded[bank].eq(0), steps[bank].eq(0)]", _CYCLES, PAIR),
    ("steps-kept-on-clear", Sequencer._check,
     "[loaded.eq(0), *(count.eq(0) for count in steps)]", "loaded.eq(0)",
     test_hw_sequencer.test_clear_forgets_banks_and_selects),
    ("lanes-beyond-a-beat-keep-their-contents", ActivationBuffer._memory, "first | (beat == i)",
     "beat == i", test_hw_activation_buffer.test_reads_what_was_loaded, BASE, 0),
    ("lanes-beyond-a-beat-repeat-it", ActivationBuffer._memory, "beyond if i else ", "",
     test_hw_activation_buffer.test_reads_what_was_loaded, BASE, 0),
]
BUGS = [*ARITHMETIC, *CONTROL, *PROGRAMS, *LIMITS]


@pytest.mark.parametrize("bug", BUGS, ids=name_of)
def test_the_bug_is_caught(bug, monkeypatch):
    check_caught(bug, monkeypatch)


def test_every_test_that_notices_passes_without_a_bug():
    check_without_bugs({name_of(bug).partition("> ")[2]: bug for bug in BUGS}.values())


def test_a_piece_that_is_gone_is_noticed():
    with pytest.raises(AssertionError, match=r"'no such text' is 0 times in Column\._addends"):
        with_bug(Column._addends, "no such text", "")
