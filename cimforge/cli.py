"""The command line.

A caller's mistake is one message on standard error and exit code 2; a result that differs from
the golden model, or a bar that is missed, is exit code 1; Ctrl-C is 130.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from cimforge import cli_analog, cli_estimate, cli_models, cli_silicon, cli_sweep
from cimforge.interrupts import INTERRUPTED
from cimforge.spec.errors import CimforgeError

__all__ = ["app", "main", "text_lines"]

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False,
                  help="From a sparse language model to verified compute-in-memory hardware.")

_Config = Annotated[str, typer.Option("--config", help="Preset name or YAML file of the tile.")]
_Out = Annotated[Path, typer.Option("--out", help="Folder of what is written.")]


@app.command()
def demo(config: _Config = "default", out: _Out = Path("build/demo"),
         plan: Annotated[Path | None, typer.Option(help="YAML plan, not the mixed one.")] = None
         ) -> None:
    """Prune, compile, generate, simulate and report the embedded model."""
    from cimforge.demo import PLAN, run_demo

    path = run_demo(config, out, plan=plan or PLAN)
    typer.echo(path.read_text(), nl=False)
    typer.echo(f"\nreport: {path} and {path.with_suffix('.json')}")


@app.command()
def verilog(config: Annotated[str, typer.Argument(help="Preset name or YAML file.")],
            out: Annotated[Path, typer.Option("-o", "--out")] = Path("build/rtl"),
            analog: Annotated[bool, typer.Option("--analog", help="The analog tile.")] = False,
            soc: Annotated[bool, typer.Option("--soc", help="On AXI4-Lite and -Stream.")] = False,
            ) -> None:
    """Write the tile's Verilog and its JSON description; with --soc a C header, too."""
    import cimforge as cf

    tile = cf.load_analog_config(config) if analog else cf.load_config(config)
    for path in cf.verilog(tile, out, soc=soc):
        typer.echo(f"{path}: {path.stat().st_size} bytes")


@app.command()
def presets() -> None:
    """List the shipped configurations."""
    from cimforge.spec.yaml_config import (
        analog_preset_names,
        load_analog_config,
        load_config,
        preset_names,
    )

    for name in preset_names():
        config = load_config(name)
        typer.echo(f"{name:12} {config.sub_macros} x {config.rows} x {config.cols}, "
                   f"{config.select}, M = {config.max_m}, {config.act_slice} bit(s) per cycle, "
                   f"{len(config.modes)} modes")
    for name in analog_preset_names():
        tile = load_analog_config(name)
        typer.echo(f"analog {name:12} {tile.arrays} arrays of {tile.array} x {tile.array}, grain "
                   f"{tile.grain}, {tile.adcs} converters of {tile.adc_bits} bits per plane")


@app.command()
def compile(model: Annotated[str, typer.Argument(help="Checkpoint folder, hub id or "
                                                 "all-MiniLM-L6-v2.")],
            plan: Annotated[str, typer.Option(help="N:M for every layer, or a YAML plan.")] = "4:8",
            config: _Config = "default",
            tokens: Annotated[int, typer.Option(min=1, help="Vectors per run of a layer.")] = 16,
            calib: Annotated[Path | None, typer.Option(help="Text file, a text per line.")] = None,
            out: _Out = Path("runs/program")) -> None:
    """Prune by a plan, quantize, and compile a model's linear layers into a program."""
    import cimforge as cf
    from cimforge.prepare import plan_of, quantized_by_plan
    from cimforge.pruning import uncounted_note
    from cimforge.report.progress import progress
    from cimforge.spec.files import check_writable
    from cimforge_sw.sentences import calibration_sentences

    tile = cf.load_config(config)
    chosen = plan_of(plan)
    texts = calibration_sentences() if calib is None else text_lines(calib)
    check_writable(out)
    with progress() as bars:
        _, layers = quantized_by_plan(bars, model, chosen, tile, texts, tokens)
        with bars.task("compile", None) as bar:
            program = cf.compile(layers, tile, tokens, progress=bar.of)
    cf.save_program(program, out)
    pruned = layers.pruned
    typer.echo(f"{out}: {len(program.layers)} layers, {pruned.sparsity:.1%} pruned")
    if note := uncounted_note(pruned.uncounted, pruned.sparsity_of_all):
        typer.echo(note, err=True)


@app.command()
def sim(program: Annotated[Path, typer.Argument(help="Folder written by compile.")],
        layer: Annotated[str, typer.Option(help="Glob of layer names.")] = "*",
        backend: Annotated[str, typer.Option(
            help="golden: replay only; cocotb or batch: RTL, every result compared with the "
                 "replay; batch is the fast one.")] = "golden",
        stalls: Annotated[float, typer.Option(
            help="On the RTL: probability that a stream waits, below 1.")] = 0.0,
        seed: Annotated[int, typer.Option(min=0, help="Of random inputs and stalls.")] = 0) -> None:
    """Run layers on random inputs: replayed, or on the RTL and compared with the replay."""
    import cimforge as cf
    from cimforge.arguments import check_run
    from cimforge.report.progress import progress

    check_run(backend, stalls, seed)
    loaded = cf.load_program(program)
    inputs = dict(_random_inputs(loaded, layer, seed))
    with progress() as bars, bars.task(f"simulate ({backend})", None) as bar:
        results = cf.simulate_many(loaded, inputs, backend=backend, stalls=stalls, seed=seed,
                                   progress=bar.of)
    for name, result in results.items():
        counted = "" if result.cycles_counted is None else f", {result.cycles_counted} counted"
        typer.echo(f"{name}: {backend}, {result.cycles_predicted} cycles predicted{counted}")


