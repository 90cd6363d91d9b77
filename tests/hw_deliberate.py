"""Bugs on purpose: a method with one piece of its source replaced."""

import inspect
import sys
import textwrap

import pytest

__all__ = ["check_caught", "check_without_bugs", "name_of", "with_bug"]


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


def name_of(bug):
    """Return the id of a bug: what is wrong, and the test that notices.

    A bug is a tuple: name, method, what it says, what it says instead, the test, its arguments.
    """
    return f"{bug[0]} -> {bug[4].__module__}.{bug[4].__name__}"


def check_caught(bug, monkeypatch):
    """Put a bug in, and see its test fail."""
    _name, method, old, new, notices, *arguments = bug
    owner = sys.modules[method.__module__]
    if "." in method.__qualname__:
        owner = getattr(owner, method.__qualname__.partition(".")[0])
    monkeypatch.setattr(owner, method.__name__, with_bug(method, old, new))
    with pytest.raises(AssertionError):
        notices(*arguments)


def check_without_bugs(bugs):
    """See every test that notices a bug pass without one."""
    for notices, *arguments in {repr(bug[4:]): bug[4:] for bug in bugs}.values():
        notices(*arguments)
