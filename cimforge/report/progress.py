"""Progress bars of long work, on the terminal's error stream."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Lock

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress

__all__ = ["Bar", "Progress", "over_layers", "over_names", "progress"]


class Bar:
    """One stage's bar."""

    def __init__(self, rich: RichProgress, task):
        self._rich, self._task = rich, task

    def advance(self) -> None:
        """Count one more item."""
        self._rich.advance(self._task)

    def at(self, done: int) -> None:
        """Show ``done`` items."""
        self._rich.update(self._task, completed=done)

    def of(self, done: int, total: int, *_name: object) -> None:
        """Show ``done`` of ``total`` items; what the library calls back with."""
        self._rich.update(self._task, completed=done, total=total)


class Progress:
    """Bars of several stages, one below the other."""

    def __init__(self, rich: RichProgress):
        self._rich = rich

    @contextmanager
    def task(self, name: str, total: int | None, transient: bool = False) -> Iterator[Bar]:
        """Show a bar while its stage runs; complete when the stage ends without an error.

        A transient one then goes away: for the many parts of a stage that has a bar itself.
        """
        task = self._rich.add_task(name, total=total)
        yield Bar(self._rich, task)
        if transient:
            self._rich.remove_task(task)
            return
        end = next(known.total for known in self._rich.tasks if known.id == task) or 1
        self._rich.update(task, total=end, completed=end)


@contextmanager
def progress() -> Iterator[Progress]:
    """Show progress bars; where the output is no terminal, each stage once, when it is done."""
    console = Console(stderr=True)
    with RichProgress(TextColumn("{task.description:24}"), BarColumn(), MofNCompleteColumn(),
                      TimeElapsedColumn(), console=console) as rich:
        yield Progress(rich)


def over_layers(beats: Mapping[str, int],
                report: Callable[[int, int, str], object]) -> Callable[[str, int, int], None]:
    """Return what a simulation of layers one after the other calls back with.

    Parameters
    ----------
    beats : mapping of str to int
        Result beats of every layer, in the order in which they run.
    report : callable
        Called with (beats so far, beats of all layers, name of the layer).
    """
    names, total = list(beats), sum(beats.values())

    def call(layer: str, done: int, _of_layer: int) -> None:
        before = sum(beats[name] for name in names[:names.index(layer)])
        report(before + done, total, layer)
    return call


def over_names(total: int, report: Callable[[int, int, str], object] | None
               ) -> Callable[[str], None]:
    """Return what a simulation of several layers at once calls back with, by name.

    Parameters
    ----------
    total : int
        Layers.
    report : callable, optional
        Called with (layers done, all layers, name of the layer).
    """
    done = 0
    lock = Lock()  # several threads end layers

    def call(layer: str) -> None:
        nonlocal done
        with lock:
            done += 1
            if report is not None:
                report(done, total, layer)
    return call
