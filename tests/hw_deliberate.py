"""Bugs on purpose: a method with one piece of its source replaced."""

import inspect
import sys
import textwrap

__all__ = ["with_bug"]


def with_bug(method, old, new):
    """Return a method, or a function of a module, with one piece of its source replaced."""
    source = textwrap.dedent(inspect.getsource(method))
    owner = method.__qualname__.partition(".")[0]
    source = source.replace("super()", f"super({owner}, self)")  # no class around it any more
    assert source.count(old) == 1, f"{old!r} is {source.count(old)} times in {method.__qualname__}"
    module = sys.modules[method.__module__]
    namespace = dict(vars(module))
    exec(compile(source.replace(old, new), module.__file__, "exec"), namespace)
    return namespace[method.__name__]
