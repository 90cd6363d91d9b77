"""Digest of the source and the tables that figures come from: results of others are not reused."""

import ast
import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from cimforge.spec.files import shipped

__all__ = ["code_digest", "sources"]

_ROOT = "cimforge.sweep.measure"
_OURS = ("cimforge", "cimforge_sw", "cimforge_hw", "cimforge_verif")


def _imports(path: Path) -> set[str]:
    """Return the modules of ours that a file may import, packages above them included."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {".".join(parts[:end]) for parts in (name.split(".") for name in names)
            if parts[0] in _OURS for end in range(1, len(parts) + 1)}


def _file(module: str) -> Path | None:
    """Return the source of a module; None where the name is of something in one."""
    try:
        spec = find_spec(module)
    except ModuleNotFoundError:
        return None
    return Path(spec.origin) if spec is not None and spec.origin else None


def sources() -> dict[str, Path]:
    """Return the source files that `measure` may run, by module: all that it imports, at any depth.

    Imports inside functions count; the front door `cimforge` itself imports nothing by itself.
    """
    found: dict[str, Path] = {}
    todo = [_ROOT]
    while todo:
        module = todo.pop()
        path = None if module in found or module == "cimforge" else _file(module)
        if path is not None:
            found[module] = path
            todo += sorted(_imports(path))
    return dict(sorted(found.items()))


@cache
def code_digest() -> str:
    """Return sixteen hex digits that change with that source, or with a table of ``cost/``.

    Shapes of models are no part of it: what they say is in every point.
    """
    state = hashlib.sha256()
    for module, path in sources().items():
        state.update(f"{module}\n".encode() + path.read_bytes())
    tables = shipped("cost")
    for path in sorted(tables.rglob("*.yaml")):
        name = path.relative_to(tables)
        if name.parts[0] != "shapes":
            state.update(f"{name.as_posix()}\n".encode() + path.read_bytes())
    return state.hexdigest()[:16]
