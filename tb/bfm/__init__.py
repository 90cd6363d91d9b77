"""Bus models that benches share; streams live in :mod:`cimforge_verif.sim`, for the API as well."""

from cimforge_verif.sim.bfm import (
    Agent,
    Bench,
    Scoreboard,
    Stream,
    StreamDriver,
    StreamMonitor,
    StreamSink,
    beats_of,
    ints_of,
)
from cimforge_verif.sim.stalls import always_ready, bursts, random_stalls, stall_pattern
from tb.bfm.ports import (
    Beat,
    FieldStream,
    block_config,
    drive,
    drive_array,
    join,
    low_bits,
    mode_bits,
    read_array,
    settle,
    signed,
    split,
)

__all__ = [
    "Agent", "Beat", "Bench", "FieldStream", "Scoreboard", "Stream", "StreamDriver",
    "StreamMonitor", "StreamSink", "always_ready", "beats_of", "block_config", "bursts", "drive",
    "drive_array", "ints_of", "join", "low_bits", "mode_bits", "random_stalls", "read_array",
    "settle", "signed", "split", "stall_pattern",
]
