"""Commands for Monarch models: D2S, and layers on the analog tile."""

from pathlib import Path
from typing import Annotated

import typer

from cimforge.cli_models import default_texts
from cimforge.spec.checks import check_integer

__all__ = ["register"]

_Model = Annotated[str, typer.Argument(help="Checkpoint folder, hub id, or a name such as "
                                       "all-MiniLM-L6-v2 or stdlib-llama.")]
_Rule = Annotated[str, typer.Option(help="Blocks and rank: sqrt, '12x12 r4', square.")]
_Recover = Annotated[bool, typer.Option(help="Solve the factors for the calibration text.")]
_Calib = Annotated[Path | None, typer.Option(help="Text file, a text per line.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    for command in (d2s, analog):
        app.command()(command)


def d2s(model: _Model, rule: _Rule = "sqrt",
        plan: Annotated[Path | None, typer.Option(help="YAML plan instead of a rule.")] = None,
        recover: _Recover = False, calib: _Calib = None,
        out: Annotated[Path, typer.Option(help="New folder of the checkpoint.")] = Path(
            "runs/monarch")) -> None:
    """Convert linear layers to Monarch factors, and save them as a checkpoint."""
    from cimforge.monarch.convert import run_d2s

    typer.echo(run_d2s(model, default_texts(model, calib), out, rule=rule, plan=plan,
                       recover=recover), nl=False)


def analog(model: _Model,
           layer: Annotated[list[str] | None, typer.Option(help="Globs of layer names.")] = None,
           rule: Annotated[str, typer.Option(
               help="As of d2s, for a dense checkpoint; without it: sqrt.")] = "",
           recover: _Recover = False,
           mapping: Annotated[str, typer.Option(
               help="linear (dense weights), sparse, dense, scatter or hybrid.")] = "dense",
           config: Annotated[str, typer.Option("--config", help="Preset or YAML file.")] =
           "default",
           tokens: Annotated[int, typer.Option(min=1, help="Vectors to run.")] = 4,
           bits: Annotated[int, typer.Option(help="ADC bits, 1 to 16; 0: lossless.")] = 0,
           backend: Annotated[str, typer.Option(
               help="golden: NumPy; cocotb or batch: RTL, compared with it.")] = "golden",
           stalls: Annotated[float, typer.Option(help="On the RTL: probability of a wait.")] = 0.0,
           seed: Annotated[int, typer.Option(min=0, help="Of the stalls.")] = 0,
           calib: _Calib = None,
           out: Annotated[Path | None, typer.Option(
               help="New folder for vectors, figures and pictures.")] = None) -> None:
    """Run layers as Monarch factors on the analog tile, on activations of the text."""
    from cimforge.monarch.simulate import Options, run_analog

    check_integer("--bits", bits, 0, 16)
    options = Options(layers=tuple(layer or ("*",)), rule=rule, recover=recover, mapping=mapping,
                      config=config, tokens=tokens, bits=bits, backend=backend, stalls=stalls,
                      seed=seed)
    typer.echo(run_analog(model, default_texts(model, calib), options, out), nl=False)
