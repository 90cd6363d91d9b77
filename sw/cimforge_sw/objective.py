"""How far a model variant is from the dense model, end to end, on calibration text."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from cimforge.spec.errors import DataError
from cimforge_sw.blocks import Blocks, separate_blocks
from cimforge_sw.forward import forward
from cimforge_sw.models import Model
from cimforge_sw.tokens import Text, batches, encode

__all__ = ["Objective"]


class Objective:
    """The loss of variants of one model against its dense outputs.

    For a model with a language-model head: the Kullback-Leibler divergence of the next-token
    distributions from the dense ones, nats per token. For an encoder: 1 minus the mean cosine of
    sentence embeddings (mean-pooled last hidden states).

    Parameters
    ----------
    dense : Model
        The reference; runs once, here.
    texts : sequence of str or of sequences of int
        The reference's outputs are kept: for a vocabulary of V, 2 V bytes per token.
    batch_tokens : int
        Tokens that run at once.

    Raises
    ------
    DataError
        Unusable texts, or a model with neither logits nor hidden states.
    """

    def __init__(self, dense: Model, texts: Sequence[Text], batch_tokens: int = 2048):
        self._ids = [ids for _, ids in batches(encode(dense, texts), batch_tokens)]
        self._reference = [_outputs(forward(dense.module, ids), dense.name) for ids in self._ids]
        self._blocks: Blocks | None = None  # of the module that was last asked for

    def blocks(self, module: nn.Module) -> Blocks:
        """Return the blocks of a module that run alone on this text, see `separate_blocks`."""
        if self._blocks is None or self._blocks.module is not module:
            self._blocks = separate_blocks(module, self._ids[0])
        return self._blocks

    def states(self, module: nn.Module, stop: int, start: int = 0,
               states: Sequence[Tensor] | None = None) -> list[Tensor]:
        """Return what block ``stop`` is given, batch by batch; see `Blocks.states`."""
        blocks = self.blocks(module)
        given = states if states is not None else [None] * len(self._ids)
        return [blocks.states(ids, stop, start, state)
                for ids, state in zip(self._ids, given, strict=True)]

    def loss(self, module: nn.Module, start: int = 0,
             states: Sequence[Tensor] | None = None) -> float:
        """Return the loss of a module, run from block ``start`` on with the states it is given."""
        blocks = self.blocks(module)
        given = states if states is not None else [None] * len(self._ids)
        total, count = 0.0, 0
        for ids, state, reference in zip(self._ids, given, self._reference, strict=True):
            part, items = _distance(_outputs(blocks.run(ids, start, state), "model"), reference)
            total, count = total + part, count + items
        return total / count if math.isfinite(total) else math.inf


def _outputs(output: Any, name: str) -> Tensor:
    """Return log-probabilities [B, T, V] as float16, or embeddings [B, H]."""
    logits = getattr(output, "logits", None)
    if logits is not None and logits.ndim == 3:
        return torch.log_softmax(logits, -1).half()
    states = getattr(output, "last_hidden_state", None)
    if states is None:
        raise DataError(f"{name}: expected a model with logits [B, T, V] or last_hidden_state, "
                        f"got {type(output).__name__}")
    return nn.functional.normalize(states.mean(1), dim=-1)


def _distance(ours: Tensor, reference: Tensor) -> tuple[float, int]:
    """Return the summed distance, and over how many tokens or texts."""
    if ours.ndim == 3:
        wanted = reference.float()
        divergence = (wanted.exp() * (wanted - ours.float())).sum()
        return float(divergence), ours.shape[0] * ours.shape[1]
    return float((1 - (ours * reference).sum(-1)).double().sum()), len(ours)
