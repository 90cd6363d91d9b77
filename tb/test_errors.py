"""Illegal commands, reset and silence: the tile reports, recovers and never hangs."""

import pytest

pytestmark = pytest.mark.verilator


@pytest.mark.parametrize("design", ["tile/tiny", "tile/narrow", "tile/tiny_pair"])
def test_errors(run_block):
    """Every error code, then ``clear`` and a correct program; reset at any time."""
    run_block("tb.errors_bench")
