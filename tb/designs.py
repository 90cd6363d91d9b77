"""What is built: blocks and tiles by name, such as ``column/tiny``; emitted and built once each.

``soc/NAME`` and ``analog_soc/NAME`` are tiles on a bus, ``synthesis/NAME`` is a tile as synthesis
takes it.

Emitting the full-size tile takes longer than simulating it, so Verilog is cached by a digest of
everything it comes from: the sources of the generator, the configuration, the versions of Amaranth
and its Yosys.
"""

import hashlib
import importlib
import re
from pathlib import Path

from cimforge.spec.analog.config import AnalogConfig
from cimforge.spec.config import DcimConfig
from cimforge.spec.files import write_atomic
from cimforge.spec.yaml_config import load_analog_config, load_config
from cimforge_hw.cache import generator_digest

__all__ = ["BASELINES", "BLOCKS", "BUILDS", "analog_config_of", "build_design", "config_of",
           "config_of_design", "top_of", "verilog"]

ROOT = Path(__file__).resolve().parents[1]
BUILDS = ROOT / "build" / "sim"

BASELINES = ("dense", "fixed_1_2", "fixed_1_4", "fixed_2_4", "fixed_2_8", "fixed_4_8")
#: Blocks with a bench of their own; ``check`` is the sequencer's judge of commands.
BLOCKS = ("accumulator", "activation_buffer", "check", "column", "distribution", "drain", "issue",
          "macro", "merging", "requantizer", "sequencer", "sub_macro", "weight_loader")

# Every parameter that `tiny` leaves at its default takes another value in one of these.
_VARIANTS = {
    "narrow": dict(sub_macros=4, cols=6, weight_bits=4, act_bits=4, act_slice=2, index_share=2,
                   index_coding="one_hot", weight_banks=1, load_rows=2, out_port=3,
                   act_port_bits=24, acc_bits=20, act_depth=8, max_k=128, adder_stages=1),
    "tiny_pair": dict(select="pair", sub_macros=4, rows=2, load_rows=1, out_port=2, act_slice=4,
                      max_m=8),
    # The largest M, N, P and index_share there are.
    "wide": dict(max_m=16, sub_macros=8, rows=8, cols=4, index_share=4, act_slice=4,
                 act_port_bits=512, max_k=2048),
    "single": dict(sub_macros=1, rows=1, cols=1, max_m=1, act_port_bits=8, act_depth=2,
                   acc_depth=2, act_slice=1),
}


# Variants of the analog presets; together they have two values at least of every parameter.
_ANALOG = {
    "small": ("tiny", dict(port=2, adcs=8, cell_bits=8, adc_bits=5, t_settle=1, t_conv=2,
                           dither=0xACE1, act_depth=100, acc_depth=90, requantizers=3)),
    "m32": ("default", dict(arrays=1, array=32, adcs=32, cell_bits=2, act_depth=512,
                            acc_depth=300)),
    "shared": ("default", dict(arrays=2, array=32, adcs=4, grain=16, port=4, adc_bits=3)),
    # Blocks of 8 in arrays of 64, and other numbers of converters than the 16 of `default`.
    **{f"adcs{adcs}": ("default", dict(arrays=3, adcs=adcs, adc_bits=8))
       for adcs in (4, 8, 32)},
    "m256": ("paper", dict(arrays=1, port=8, act_depth=4096, acc_depth=2048)),
}


def analog_config_of(name: str) -> AnalogConfig:
    """Return a preset of the analog tile, or a variant of one."""
    preset, changes = _ANALOG.get(name, (name, {}))
    return load_analog_config(preset).replace(**changes)


def config_of(name: str) -> DcimConfig:
    """Return a preset, a variant of ``tiny``, or a baseline at reduced size (``dense-8x8``)."""
    if name in _VARIANTS:
        return load_config("tiny").replace(**_VARIANTS[name])
    preset, dash, size = name.partition("-")
    config = load_config(preset)
    if not dash:
        return config
    rows, cols = map(int, size.split("x"))
    return config.replace(rows=rows, cols=cols, act_port_bits=64, act_depth=32, acc_depth=8)


def top_of(design: str) -> str:
    """Return the name of a design's top module."""
    block = design.partition("/")[0]
    return {"tile": "dcim_tile", "synthesis": "dcim_tile", "analog": "analog_tile",
            "soc": "dcim_soc"}.get(block, block)


def config_of_design(design: str) -> DcimConfig | AnalogConfig:
    block, _, name = design.partition("/")
    return analog_config_of(name) if block.startswith("analog") else config_of(name)


def _component(design: str):
    block, _, name = design.partition("/")
    if block == "analog":
        from cimforge_hw.analog.tile import AnalogTile

        return AnalogTile(analog_config_of(name))
    if block in ("soc", "analog_soc"):
        from cimforge_hw.soc.wrapper import Soc

        return Soc(config_of_design(design))
    block = "dcim_tile" if block in ("tile", "synthesis") else block
    module = "tile" if block == "dcim_tile" else block
    kind = "".join(word.capitalize() for word in block.split("_"))
    package = "common" if block == "requantizer" else "dcim"
    return getattr(importlib.import_module(f"cimforge_hw.{package}.{module}"),
                   kind)(config_of(name))


def verilog(design: str) -> str:
    """Return a design's Verilog."""
    from cimforge_hw.emit import SYNTHESIS, emit_component

    key = f"{generator_digest()}/{config_of_design(design).digest}"
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    path = ROOT / "build" / "tb" / f"{re.sub('/', '-', design)}-{digest}.v"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        instead = SYNTHESIS if design.startswith("synthesis/") else {}
        write_atomic(path, emit_component(_component(design), top_of(design),
                                          instead=instead).verilog.encode())
    return path.read_text(encoding="utf-8")


def build_design(design: str, arguments: tuple[str, ...] = ()) -> Path:
    """Return the folder of a design's simulator."""
    from cimforge_verif.sim.build import build

    top = top_of(design)
    return build({f"{top}.v": verilog(design)}, top, arguments=arguments, root=BUILDS)
