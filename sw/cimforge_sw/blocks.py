"""Running a part of a model: from one block on, or up to one, with the model's own forward.

Masks, positions and everything else that a family hands to its blocks come from its own code, so
no family needs code here: blocks in front of the first one wanted pass their input through, and the
pass ends where the first one not wanted would begin.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from cimforge_sw.layers import block_lists

__all__ = ["Blocks"]


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

    def run(self, ids: Tensor, start: int = 0, states: Tensor | None = None) -> Any:
        """Return the model's output, blocks before ``start`` left out.

        Parameters
        ----------
        ids : Tensor of int64, shape (B, T)
        start : int
            First block that runs.
        states : Tensor of float, shape (B, T, H), optional
            What block ``start`` is given; needed unless ``start`` is 0.
        """
        with self._resumed(start, states):
            return self._forward(ids)

    def states(self, ids: Tensor, stop: int, start: int = 0,
               states: Tensor | None = None) -> Tensor:
        """Return the hidden states [B, T, H] that block ``stop`` is given (or the end, len(self)).

        The other parameters are those of `run`.
        """
        with ExitStack() as stack:
            if stop == 0:
                stack.enter_context(_hooked(self._blocks[0].register_forward_pre_hook(
                    _leave_before, with_kwargs=True)))
            else:
                stack.enter_context(self._resumed(start, states))
                stack.enter_context(_hooked(
                    self._blocks[stop - 1].register_forward_hook(_leave_after)))
            try:
                self._forward(ids)
            except _Reached as reached:
                return reached.states
        raise AssertionError("a forward pass went around its blocks")

    def _forward(self, ids: Tensor) -> Any:
        with torch.inference_mode():
            return self.module(input_ids=ids, **_no_cache(self.module))

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
        for block in skipped:
            block.forward = _pass_through
        handle = self._blocks[start].register_forward_pre_hook(substitute, with_kwargs=True,
                                                               prepend=True)
        try:
            yield
        finally:
            handle.remove()
            for block in skipped:
                del block.forward  # the class's own again


@contextmanager
def _hooked(handle: Any) -> Iterator[None]:
    try:
        yield
    finally:
        handle.remove()


def _states_of(args: tuple, kwargs: dict) -> Tensor:
    return args[0] if args else kwargs["hidden_states"]


def _pass_through(*args: Any, **kwargs: Any) -> Tensor:
    return _states_of(args, kwargs)


def _leave_before(_: nn.Module, args: tuple, kwargs: dict) -> None:
    raise _Reached(_states_of(args, kwargs))


def _leave_after(_: nn.Module, __: tuple, output: Any) -> None:
    raise _Reached(output[0] if isinstance(output, tuple) else output)


def _no_cache(module: nn.Module) -> dict[str, bool]:
    """Keys and values of past tokens are of no use here, and take memory."""
    return {"use_cache": False} if hasattr(module.config, "use_cache") else {}
