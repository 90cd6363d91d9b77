"""``cimforge sweep``: what is not in the store is measured, then records, page and pictures."""

import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cimforge.report.progress import Bar, progress
from cimforge.report.records import write_records
from cimforge.report.sweep_page import sweep_page
from cimforge.report.sweep_plots import sweep_plots
from cimforge.spec.errors import ConfigError
from cimforge.spec.files import check_writable, write_atomic
from cimforge.sweep.cluster import Task, connected, outcomes
from cimforge.sweep.grid import Design, designs, label
from cimforge.sweep.measure import FRONTS, QUANTITIES
from cimforge.sweep.records import Point, cannot, model_points, sweep_records
from cimforge.sweep.request import Sweep, load_sweep
from cimforge.sweep.store import Outcome, Store

__all__ = ["Done", "run_sweep"]


@dataclass(frozen=True)
class Done:
    """What a sweep did.

    Attributes
    ----------
    page : Path
        The report; ``sweep.json`` and ``img`` are beside it.
    points, reused, damaged : int
        Of the sweep; those that were in the store; files there that were damaged.
    skipped : int
        Combinations that are no design, or that cannot run a model.
    seconds : float
        For what was measured now, start of the workers included.
    """

    page: Path
    points: int
    reused: int
    damaged: int
    skipped: int
    seconds: float

    @property
    def text(self) -> str:
        """What the command prints."""
        new = self.points - self.reused
        rate = f" in {self.seconds:.1f} s, {new / self.seconds:.0f} a second" if new else ""
        damaged = f", {self.damaged} damaged results replaced" if self.damaged else ""
        skipped = f"{self.skipped} skipped, see the report\n" if self.skipped else ""
        return (f"{self.points} points: {new} measured{rate}, {self.reused} were there{damaged}\n"
                f"{skipped}report: {self.page} and {self.page.with_suffix('.json')}\n")


def run_sweep(source: str | Path, out: Path, scheduler: str | None = None,
              workers: int | None = None) -> Done:
    """Measure all points of a sweep that were not measured before.

    Writes ``sweep.json``, ``sweep.md``, ``img/`` and ``store/`` with a file per point.

    Parameters
    ----------
    source : str or Path
        Name of a shipped sweep, or a YAML file.
    out : Path
        Folder of results.
    scheduler : str, optional
        Address of a running Dask scheduler; without it, this machine's cores.
    workers : int, optional
        Processes on this machine.

    Raises
    ------
    ConfigError, DataError
        A sweep that cannot be: see `load_sweep`, `designs` and `resolve`.
    ToolError
        Dask: see `connected` and `outcomes`.
    """
    if scheduler is not None and workers is not None:
        raise ConfigError("--workers is for this machine; with --scheduler, its workers run")
    sweep = load_sweep(source)
    found, skipped = designs(sweep)
    points = model_points(sweep, found)
    check_writable(out)
    store = Store(out / "store")
    known, damaged = store.load({point.digest for point in points})
    reused = sum(point.digest in known for point in points)
    start = time.monotonic()
    with progress() as bars, bars.task("points", len(points)) as bar:
        bar.at(reused)
        if reused < len(points):
            _measure(points, known, store, bar, scheduler, workers)
    seconds = time.monotonic() - start
    page = _report(sweep, found, skipped, points, known, out)
    unable = sum("cannot" in known[point.digest] for point in points)
    return Done(page, len(points), reused, damaged, len(skipped) + unable, seconds)


def _measure(points: list[Point], known: dict[str, Outcome], store: Store, bar: Bar,
             scheduler: str | None, workers: int | None) -> None:
    """Measure what is not known, keep it, and add it to what is; a task is a design."""
    missing: dict[str, dict[str, Point]] = {}  # a work of two models with equal layers counts once
    for point in points:
        if point.digest not in known:
            missing.setdefault(label(point.design.values), {})[point.digest] = point
    tasks: dict[str, Task] = {name: (next(iter(mine.values())).design.config.to_dict(),
                                     [point.work for point in mine.values()])
                              for name, mine in missing.items()}
    times = Counter(point.digest for point in points)
    done = sum(times[digest] for digest in known)
    with connected(scheduler, workers) as client:
        for name, results in outcomes(client, tasks):
            for digest, outcome in zip(missing[name], results, strict=True):
                store.save(digest, outcome)
                known[digest] = outcome
                done += times[digest]
            bar.at(done)


def _report(sweep: Sweep, found: list[Design], skipped: list[dict[str, str]],
            points: list[Point], known: dict[str, Outcome], out: Path) -> Path:
    """Write records, page and pictures."""
    unable = cannot(points, known)
    records = sweep_records(points, known)
    if not records:
        raise ConfigError(f"{sweep.name}: none of {len(found)} designs runs any of the models; "
                          f"{unable[0]['design']}: {unable[0]['reason']}")
    more: dict[str, Any] = {
        "sweep": sweep.name, "base": sweep.base.to_dict(),
        "axes": {name: list(values) for name, values in sweep.axes.items()},
        "quantities": {name: {"unit": unit, "what": what}
                       for name, (unit, what) in QUANTITIES.items()},
        "fronts": [list(front) for front in FRONTS], "skipped": [*skipped, *unable]}
    report = write_records(out / "sweep.json", f"cimforge sweep {sweep.name}", records, **more)
    pictures = sweep_plots(report, out / "img")
    path = out / "sweep.md"
    write_atomic(path, sweep_page(report, pictures).encode())
    return path
