"""Programs of either tile through its library: several tiles in parallel, compared to the bit."""

import os
import random
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Semaphore

import numpy as np

from cimforge_verif.batch.build import build_library
from cimforge_verif.batch.library import INPUTS, Outcome, Status, Tile, TileLibrary
from cimforge_verif.sim.build import BUILDS

__all__ = ["Check", "Program", "explain", "run_programs", "stall_masks", "usable_cores"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Program:
    """What goes into a tile and must come out of it.

    Attributes
    ----------
    name : str
    streams : dict of str to ndarray of uint8, shape (beats, bytes)
        ``commands``, ``weights`` and ``acts``.
    results : ndarray of uint8, shape (beats, bytes)
        Payloads, the ``last`` flag above all lanes.
    limit : int
        Cycles after which it counts as hung.
    end : int
        Opcode of its last command.
    """

    name: str
    streams: dict[str, np.ndarray]
    results: np.ndarray
    limit: int
    end: int


#: Called with the tile after a program, and its outcome; raises what is wrong.
Check = Callable[[Tile, Outcome], None]


def run_programs(rtl: Sequence[Path] | Mapping[str, str], top: str,
                 work: Iterable[tuple[Program, Check]], *, rates: Mapping[str, float], seed: int,
                 workers: int | None, watch: int = 64, root: Path = BUILDS,
                 done: Callable[[str], None] = lambda name: None) -> None:
    """Run programs, each from reset; the first failure ends it.

    Parameters
    ----------
    rtl, top, root
        As for :func:`cimforge_verif.sim.build.build`.
    work : iterable of (Program, Check)
        Taken as tiles get free, so that a generator holds few programs at a time; it makes the next
        one while tiles run. Checks are called on the thread of the tile.
    rates : mapping of stream to float
        Probability of a stall.
    seed : int
        Of the stalls; cocotb's benches stall in the same cycles.
    workers : int, optional
        Tiles at once; default: as many as cores.
    watch : int
        Cycles to look for surplus results.
    done : callable
        Called with the name of each program that passed.
    """
    library = TileLibrary(build_library(rtl, top, root=root))
    workers = max(1, workers or usable_cores())
    free = Semaphore(2 * workers)  # one program runs on each tile, and one waits
    tiles: SimpleQueue[Tile] = SimpleQueue()

    def run(program: Program, check: Check) -> None:
        try:
            tile = tiles.get_nowait()
        except Empty:
            tile = library.tile()
        try:
            check(tile, tile.run(
                program.streams, program.results, limit=program.limit, watch=watch,
                stalls=stall_masks(rates, seed, program.limit + watch), end=program.end))
        finally:
            tiles.put(tile)
            free.release()
        done(program.name)

    with ThreadPoolExecutor(workers) as pool:
        running: deque[Future[None]] = deque()
        try:
            for program, check in work:
                free.acquire()
                while running and running[0].done():
                    running.popleft().result()
                running.append(pool.submit(run, program, check))
            for future in running:
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def stall_masks(rates: Mapping[str, float], seed: int, cycles: int) -> dict[str, np.ndarray]:
    """Return when each stream waits, bool [cycles], as :mod:`cimforge_verif.sim.stalls` says it.

    Streams that never do are left out.
    """
    return {name: _random_mask(f"{seed}/{name}", rate, cycles)
            for name, rate in rates.items() if rate}


def _random_mask(seed: str, probability: float, cycles: int) -> np.ndarray:
    """Return the first elements of :func:`~cimforge_verif.sim.stalls.random_stalls`.

    NumPy's legacy generator is Python's, number for number, from the same state.
    """
    _, state, _ = random.Random(seed).getstate()
    source = np.random.RandomState()
    source.set_state(("MT19937", np.array(state[:-1], dtype=np.uint32), state[-1], 0, 0.0))
    return source.random_sample(cycles) < probability


def explain(outcome: Outcome, program: Program, error: Callable[[], str]) -> str | None:
    """Return what is wrong with an outcome in words; None for nothing but a wrong result beat."""
    came, all_ = len(outcome.results), len(program.results)
    if outcome.status is Status.HUNG:
        sent = ", ".join(f"{outcome.sent[name]} of {len(program.streams[name])} {name}"
                         for name in INPUTS)
        return (f"not done after {outcome.cycles} cycles: {came} of {all_} result beats came, "
                f"{sent} were taken")
    return {Status.SURPLUS: f"surplus result beat {came} after all {all_} expected ones",
            Status.PROTOCOL: f"results: valid was dropped before beat {came} was taken",
            Status.ERROR: f"the tile reports {error()}"}.get(outcome.status)
