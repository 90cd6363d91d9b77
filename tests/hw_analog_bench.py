"""Whole programs through an analog tile on Amaranth's simulator, compared with the golden model."""

import numpy as np
from hw_support import clock_domain, peek, simulate
from hw_tile_bench import TileBench

from cimforge.spec.analog.commands import AnalogOpcode
from cimforge.spec.analog.config import AnalogConfig
from cimforge.spec.analog.timing import cycles
from cimforge_hw.analog.counters import COUNTERS
from cimforge_hw.analog.tile import AnalogTile
from cimforge_verif import analog

#: The smallest tile but for its two arrays; and one with most parameters at other values.
TINY = AnalogConfig(arrays=2, array=8, grain=2, port=1, adcs=4, t_settle=1, act_depth=64,
                    acc_depth=48, requantizers=2)
OTHER = AnalogConfig(arrays=3, array=16, grain=4, port=2, adcs=8, adc_bits=3, cell_bits=2,
                     t_settle=2, t_conv=2, act_depth=99, acc_depth=70, requantizers=3,
                     dither=0xACE1)
SMALLEST = AnalogConfig(arrays=1, array=8, grain=1, port=1, adcs=1, adc_bits=1, cell_bits=8,
                        t_settle=1, t_conv=1, act_depth=8, acc_depth=8, requantizers=1)


def analog_ids(config):
    """Return what of a configuration differs from TINY, as the id of a test."""
    base = TINY.to_dict()
    known = {"smallest": SMALLEST, "other": OTHER}
    return next((name for name, other in known.items() if other == config), ",".join(
        f"{name}={value}" for name, value in config.to_dict().items() if value != base[name])
        or "tiny")


class AnalogBench(TileBench):
    """The bench of the digital tile, with what the analog one has instead."""

    Model, counter_names, end = analog.AnalogTile, COUNTERS, AnalogOpcode.END

    @property
    def lanes(self):
        """Results per beat."""
        return self.config.port

    def compare(self, program, outcome):
        """Compare results, errors and flags with the model, which runs the program too."""
        super().compare(program, outcome)
        wanted = self.model.illegal
        assert self.illegal() == ((0, 0) if wanted is None else (1, wanted))
        assert peek(self.ctx, self.dut.saturated) == self.model.saturated

    def illegal(self):
        """Return the flag and the position that goes with it."""
        return peek(self.ctx, self.dut.illegal), peek(self.ctx, self.dut.illegal_position)


def run_analog(config, bench, stalls=None, seed=0):
    """Simulate ``await bench(AnalogBench, rng)``."""
    dut, reset = AnalogTile(config), clock_domain()

    async def testbench(ctx):
        await bench(AnalogBench(ctx, dut, reset, stalls, seed), np.random.default_rng(seed))

    simulate(dut, testbench, reset=reset)


async def run_and_check(b, program, limit=20000):
    """Run a program on a tile that counts from zero; compare everything there is."""
    b.send(program)
    outcome = await b.finish(limit=limit)
    b.compare(program, outcome)
    b.check_counters(cycles(b.config, program.commands))
    return outcome
