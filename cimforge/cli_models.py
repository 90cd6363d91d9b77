"""Commands that work on models: select and prune, fronts, the accuracy table, the zoo."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["default_texts", "register"]

_Model = Annotated[str, typer.Argument(help="Checkpoint folder, hub id, or a name such as "
                                       "all-MiniLM-L6-v2 or stdlib-llama.")]
_Config = Annotated[str, typer.Option("--config", help="Preset or YAML file: candidates, cycles.")]
_Calib = Annotated[Path | None, typer.Option(help="Text file, a text per line.")]
_Exclude = Annotated[list[str] | None, typer.Option(help="Glob of layers that stay dense.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    for command in (prune, front, accuracy, adc, train):
        app.command()(command)


def prune(model: _Model, sparsity: Annotated[float, typer.Option(help="Least share pruned.")] = 0.5,
          method: Annotated[str, typer.Option(help="uniform, owl, flow or flow-x.")] = "flow-x",
          mode: Annotated[str, typer.Option(
              help="flow: latency, balanced or accuracy.")] = "balanced",
          score: Annotated[str, typer.Option(
              help="What masks keep the best of: wanda or magnitude.")] = "wanda",
          config: _Config = "default",
          max_cycles: Annotated[float | None, typer.Option(help="flow-x: limit.")] = None,
          exclude: _Exclude = None, calib: _Calib = None,
          update: Annotated[bool, typer.Option(
              help="SparseGPT: update the weights that stay.")] = False,
          packed: Annotated[bool, typer.Option(help="Packed N:M safetensors.")] = False,
          stream: Annotated[bool, typer.Option(
              help="uniform, owl, flow: one block at a time from the shards, for models larger "
                   "than memory.")] = False,
          out: Annotated[Path, typer.Option(help="New folder, or one to go on in.")] = Path(
              "runs/pruned")) -> None:
    """Select N:M per layer, prune, save checkpoint, plan and picture; goes on if interrupted."""
    from cimforge.pruning import run_prune, uncounted_note

    if stream:
        path = _stream(model, out, calib, method, score, sparsity=sparsity, mode=mode,
                       config_name=config, exclude=exclude or (),
                       refused={"--max-cycles": max_cycles, "--update": update, "--packed": packed})
    else:
        path = run_prune(model, out, default_texts(model, calib), method=method, sparsity=sparsity,
                         mode=mode, config_name=config, max_cycles=max_cycles,
                         exclude=exclude or (), update=update, packed=packed, score=score)
    figures = json.loads(path.with_name("selection.json").read_text(encoding="utf-8"))
    typer.echo(f"{figures['sparsity']:.2%} pruned, {figures['target']:.2%} asked for")
    typer.echo(f"{path}, {path.with_name('plan.svg')}, {path.with_name('checkpoint')}")
    if note := uncounted_note(figures["uncounted"], figures["sparsity_of_all"]):
        typer.echo(note, err=True)


def _stream(model: str, out: Path, calib: Path | None, method: str, score: str, *,
            refused: dict[str, Any], **options: Any) -> Path:
    """Prune block by block; options that need the whole model are refused, texts read if used."""
    from cimforge.pruning_stream import needs_texts, run_stream_prune
    from cimforge.spec.errors import ConfigError

    for option, value in refused.items():
        if value is not None and value is not False:  # 0 was given, too
            raise ConfigError(f"{option} needs the whole model in memory; give it without --stream")
    texts = default_texts(model, calib) if needs_texts(method, score) else None
    return run_stream_prune(model, out, texts, method=method, score=score, **options)


def front(model: _Model, config: _Config = "default", exclude: _Exclude = None,
          calib: _Calib = None,
          out: Annotated[Path, typer.Option(help="Folder of the picture.")] = Path("runs/front")
          ) -> None:
    """Draw the Pareto front of accuracy against latency; goes on if interrupted."""
    from cimforge.pruning import run_front

    typer.echo(run_front(model, out, default_texts(model, calib), config_name=config,
                         exclude=exclude or ()))


def accuracy(out: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("reports"),
             cells: Annotated[Path, typer.Option(help="Folder of the cells' results.")] = Path(
                 "build/accuracy"),
             model: Annotated[list[str] | None, typer.Option(help="Only these.")] = None,
             seed: Annotated[list[int] | None, typer.Option(min=0, help="Only these.")] = None,
             equal: Annotated[bool, typer.Option(
                 "--equal", help="Cells for latency at equal accuracy, into a file of their own."
             )] = False) -> None:
    """Measure the accuracy table; takes hours, and goes on where it was interrupted."""
    from cimforge.accuracy.between import run_between
    from cimforge.accuracy.cells import MODELS, SEEDS
    from cimforge.accuracy.run import run_accuracy

    run = run_between if equal else run_accuracy
    typer.echo(run(out, cells, tuple(model or MODELS), tuple(seed or SEEDS)))


def adc(out: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("reports"),
        cells: Annotated[Path, typer.Option(help="Folder of the cells' results.")] = Path(
            "build/adc"),
        model: Annotated[list[str] | None, typer.Option(help="Only these.")] = None) -> None:
    """Measure scores against ADC resolution; goes on where it was interrupted."""
    from cimforge.adc.cells import MAPPINGS
    from cimforge.adc.run import run_adc

    typer.echo(run_adc(out, cells, tuple(model or MAPPINGS)))


def train(name: Annotated[str, typer.Argument(help="stdlib-llama, stdlib-mamba, or, by fine-tuning "
                                              "after D2S, stdlib-llama-monarch.")],
          out: Annotated[Path, typer.Option(help="Folder of the checkpoint.")]) -> None:
    """Train a model of the zoo; under an hour on two cores, and goes on if interrupted."""
    from cimforge.report.progress import progress
    from cimforge_sw.zoo.train import train as run

    with progress() as bars, bars.task(f"train {name}", None) as bar:
        record = run(name, out, bar.of)
    typer.echo(f"{out}: {record['bits_per_byte']['test']:.3f} bits per byte on held-out files")


def default_texts(model: str, calib: Path | None) -> list[str]:
    """Return the texts of a file, or what is built in for the model."""
    if calib is not None:
        from cimforge.cli import text_lines
        return text_lines(calib)
    if model.startswith("stdlib-"):
        from cimforge_sw.zoo.text import calibration_spans
        return calibration_spans(24, seed=0)
    from cimforge_sw.sentences import calibration_sentences
    return calibration_sentences()
