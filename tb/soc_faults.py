"""Faults of a tile on a bus, put into its Verilog all at once; ``+fault=N`` wakes the N-th of them.

So one build serves for all. Each has the test of ``soc_bench.py`` that must notice it.
"""

import re
from dataclasses import dataclass

__all__ = ["FAULTS", "Fault", "with_faults"]


@dataclass(frozen=True)
class Fault:
    """A piece of a module that says something else while the fault is awake.

    Attributes
    ----------
    module : str
        Without the top's name.
    instance : str
        Whose input is meant, if ``module`` is not where it is computed.
    signal : str
        Input of the instance; or what is assigned in the module.
    instead : str
        Verilog: ``X`` is what the signal would be, ``F`` is whether the fault is awake, ``NOW`` is
        high in every seventh cycle of that.
    notices : str
        Name of the test.
    was : tuple of (name, expression)
        A flip-flop that ``instead`` needs, and what it remembers.
    second : tuple of (signal, instead)
        Of the same module.
    """

    instance: str
    signal: str
    instead: str
    notices: str
    module: str = ""
    was: tuple[str, ...] = ()
    second: tuple[str, ...] = ()


_SWAP = "F & was_ready & ~tready & beats__valid & ~beats__ready"

FAULTS = {
    "a result beat is lost": Fault(
        "results_port", "results__valid", "X & ~NOW", "random_transactions"),
    "a result beat comes twice": Fault(
        "tile", "results__ready", "X & ~NOW", "random_transactions"),
    "an activation beat is lost": Fault(
        "acts_port", "beats__ready", "X | NOW", "random_transactions"),
    "a weight beat goes in twice": Fault(
        "weights_port", "beats__ready", "X & ~NOW", "random_transactions"),
    "two activation beats are swapped": Fault(
        "", "beats__payload", f"({_SWAP}) ? spare : X", "random_transactions", module="act_port",
        was=("was_ready", "tready"), second=("spare", f"({_SWAP}) ? beats__payload : X")),
    "a packet is not ended": Fault(
        "", "tlast", "X & ~NOW", "random_transactions", module="result_port"),
    "a response is dropped": Fault(
        "", "bvalid", "X & ~(NOW & bvalid & ~bready)", "random_transactions", module="axi_lite"),
    "beats are not cleared": Fault(
        "acts_port", "clear", "X & ~F", "illegal_programs"),
    "done before the results have left": Fault(
        "", "done", "F ? close & busy : X", "interrupts", module="control"),
    "commands are held up": Fault(
        "", "open", "X & ~NOW", "predicted_cycles", module="control"),
    "commands that nobody let in": Fault(
        "", "open", "X | F", "one_program_per_start", module="control"),
    "the interrupt stays": Fault(
        "", "irq", "X | (F & irq)", "interrupts", module="registers"),
    "the interrupt never comes": Fault(
        "", "irq", "X & ~F", "interrupts", module="registers"),
    "a register further on": Fault(
        "axi_lite", "awaddr", "X ^ {9'd0, F, 2'd0}", "registers"),
    "the error is not kept": Fault(
        "registers", "error_code", "X & ~{4{F & had_error}}", "illegal_programs",
        was=("had_error", "|tile__error")),
    "the tile is never cleared": Fault(
        "tile", "clear", "X & ~F", "illegal_programs"),
    "a short packet is not reported": Fault(
        "", "short", "X & ~F", "malformed_packets", module="weight_port"),
    "what is too long goes in": Fault(
        "", "deliver", "X | (F & judged & surplus)", "malformed_packets", module="act_port"),
    "half a beat is not reported": Fault(
        "", "partial", "X & ~F", "malformed_packets", module="command_port"),
    "a cut packet stays open": Fault(
        "results_port", "flush", "X & ~F", "soft_reset_in_flight"),
    "a soft reset that one port ignores": Fault(
        "weights_port", "flush", "X & ~F", "soft_reset_in_flight"),
    "a soft reset that does not wait": Fault(
        "control", "unsettled", "X & ~F", "soft_reset_without_the_rest"),
    "a port that no reset reaches": Fault(
        "weights_port", "rst", "X & ~F", "hard_reset_in_flight"),
}
_HEAD = "  integer fault;\n  reg [2:0] lot = 0;\n"
_END = """  initial if (!$value$plusargs("fault=%d", fault)) fault = 0;
  always @(posedge clk) lot <= lot == 6 ? 3'd0 : lot + 3'd1;
"""


def with_faults(text: str, top: str = "dcim_soc") -> str:
    """Return the Verilog of a tile on a bus with every fault in it, all asleep."""
    begun = set()
    for number, fault in enumerate(FAULTS.values(), 1):
        name = f"{top}_{fault.module}" if fault.module else top
        body = re.search(rf"^module {name}\(.*?^endmodule", text, re.MULTILINE | re.DOTALL)[0]
        spoilt = _spoil(body, top, number, fault.instance, fault.signal, fault.instead)
        if fault.second:
            spoilt = _spoil(spoilt, top, number, fault.instance, *fault.second)
        head, end = ("", "") if name in begun else (_HEAD, _END)
        if fault.was:
            head += f"  reg {fault.was[0]} = 0;\n"
            end += f"  always @(posedge clk) {fault.was[0]} <= {fault.was[1]};\n"
        begun.add(name)
        spoilt = spoilt.replace(");\n", f");\n{head}", 1).removesuffix("endmodule")
        text = text.replace(body, f"{spoilt}{end}endmodule")
    return text


def _spoil(body: str, top: str, number: int, instance: str, signal: str, instead: str) -> str:
    """Replace what a signal is, in the one place where that is said."""
    awake = f"(fault == {number})"
    new = re.sub(r"\bF\b", awake, re.sub(r"\bNOW\b", f"({awake} & lot == 0)", instead))
    place = (rf"(^  {top}_\w+ {instance} \((?:(?!\);).)*?^    \.{signal}\()([^\n]*)(\),?$)"
             if instance else rf"(^ *(?:assign {signal} =|{signal} <=) )([^\n]*?)( ?;$)")

    def replaced(found: re.Match) -> str:
        # With a space, which ends the names that Yosys makes up.
        return found[1] + re.sub(r"\bX\b", lambda _: f"({found[2]} )", new) + found[3]

    spoilt, count = re.subn(place, replaced, body, flags=re.MULTILINE | re.DOTALL)
    assert count == 1, f"{signal} is {count} times in {instance or 'the module'}"
    return spoilt
