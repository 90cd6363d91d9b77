"""The page of ``make synth``, from its JSON alone."""

__all__ = ["synth_page"]

_HEAD = """# Synthesis

Made by `{command}` at commit {commit} with {yosys} and OpenSTA {sta}; library {library},
{voltage:g} V. Areas are in the library's unit; no wires, ideal clock (docs/synthesis.md). A block's
area, worst path and energy include all that is in it.

| block | count | area of one | of it storage | flip-flops | SRAM bits | worst path, ns | levels | \
pJ per cycle, default activity | mW at own clock |
|---|---|---|---|---|---|---|---|---|---|
"""
_STORAGE = """## Weight storage

{bits} bits of weights and indices take {area:.0f} area units as flip-flops with their write gates,
{share:.0%} of {block}.
"""
_POWER = """## Energy of the real workload

Toggles counted in the netlists under pruned layers, times the library's tables; pJ per cycle of all
blocks of a kind, each without the blocks in it. "Uniform, ours": the same tables with 0.1 toggles
per net and cycle; OpenSTA's figure for that is higher than ours, because its version 2.0.17 charges
both edges for each toggle (docs/synthesis.md).

| blocks | workload | sparsity | mode | cycles | toggles per net and cycle | pJ | \
of it clock pins | pJ per multiplication of the dense layer | uniform, ours |
|---|---|---|---|---|---|---|---|---|---|
"""


def synth_page(report: dict) -> str:
    """Return Markdown of what ``synth.json`` holds."""
    blocks = [r for r in report["records"] if "block" in r]
    head = _HEAD.format(command=report["command"], commit=report["commit"], **report["tools"],
                        library=report["library"]["name"], voltage=report["library"]["voltage"])
    rows = "".join(
        f"| {r['block']} | {r['count']} | {r['area']:.0f} | {r['storage_area']:.0f} | "
        f"{r['flops']} | {r['sram_bits']} | {_digits(r['delay_ns'], 2)} | {r['path_levels']} "
        f"| {r['default_energy_pj']:.2f} | {_digits(r['default_power_mw'], 3)} |\n"
        for r in blocks)
    parts = [head + rows, _paths(blocks), _storage(blocks, report), _power(report["records"])]
    return "\n".join(part for part in parts if part)


def _digits(value: float | None, digits: int) -> str:
    return f"{value:.{digits}f}" if value else "none"


def _paths(blocks: list[dict]) -> str:
    rows = "".join(f"| {r['block']} | `{r['path_start']}` | `{r['path_end']}` |\n"
                   for r in blocks if r["delay_ns"])
    return f"## Worst paths\n\n| block | from | to |\n|---|---|---|\n{rows}"


def _storage(blocks: list[dict], report: dict) -> str:
    top = blocks[-1]
    if not top["storage_bits"]:
        return ""
    text = _STORAGE.format(bits=top["storage_bits"], area=top["storage_area"], block=top["block"],
                           share=top["storage_area"] / top["area"])
    if top["storage_area_as_sram"] is not None:
        text += f"As SRAM: {top['storage_area_as_sram']:.0f} um2, if {report['sram']}.\n"
    return text


def _power(records: list[dict]) -> str:
    rows = "".join(
        f"| {_blocks(r)} | {r['workload']} | {r['sparsity']:.1%} | {_mode(r)} | {r['cycles']} | "
        f"{_digits(r['activity'], 3)} | {r['energy_pj']:.1f} | {r['clock_pj']:.1f} | "
        f"{r['energy_per_mac_pj']:.3f} | {r['default_energy_pj']:.1f} |\n"
        for r in records if "workload" in r)
    return _POWER + rows if rows else ""


def _blocks(record: dict) -> str:
    return record["of"] if record["count"] == 1 else f"{record['count']} {record['of']}"


def _mode(record: dict) -> str:
    passes = record["passes"]
    return record["mode"] if passes == 1 else f"{record['mode']}, {passes} passes"
