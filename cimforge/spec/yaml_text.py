"""YAML that people write: where it is; what is wrong with it, in one line, with its line number."""

from pathlib import Path

import yaml

from cimforge.spec.errors import CimforgeError, ConfigError

__all__ = ["read_yaml", "yaml_mapping", "yaml_names", "yaml_pairs", "yaml_path", "yaml_scalar",
           "yaml_values"]


def yaml_names(folder: Path) -> list[str]:
    """Return the names of a folder's YAML files, without their ending."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def yaml_path(source: str | Path, folder: Path, what: str,
              error: type[CimforgeError] = ConfigError) -> Path:
    """Return the file that is meant: one of a folder by its name, or any YAML file by its path.

    Whether the file of a path is there shows when it is read.

    Parameters
    ----------
    source : str or Path
        What ends in ``.yaml`` or ``.yml`` is a path, anything else a name.
    folder : Path
        Where the names are from.
    what : str
        What the file is, for the message: ``"preset"``.
    error : type
        What to raise.

    Raises
    ------
    ConfigError or DataError
        The given one, if the folder has no such name: with those that it has.
    """
    path = Path(source)
    if path.suffix in (".yaml", ".yml"):
        return path
    names = yaml_names(folder)
    if str(source) not in names:
        raise error(f"no {what} named {str(source)!r}; there are {', '.join(names)}, or give the "
                    "path of a .yaml file")
    return folder / f"{source}.yaml"


def read_yaml(path: Path, what: str, error: type[CimforgeError]) -> yaml.Node | None:
    """Return the syntax tree of a YAML file; None if there is nothing in it.

    A tree and not its values: values no longer tell which keys were given twice, nor ``2:4`` from
    the base-60 number that YAML takes it for.

    Parameters
    ----------
    path : Path
    what : str
        What the file is, for the message: ``"plan"``.
    error : type
        What to raise.

    Raises
    ------
    ConfigError or DataError
        The given one, naming file, line and problem.
    """
    try:
        return yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except OSError as problem:
        raise error(f"{path}: cannot read the {what}: {problem.strerror}") from problem
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as problem:
        raise error(f"{path}: not valid YAML: {_describe(problem)}") from problem


def _describe(problem: Exception) -> str:
    """Return the problem and its line; PyYAML's own first line is often only the context."""
    mark = getattr(problem, "problem_mark", None)
    text = getattr(problem, "problem", None) or next(iter(str(problem).splitlines()), "")
    return text if mark is None else f"line {mark.line + 1}: {text}"


def yaml_pairs(node: yaml.MappingNode, where: str, error: type[CimforgeError]) -> dict[
        str, yaml.Node]:
    """Return the values of a mapping by their keys as written.

    Parameters
    ----------
    node : yaml.MappingNode
    where : str
        Begins the message.
    error : type
        What to raise.

    Raises
    ------
    ConfigError or DataError
        The given one, if a key is no plain text, or is there twice: with its line.
    """
    found: dict[str, yaml.Node] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise error(f"{where}: expected one value (line {line})")
        if key.value in found:
            raise error(f"{where}: {key.value!r} is given twice (line {line})")
        found[key.value] = value
    return found


def yaml_mapping(node: yaml.Node | None, where: str, error: type[CimforgeError]) -> dict[
        str, yaml.Node]:
    """Return the values of what must be a mapping, by their keys.

    Parameters and errors are those of `yaml_pairs`.
    """
    if not isinstance(node, yaml.MappingNode):
        raise error(f"{where}: expected 'name: value' lines")
    return yaml_pairs(node, where, error)


def yaml_scalar(node: yaml.Node, where: str, error: type[CimforgeError]) -> str:
    """Return one value as it is written: YAML would read 2:4 as a base-60 number.

    Raises
    ------
    ConfigError or DataError
        The given one, if it is a list or a mapping: with its line.
    """
    if not isinstance(node, yaml.ScalarNode):
        raise error(f"{where}: expected one value (line {node.start_mark.line + 1})")
    return node.value


def yaml_values(path: Path, what: str, error: type[CimforgeError]) -> object:
    """Return what a file says, as plain values; an empty one says nothing: ``{}``.

    Parameters
    ----------
    path : Path
    what : str
        What the file is, for the message.
    error : type
        What to raise.

    Raises
    ------
    ConfigError or DataError
        The given one: unreadable, not YAML, or a key given twice.
    """
    node = read_yaml(path, what, error)
    if node is None:
        return {}
    if isinstance(node, yaml.MappingNode):
        yaml_pairs(node, str(path), error)  # YAML itself would let the last of two win
    try:
        return yaml.SafeLoader("").construct_document(node)
    except (yaml.YAMLError, ValueError, KeyError) as problem:
        # the last two: a value that does not fit its own tag, such as !!int five
        text = getattr(problem, "problem", None) or problem
        mark = getattr(problem, "problem_mark", None) or node.start_mark
        raise error(f"{path}: not valid YAML: line {mark.line + 1}: {text}") from problem
