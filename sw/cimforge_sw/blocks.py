"""Running a part of a model: from one block on, or up to one, with the model's own forward.

Masks, positions and everything else that a family hands to its blocks come from its own code, so
no family needs code here: blocks in front of the first one wanted pass their input through, and the
pass ends where the first one not wanted would begin. Where blocks hand each other more than hidden
states, or run several times, that would be wrong; `Blocks.verify` finds out.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from cimforge.spec.errors import DataError
from cimforge_sw.forward import forward
from cimforge_sw.layers import block_lists

__all__ = ["Blocks", "separate_blocks"]

_PROBE = 16  # tokens that tell whether blocks run alone


class _Reached(Exception):
    """Carries the hidden states out of a forward pass that need not go on."""

    def __init__(self, states: Tensor):
        self.states = states


class Blocks:
    """The repeated blocks of a model, and forward passes over some of them.

    Parameters
    ----------
    module : nn.Module
        A whole model. One with two stacks of blocks (encoder and decoder) counts as one block:
        nothing of it can be run alone.

    Attributes
    ----------
    names : list of str
        The blocks, in the order they run.
    """

    def __init__(self, module: nn.Module):
        self.module = module
        lists = list(block_lists(module))
        path, blocks = lists[0] if len(lists) == 1 else ("", ())
        self.names = [f"{path}.{index}" for index in range(len(blocks))]
        self._blocks = list(blocks)
        self._widths: dict[int, int] = {}  # of what a block returns: 0 for states, n for a tuple

    def __len__(self) -> int:
        return len(self._blocks)

    def __getitem__(self, index: int) -> nn.Module:
        return self._blocks[index]

    def index_of(self, layer: str) -> int:
        """Return the number of the block that holds a layer; 0 where blocks cannot run alone."""
        for index, name in enumerate(self.names):
            if layer == name or layer.startswith(f"{name}."):
                return index
        return 0

    def verify(self, ids: Tensor, stop: int | None = None) -> bool:
        """Tell whether blocks run once each, in order, on nothing but what the one before returns.

        Every block runs twice on a few tokens, in the whole model and with those before it passing
        their input through. Needed once before a pass that leaves blocks out.

        Parameters
        ----------
        ids : Tensor of int64, shape (B, T)
            Real text; some of the first row is used.
        stop : int, optional
            Judge by the blocks before this one alone, and run no others.
        """
        whole, stop, ids = stop is None, stop or len(self), ids[:1, :_PROBE]
        order: list[int] = []
        given: dict[int, Tensor] = {}
        with ExitStack() as stack:
            for index in range(stop):
                stack.enter_context(self._observed(index, order, given))
            if whole:  # to the end: a block that runs several times is seen
                forward(self.module, ids)
            else:
                given[stop] = self.states(ids, stop)
        alike = given.keys() == set(range(stop + 1)) and self._widths.keys() == set(range(stop))
        if order != list(range(stop)) or not alike:
            return False
        try:
            return all(_equal(self.states(ids, start + 1, start, given[start]), given[start + 1])
                       for start in range(1, stop))
        except DataError:  # the model's own code fails on blocks that pass through
            return False

    @contextmanager
    def _observed(self, index: int, order: list[int], given: dict[int, Tensor]) -> Iterator[None]:
        """Note when a block runs, what it is given, and what kind of thing it returns."""
        def before(_: nn.Module, args: tuple, kwargs: dict) -> None:
            order.append(index)
            states = _states_of(args, kwargs)
            if states is not None:
                given[index] = states.clone()

        def after(_: nn.Module, __: tuple, output: Any) -> None:
            if type(output) is tuple and output and isinstance(output[0], Tensor):
                self._widths[index] = len(output)
            elif isinstance(output, Tensor):
                self._widths[index] = 0
            else:
                return
            given[index + 1] = (output[0] if self._widths[index] else output).clone()

        block = self._blocks[index]
        with (_hooked(block.register_forward_pre_hook(before, with_kwargs=True)),
              _hooked(block.register_forward_hook(after))):
            yield

    def run(self, ids: Tensor, start: int = 0, states: Tensor | None = None) -> Any:
        """Return the model's output, blocks before ``start`` left out.

        Parameters
        ----------
        ids : Tensor of int64, shape (B, T)
        start : int
            First block that runs; beyond 0 only after `verify`.
        states : Tensor of float, shape (B, T, H), optional
            What block ``start`` is given; needed unless ``start`` is 0.
        """
        with self._resumed(start, states):
            return forward(self.module, ids)

    def states(self, ids: Tensor, stop: int, start: int = 0,
               states: Tensor | None = None) -> Tensor:
        """Return the hidden states [B, T, H] that block ``stop`` is given (or the end, len(self)).

        The other parameters are those of `run`.
        """
        if not (len(self) and start <= stop <= len(self)):
            raise DataError(f"{type(self.module).__name__} has {len(self)} blocks that run alone; "
                            f"there is no pass from {start} to {stop}")
        if stop == start and states is not None:
            return states
        with ExitStack() as stack:
            stack.enter_context(self._resumed(start, states))
            if stop < len(self):  # the model may do something between two blocks (DeBERTa-v2)
                stack.enter_context(_hooked(self._blocks[stop].register_forward_pre_hook(
                    _leave_before, with_kwargs=True)))
            else:
                stack.enter_context(_hooked(
                    self._blocks[stop - 1].register_forward_hook(_leave_after)))
            try:
                forward(self.module, ids)
            except _Reached as reached:
                return reached.states
        raise DataError(f"{type(self.module).__name__}: a pass went around its blocks; expected "
                        f"every one of {len(self)} to run")

    @contextmanager
    def _resumed(self, start: int, states: Tensor | None) -> Iterator[None]:
        """Let blocks before ``start`` pass through, and give block ``start`` its states."""
        if start == 0:
            yield
            return

        def substitute(_: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
            if args:
                return (states, *args[1:]), kwargs
            return args, kwargs | {"hidden_states": states}

        skipped = self._blocks[:start]
        for index, block in enumerate(skipped):
            # Blocks of a stack return alike; a skeleton has seen the first ones only.
            block.forward = _passing_through(self._widths.get(index, self._widths[0]))
        handle = self._blocks[start].register_forward_pre_hook(substitute, with_kwargs=True,
                                                               prepend=True)
        try:
            yield
        finally:
            handle.remove()
            for block in skipped:
                del block.forward  # the class's own again


def separate_blocks(module: nn.Module, ids: Tensor) -> Blocks:
    """Return the blocks of a model; none where they cannot run alone, so that all is one block.

    Parameters
    ----------
    module : nn.Module
        A whole model, with its weights.
    ids : Tensor of int64, shape (B, T)
        Real text, see `Blocks.verify`.
    """
    blocks = Blocks(module)
    if len(blocks) and not blocks.verify(ids):
        blocks.names, blocks._blocks = [], []
    return blocks


@contextmanager
def _hooked(handle: Any) -> Iterator[None]:
    try:
        yield
    finally:
        handle.remove()


def _states_of(args: tuple, kwargs: dict) -> Tensor | None:
    states = args[0] if args else kwargs.get("hidden_states")
    return states if isinstance(states, Tensor) else None


def _passing_through(width: int) -> Callable[..., Any]:
    """Return a block's forward that returns its input, in a tuple of ``width`` unless that is 0."""
    def pass_through(*args: Any, **kwargs: Any) -> Any:
        states = _states_of(args, kwargs)
        return (states, *[None] * (width - 1)) if width else states

    return pass_through


def _leave_before(_: nn.Module, args: tuple, kwargs: dict) -> None:
    states = _states_of(args, kwargs)
    if states is None:
        raise DataError("a block takes no hidden states as its first argument")
    raise _Reached(states)


def _leave_after(_: nn.Module, __: tuple, output: Any) -> None:
    raise _Reached(output[0] if isinstance(output, tuple) else output)


def _equal(ours: Tensor, whole: Tensor) -> bool:
    """Compare states but for rounding: where memory lies may change the last bits of a product."""
    size = float(whole.nan_to_num(0, 0, 0).abs().max())
    return ours.shape == whole.shape and torch.allclose(ours, whole, rtol=1e-4, atol=1e-5 * size,
                                                        equal_nan=True)
