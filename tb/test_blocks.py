"""Every block's RTL against the golden function of its name, on two configurations.

A bench is ``tb/<block>_bench.py``; what it checks is in its docstrings. Both configurations have
every parameter at different values; ``single`` is the smallest tile there is.
"""

import pytest

from tb.designs import BLOCKS

pytestmark = pytest.mark.verilator

FIRST = [f"{block}/tiny_pair" for block in BLOCKS]
SECOND = [f"{block}/narrow" for block in BLOCKS]
EDGES = ["requantizer/tiny", "column/serial", "drain/single", "distribution/single"]


@pytest.mark.parametrize("design", [*FIRST, *SECOND, *EDGES])
def test_block(run_block):
    run_block()
