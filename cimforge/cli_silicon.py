"""Commands for what it costs in silicon."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    app.command()(synth)
    app.command()(paper)


def synth(config: Annotated[str, typer.Argument(help="Preset name or YAML file.")],
          liberty: Annotated[Path | None, typer.Option(
              help="Library of standard cells; without it Debian's OSU 180 nm.")] = None,
          node: Annotated[float, typer.Option(
              min=0, max=10_000, help="Its node in nm, for weight storage as SRAM.")] = 0,
          block: Annotated[str, typer.Option(help="column, sub_macro, macro or tile.")] = "tile",
          model: Annotated[str, typer.Option(
              help="Energy under this model's layer, pruned at three sparsities.")] = "",
          layer: Annotated[str, typer.Option(help="Of the model; else its widest.")] = "",
          out: Annotated[Path, typer.Option("--out", help="Folder of the reports.")] = Path(
              "reports")) -> None:
    """Map a tile to standard cells: area, worst path and power per block, into synth.json."""
    from cimforge.synth.command import run_synth

    typer.echo(run_synth(config, out, liberty=liberty, node_nm=node, top=block, model=model,
                         layer=layer), nl=False)


def paper(netlists: Annotated[bool, typer.Option(
              "--netlists", help="Map all designs again first (yosys, OpenSTA).")] = False,
          out: Annotated[Path, typer.Option("--out", help="Folder of the reports.")] = Path(
              "reports")) -> None:
    """Claims of both papers beside ours, from JSON alone; exit 1 where a bar is missed."""
    from cimforge.silicon.run import run_paper

    text, met = run_paper(out, netlists)
    typer.echo(text, nl=False)
    raise typer.Exit(0 if met else 1)
