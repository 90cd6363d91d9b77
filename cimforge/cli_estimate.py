"""The command that predicts cycles from shapes, for one model or for the tables of the report."""

from pathlib import Path
from typing import Annotated

import typer

from cimforge.spec.errors import ConfigError

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command of this module to the command line."""
    app.command()(estimate)


def estimate(shapes: Annotated[str, typer.Argument(
                 help="Shapes of a model: a name such as Llama-2-7B, or a YAML file.")] = "",
             config: Annotated[list[str] | None, typer.Option(
                 "--config", help="Preset or YAML file of a tile; several are compared.")] = None,
             plan: Annotated[str, typer.Option(help="N:M for every layer, or a YAML plan.")] =
             "4:8",
             tokens: Annotated[int, typer.Option(min=1, help="Vectors per layer.")] = 16,
             resident: Annotated[bool, typer.Option(
                 help="Compare cycles with all weights in place, not streamed.")] = False,
             layers: Annotated[bool, typer.Option("--layers", help="A line per layer.")] = False,
             table: Annotated[bool, typer.Option(
                 "--table", help="All designs on all large models, into a report.")] = False,
             out: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("reports"),
             ) -> None:
    """Predict cycles, latency, area and energy of a model from its shapes, without weights."""
    if table:
        from cimforge.cycles.run import run_table

        text, met = run_table(out)
        typer.echo(text, nl=False)
        raise typer.Exit(0 if met else 1)
    if not shapes:
        from cimforge_sw.shapes import shape_names

        raise ConfigError(f"say which shapes: {', '.join(shape_names())}, or a .yaml file; or "
                          "--table")
    typer.echo(_page(shapes, config or ["default"], plan, tokens, resident, layers), nl=False)


def _page(source: str, configs: list[str], plan: str, tokens: int, resident: bool,
          by_layer: bool) -> str:
    """Return what the command prints; ratios are against the first configuration."""
    from cimforge.cycles.model import estimate_shapes
    from cimforge.spec.yaml_config import load_config
    from cimforge_sw.cost.area import macro_area
    from cimforge_sw.cost.delay import macro_period
    from cimforge_sw.cost.energy import macro_energy
    from cimforge_sw.cost.technology import LEAST_ROWS, load_technology
    from cimforge_sw.plan import Plan
    from cimforge_sw.shapes import load_shapes

    technology = load_technology()
    model = load_shapes(source)
    chosen = Plan.load(plan) if plan.endswith((".yaml", ".yml")) else Plan.uniform(plan)
    costs = {name: estimate_shapes(model, chosen, load_config(name), tokens) for name in configs}
    base = next(iter(costs.values()))
    about = (f"{model.model}: {len(model.layers)} layers, {model.parameters / 1e6:,.1f} M "
             f"parameters, {base.sparsity:.2%} pruned, {base.macs / 1e9:,.2f} GMAC kept, "
             f"{tokens} tokens")
    kind = "resident" if resident else "streamed"
    head = (f"{'tile':16} {'streamed':>14} {'resident':>14} {'slot use':>9} {'ratio':>6} "
            f"{'mm2':>8} {'ns':>6} {'ms':>11} {'mJ':>11}")
    lines = [about, head]
    for name, cost in costs.items():
        ratio = (cost.resident_cycles / base.resident_cycles if resident
                 else cost.cycles / base.cycles)
        tile = load_config(name)
        period = macro_period(tile, technology)
        taken = cost.resident_cycles if resident else cost.cycles
        energy = macro_energy(tile, technology, cost.events(resident))
        lines.append(f"{name:16} {cost.cycles:14,} {cost.resident_cycles:14,} "
                     f"{cost.slot_use():9.2%} {ratio:6.3f} "
                     f"{macro_area(tile, technology).total * 1e-6:8.2f} {period:6.2f} "
                     f"{_digits(taken * period * 1e-6):>11} {_digits(energy * 1e-9):>11}"
                     + " *" * (tile.rows < LEAST_ROWS))
        if by_layer:
            lines += [f"  {each.layer.name:44} {each.layer.outputs:6} x {each.layer.inputs:<6} "
                      f"{each.pattern!s:5} {each.mode:12} {each.cycles:12,} "
                      f"{each.resident_cycles:12,} {each.slot_use:7.2%}" for each in cost.layers]
    off = ", ".join(f"{value:.0%} of {kind}" for kind, value in technology.uncertainty.items())
    lines.append(f"cycles are exact; ratio, ms and mJ: weights {kind}; mm2, ns and mJ: the macro "
                 f"in closed form, {technology.node_nm:g} nm cells without wires (largest errors "
                 f"on netlists not fitted to: {off})")
    if any(line.endswith(" *") for line in lines):
        lines.append(f"*: no netlist of fewer than {LEAST_ROWS} rows was fitted: mm2, ns and mJ "
                     "are extrapolated")
    return "\n".join(lines) + "\n"


def _digits(value: float) -> str:
    """Return a number with four digits at least."""
    return f"{value:,.1f}" if value >= 1000 else f"{value:.4g}"
