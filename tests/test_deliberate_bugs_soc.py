"""Bugs put into the wrapper on purpose: the test named beside each of them must fail.

Those that only a whole tile shows are in ``tb/test_soc.py``.
"""

import pytest
import test_hw_soc_bus
import test_hw_soc_ports
from hw_deliberate import check_caught, check_without_bugs, name_of

from cimforge_hw.soc.axi_lite import AxiLite
from cimforge_hw.soc.input_port import InputPort
from cimforge_hw.soc.registers import Registers
from cimforge_hw.soc.result_port import ResultPort

_ORDER = test_hw_soc_ports.check_packets_in_order
_LENGTHS = test_hw_soc_ports.test_lengths_and_holes
_FLUSH = test_hw_soc_ports.test_a_flush_takes_the_rest_of_the_packet_and_no_more
_RESULTS = test_hw_soc_ports.test_results_in_order
_CUT = test_hw_soc_ports.test_a_cut_packet_is_ended
_ACCESSES = test_hw_soc_bus.check_random_accesses
_INTERRUPTS = test_hw_soc_bus.check_interrupts
_CONTROL = test_hw_soc_bus.test_control_acts_for_one_cycle_or_refuses

#: Name, method, what it says, what it says instead, the test that notices, its arguments.
BUGS = [
    ("a-beat-lost-when-both-places-fill", InputPort._hold, "spare_valid.eq(1), spare.eq",
     "spare_valid.eq(0), spare.eq", _ORDER, 0.5),
    ("a-beat-twice", InputPort._hold, "| deliver), spare_valid.eq(0)", "| deliver)", _ORDER, 0.5),
    ("the-second-place-never-read", InputPort._hold, "Mux(spare_valid, spare, self.tdata)",
     "self.tdata", _ORDER, 0.5),
    ("ready-though-full", InputPort._hold, "~(waits & (spare_valid | deliver))", "~spare_valid",
     _ORDER, 0.5),
    ("half-the-beats", InputPort._hold, "~(waits & (spare_valid | deliver))",
     "~(valid | spare_valid | deliver)", test_hw_soc_ports.test_a_beat_per_cycle),
    ("drops-counted-as-passed", InputPort.elaborate, "(take & ~deliver)", "0", _LENGTHS),
    ("surplus-passed-on", InputPort._packet, "judged & whole & ~surplus", "judged & whole",
     _LENGTHS),
    ("one-beat-too-many", InputPort._packet, "index >= self.length", "index > self.length",
     _LENGTHS),
    ("every-surplus-beat-an-error", InputPort._packet, " & (index == self.length)", "", _LENGTHS),
    ("last-beat-always-short", InputPort._packet, "((index + whole) < self.length)",
     "(index < self.length)", _LENGTHS),
    ("holes-passed-on", InputPort._packet, "deliver.eq(judged & whole", "deliver.eq(judged",
     _LENGTHS),
    ("null-beats-malformed", InputPort._packet, " & self.tkeep.any()", "", _LENGTHS),
    ("counts-from-the-last-packet", InputPort._packet, "Mux(self.tlast, 0, index + whole)",
     "index + whole", _LENGTHS),
    ("a-flush-stops-in-the-packet", InputPort._hold, "(self.inside & ~ends) | begins", "begins",
     _FLUSH),
    ("a-flush-takes-the-next-packet", InputPort._hold,
     "((self.inside & ~ends) | begins) & ~self.forget", "1", _FLUSH),
    ("a-flush-keeps-beats", InputPort._hold, "[valid.eq(0), spare_valid.eq(0),\n",
     "[spare_valid.eq(0),\n", _FLUSH),
    ("forgets-nothing", InputPort._packet, "m.If(self.forget)", "m.If(0)",
     test_hw_soc_ports.test_forgetting_ends_a_packet_that_will_not_go_on),
    ("result-lost", ResultPort.elaborate, "m.Elif(comes)", "m.Elif(comes & self.open)", _RESULTS,
     0.6),
    ("result-changes-while-it-waits", ResultPort.elaborate, "m.If(~waits)", "m.If(1)", _RESULTS,
     0.6),
    ("last-of-the-wrong-beat", ResultPort.elaborate, "self.tlast.eq(Mux(spare_valid, spare, beat)",
     "self.tlast.eq(Mux(self.tvalid, spare, beat)", _RESULTS, 0.6),
    ("nulls-counted", ResultPort.elaborate, "moves & keep", "self.tvalid", _RESULTS, 0.6),
    ("a-flush-drops-what-waits", ResultPort.elaborate, "m.d.sync += spare_valid.eq(0)",
     "m.d.sync += [spare_valid.eq(0), self.tvalid.eq(still_open)]", _CUT, "flush", 0.6),
    ("a-cut-packet-stays-open", ResultPort.elaborate, "self.tvalid.eq(still_open)",
     "self.tvalid.eq(0)", _CUT, "flush", 0.0),
    ("an-end-too-many", ResultPort.elaborate, "self.tvalid.eq(still_open)",
     "self.tvalid.eq(self.open)", _CUT, "flush", 0.0),
    ("closes-before-the-last-beat", ResultPort.elaborate, "self.close & ~spare_valid & ~comes",
     "self.close", _CUT, "close", 0.6),
    ("strobes-ignored", AxiLite._write, "Cat(bit.replicate(8) for bit in strobe)", "0xFFFFFFFF",
     _ACCESSES, 0.0),
    ("address-and-data-together", AxiLite._write, "have_address & have_data &", "have_address &",
     _ACCESSES, 0.5),
    ("a-response-overwritten", AxiLite._read, "have_address & (~self.rvalid | self.rready)",
     "have_address", test_hw_soc_bus.test_a_response_waits_while_the_next_address_comes),
    ("a-response-dropped", AxiLite._write, "m.Elif(self.bready)", "m.Else()", _ACCESSES, 0.5),
    ("unmapped-is-fine", Registers._read, "Response.DECERR", "Response.OKAY", _ACCESSES, 0.0),
    ("read-only-is-fine", Registers._control,
     "Response.OKAY if register.writable else Response.SLVERR", "Response.OKAY", _ACCESSES, 0.0),
    ("the-wrong-address", Registers._written, "register.address // 4", "register.address // 8",
     _ACCESSES, 0.0),
    ("writes-ignore-strobes", Registers._kept, "self.write_mask & ", "", _ACCESSES, 0.0),
    ("reading-clears", Registers._kept, "(value & ~(data & mask)) | events", "events",
     _INTERRUPTS),
    ("clearing-wins-over-what-happens", Registers._kept, "(value & ~(data & mask)) | events",
     "(value | events) & ~(data & mask)", _INTERRUPTS),
    ("irq-without-enable", Registers.elaborate, 'kept["INTERRUPT_ENABLE"] & ', "", _INTERRUPTS),
    ("starts-although-refused", Registers._control, "written & ~refused", "written", _CONTROL),
    ("start-with-clear", Registers._control, "(~self.start_ok | wants[\"CLEAR\"])",
     "~self.start_ok", _CONTROL),
    ("halves-of-two-moments", Registers._read_only, "with m.If(self._snapshot):", "with m.If(1):",
     test_hw_soc_bus.test_a_snapshot_holds_both_halves_of_all_counters),
]


@pytest.mark.parametrize("bug", BUGS, ids=name_of)
def test_the_bug_is_caught(bug, monkeypatch):
    check_caught(bug, monkeypatch)


def test_every_test_that_notices_passes_without_a_bug():
    check_without_bugs({name_of(bug).partition("> ")[2] + repr(bug[5:]): bug
                        for bug in BUGS}.values())
