"""Keeping a solver's own messages off the standard output, which belongs to the caller."""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["no_solver_output"]


@contextmanager
def no_solver_output() -> Iterator[None]:
    """Discard what C code writes to the standard output while the block runs.

    HiGHS prints from some corners of its integer programs whatever its options say
    ("transformNewIntegerFeasibleSolution tmpSolver.run()"), past `sys.stdout`; a program that reads
    what ``cimforge`` prints would find that in it. What goes wrong is in the status all the same.
    """
    sys.stdout.flush()
    flush = ctypes.CDLL(None).fflush  # C has a buffer of its own
    flush(None)
    try:
        saved = os.dup(1)
    except OSError:  # closed, so that nothing can reach it
        yield
        return
    try:
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 (a device, no path)
            os.dup2(nowhere.fileno(), 1)
        yield
    finally:
        flush(None)
        os.dup2(saved, 1)
        os.close(saved)
