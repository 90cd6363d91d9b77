"""Ctrl-C while modules are imported: it waits until the import is done."""

import signal
import threading
from types import FrameType
from typing import Any

__all__ = ["INTERRUPTED", "wait_for_imports"]

INTERRUPTED = 130  # as a shell reports a program that SIGINT ended

_IMPORTING = "<frozen importlib._bootstrap>"
_AGAIN = 0.05  # seconds


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTING:
            return True
        frame = frame.f_back
    return False


def _interrupt(_signal: int, frame: Any) -> None:
    if _importing(frame):
        signal.setitimer(signal.ITIMER_REAL, _AGAIN)  # whose signal comes here, too
        return
    raise KeyboardInterrupt


def wait_for_imports() -> None:
    """Let SIGINT raise KeyboardInterrupt as always, but not inside an import.

    Importing torch and transformers takes seconds, and an exception in the middle of it ends as
    anything: an abort from C++ code that calls Python, a RecursionError, an import that others
    believe failed. A program that leaves SIGINT ignored (a job in the background) keeps it so.
    """
    if (threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler):
        signal.signal(signal.SIGALRM, _interrupt)
        signal.signal(signal.SIGINT, _interrupt)
