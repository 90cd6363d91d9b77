"""The command that sweeps the design space."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command of this module to the command line."""
    app.command()(sweep)


def sweep(source: Annotated[str, typer.Argument(
              metavar="SWEEP", help="A sweep of configs/sweeps, such as macro, or a YAML file.")],
          scheduler: Annotated[str | None, typer.Option(
              help="Address of a running Dask scheduler, such as tcp://host:8786.")] = None,
          workers: Annotated[int | None, typer.Option(
              min=1, help="Worker processes on this machine; else as many as cores.")] = None,
          out: Annotated[Path, typer.Option(
              help="Folder of results; an interrupted sweep goes on.")] = Path("build/sweep"),
          ) -> None:
    """Measure designs x models x plans on Dask; records, Pareto fronts and a page."""
    from cimforge.sweep.run import run_sweep

    typer.echo(run_sweep(source, out, scheduler, workers).text, nl=False)
