"""Bus models that benches share; their code is in :mod:`cimforge_verif.sim`, for the API."""

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

__all__ = [
    "Agent", "Bench", "Scoreboard", "Stream", "StreamDriver", "StreamMonitor", "StreamSink",
    "always_ready", "beats_of", "bursts", "ints_of", "random_stalls", "stall_pattern",
]