@app.command()
def model(name: Annotated[str, typer.Argument(metavar="MODEL", help="Checkpoint folder, hub id, or "
                                              "a name such as all-MiniLM-L6-v2.")],
          plan: Annotated[str, typer.Option(help="N:M for every layer, or a YAML plan.")] = "4:8",
          config: _Config = "default",
          backend: Annotated[str, typer.Option(
              help="batch or cocotb: RTL; golden: replay.")] = "batch",
          tokens: Annotated[int, typer.Option(min=1, help="Most vectors of a program.")] = 128,
          text: Annotated[Path | None, typer.Option(help="What runs: a text per line.")] = None,
          calib: Annotated[Path | None, typer.Option(help="Calibration: a text per line.")] = None,
          stalls: Annotated[float, typer.Option(help="On the RTL: probability of a wait.")] = 0.0,
          seed: Annotated[int, typer.Option(min=0, help="Of the stalls.")] = 0,
          out: Annotated[Path | None, typer.Option(
              help="Folder of results; an interrupted run goes on.")] = None) -> None:
    """Run a whole model with every linear layer on the tile, compared to the bit, and score it."""
    from cimforge.cli_models import default_texts
    from cimforge.whole import run_model

    texts = text_lines(text) if text is not None else default_texts(name, None)[:4]
    typer.echo(run_model(name, plan, config, default_texts(name, calib), texts, backend=backend,
                         tokens=tokens, stalls=stalls, seed=seed, out=out), nl=False)


@app.command()
def vectors(program: Annotated[Path, typer.Argument(help="Folder written by compile.")],
            out: _Out, layer: Annotated[str, typer.Option(help="Glob of layer names.")] = "*",
            seed: Annotated[int, typer.Option(min=0, help="Of the random inputs.")] = 0,
            readmemh: Annotated[bool, typer.Option(help="Hex files, too.")] = False) -> None:
    """Write test vectors of layers, one folder each, for any testbench."""
    import cimforge as cf
    from cimforge.spec.files import check_writable

    check_writable(out)
    loaded = cf.load_program(program)
    for name, x in _random_inputs(loaded, layer, seed):
        made = cf.vectors(loaded, layer=name, inputs=x, seed=seed)
        made.save(out / name)
        if readmemh:
            made.export_hex(out / name)
        typer.echo(f"{out / name}: {len(made.results)} result beats")


@app.command()
def bench(config: _Config = "default", out: _Out = Path("reports")) -> None:
    """Measure simulation speed and the cost of free patterns, side by side, into bench.json."""
    from cimforge.bench import run_bench

    typer.echo(run_bench(config, out), nl=False)


@app.command()
def paper_monarch(out: _Out = Path("reports")) -> None:
    """Compare mappings of Monarch factors with the paper's figures; 1 if a bar is missed."""
    from cimforge.monarch.run import run_paper_monarch

    text, met = run_paper_monarch(out)
    typer.echo(text, nl=False)
    raise typer.Exit(0 if met else 1)


def _random_inputs(program, pattern: str, seed: int):
    """Yield (layer, random activations of the full range) of the layers that match."""
    from fnmatch import fnmatchcase

    import numpy as np

    from cimforge.spec.errors import DataError

    names = [name for name in program.layers if fnmatchcase(name, pattern)]
    if not names:
        raise DataError(f"no layer matches {pattern!r}; the first of "
                        f"{len(program.layers)} is {next(iter(program.layers))}")
    limit = 1 << program.config.act_bits - 1
    for index, name in enumerate(names):
        layer = program.layers[name]
        rng = np.random.default_rng([seed, index])
        yield name, rng.integers(-limit, limit, (layer.tokens, layer.inputs), dtype=np.int8)


def text_lines(path: Path) -> list[str]:
    """Return the texts of a file, one a line; a file that is no text is a DataError."""
    from cimforge.spec.errors import DataError
    from cimforge.spec.files import read_bytes

    data = read_bytes(path)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected UTF-8 text, a text per line; byte {error.start} is "
                        f"{data[error.start]:#04x}") from error
    if "\0" in text:
        raise DataError(f"{path}: expected UTF-8 text, a text per line, not binary data")
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise DataError(f"{path}: expected a text per line, but it has none")
    return lines


cli_models.register(app)
cli_analog.register(app)
cli_estimate.register(app)
cli_silicon.register(app)
cli_sweep.register(app)


def main() -> int:
    """Run the command line; return its exit code."""
    try:
        code = app(standalone_mode=False)
    except CimforgeError as error:
        print(f"cimforge: {error}", file=sys.stderr)
        return 2
    except AssertionError as error:
        from cimforge_verif.compare import Mismatch
        if not isinstance(error, Mismatch):
            raise  # a bug of this program, not a result that differs
        print(f"cimforge: mismatch: {error}", file=sys.stderr)
        return 1
    except OSError as error:  # a full disk, a folder that takes no files
        print(f"cimforge: {error}", file=sys.stderr)
        return 2
    except Exception as error:
        if type(error).__module__.startswith(("click", "typer")) and hasattr(error, "show"):
            error.show()
            return 2
        raise
    except KeyboardInterrupt:
        code = INTERRUPTED  # what Typer returns if it comes while a command runs
    if code == INTERRUPTED:
        print("cimforge: interrupted", file=sys.stderr)
    return code or 0
