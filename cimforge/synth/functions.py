"""Boolean functions of Liberty cells, evaluated on words of many independent bits."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from cimforge.spec.errors import DataError

__all__ = ["Function", "parse_function"]

Words = np.ndarray
Evaluate = Callable[[Mapping[str, Words]], Words]

_TOKEN = re.compile(r"\s*([()!'^&*|+]|[A-Za-z0-9_\[\]]+)")


@dataclass(frozen=True)
class Function:
    """A function of named pins.

    Attributes
    ----------
    text : str
        As the library has it.
    pins : tuple of str
        What it depends on, in order of appearance.
    evaluate : callable
        Takes uint64 words by pin name, returns words; every bit is a case of its own.
    """

    text: str
    pins: tuple[str, ...]
    evaluate: Evaluate


class _Parser:
    """Recursive descent; binding from tight to loose: ``!`` and ``'``, ``^``, and, or."""

    def __init__(self, text: str):
        self._text = text
        self._tokens = _TOKEN.findall(text)
        if "".join(self._tokens) != re.sub(r"\s", "", text):
            raise DataError(f"not a Liberty function: {text!r}")
        self.pins: dict[str, None] = {}
        self._at = 0

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def whole(self) -> Evaluate:
        result = self._either()
        if self._peek():
            raise DataError(f"not a Liberty function: {self._text!r}")
        return result

    def _either(self) -> Evaluate:
        left = self._both()
        while self._peek() and self._peek() in "|+":
            self._at += 1
            left = _binary(np.bitwise_or, left, self._both())
        return left

    def _both(self) -> Evaluate:
        left = self._differ()
        while (token := self._peek()) and token not in ")|+":
            self._at += token in "&*"  # two names side by side are "and", too
            left = _binary(np.bitwise_and, left, self._differ())
        return left

    def _differ(self) -> Evaluate:
        left = self._unary()
        while self._peek() == "^":
            self._at += 1
            left = _binary(np.bitwise_xor, left, self._unary())
        return left

    def _unary(self) -> Evaluate:
        token = self._peek()
        self._at += 1
        if token == "!":
            return _inverse(self._unary())
        if token == "(":
            value = self._either()
            if self._peek() != ")":
                raise DataError(f"not a Liberty function: {self._text!r}")
            self._at += 1
        elif token in ("0", "1"):
            value = _constant(token == "1")
        elif re.match(r"[A-Za-z_]", token):
            self.pins[token] = None
            value = _pin(token)
        else:
            raise DataError(f"not a Liberty function: {self._text!r}")
        while self._peek() == "'":
            self._at += 1
            value = _inverse(value)
        return value


def _pin(name: str) -> Evaluate:
    return lambda words: words[name]


def _constant(value: bool) -> Evaluate:
    word = np.array(0xFFFF_FFFF_FFFF_FFFF if value else 0, np.uint64)
    return lambda words: word


def _inverse(value: Evaluate) -> Evaluate:
    return lambda words: np.bitwise_not(value(words))


def _binary(operation, left: Evaluate, right: Evaluate) -> Evaluate:
    return lambda words: operation(left(words), right(words))


def parse_function(text: str) -> Function:
    """Parse ``"(!((A B)+C))"`` and the like.

    Raises
    ------
    DataError
        The text is no function.
    """
    parser = _Parser(text)
    evaluate = parser.whole()
    return Function(text, tuple(parser.pins), evaluate)
