"""Text to token batches without padding, so that no padded position enters any statistic."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from operator import index

import torch
from torch import Tensor, nn

from cimforge.spec.errors import DataError
from cimforge_sw.models import Model

__all__ = ["Text", "batches", "context_length", "encode", "whole_rows"]

Text = str | Sequence[int]
_UNLIMITED = 1 << 30  # tokenizers without a limit say 1e30


def context_length(model: Model) -> int:
    """Return the most tokens the model takes at once: the tokenizer's or the positions' limit."""
    limits = [getattr(model.module.config, name, None)
              for name in ("max_position_embeddings", "n_positions", "max_seq_len")]
    limits += _padded_positions(model.module)
    limits.append(getattr(model.tokenizer, "model_max_length", None))
    known = [limit for limit in limits if isinstance(limit, int) and 0 < limit < _UNLIMITED]
    return min(known, default=_UNLIMITED)


def _padded_positions(module: nn.Module) -> list[int]:
    """Return the positions left where padding has one: RoBERTa's count on from its number."""
    return [part.num_embeddings - part.padding_idx - 1 for name, part in module.named_modules()
            if name.endswith("position_embeddings") and isinstance(part, nn.Embedding)
            and part.padding_idx is not None]


def encode(model: Model, texts: Iterable[Text], max_tokens: int | None = None) -> list[list[int]]:
    """Tokenize, each text cut at the context length.

    Parameters
    ----------
    model : Model
        Its tokenizer, vocabulary and context length count.
    texts : iterable of str or of sequences of int
        Sentences, or token ids as they are.
    max_tokens : int, optional
        Take whole texts until this many tokens are reached.

    Returns
    -------
    list of list of int
        Token ids of each text taken, at least one text.

    Raises
    ------
    DataError
        No text, one string instead of a list, a text that is neither string nor token ids or has no
        tokens, an id outside the vocabulary, or strings for a model that has no tokenizer.
    """
    if isinstance(texts, str):
        raise DataError("expected a list of texts, not one string")
    if not isinstance(texts, Iterable):
        raise DataError(f"expected a list of texts, not {texts!r}")
    limit, total, rows = context_length(model), 0, []
    for number, text in enumerate(texts):
        if max_tokens is not None and total >= max_tokens:
            break
        row = _encode_one(model, text, number, limit)
        total += len(row)
        rows.append(row)
    if not rows:
        raise DataError("expected at least one text, not none")
    return rows


def _encode_one(model: Model, text: Text, number: int, limit: int) -> list[int]:
    if isinstance(text, str):
        if model.tokenizer is None:
            raise DataError(f"{model.name} ships no tokenizer: give token ids instead of text")
        cut = {"truncation": True, "max_length": limit} if limit < _UNLIMITED else {}
        row = model.tokenizer(text, **cut)["input_ids"]
    else:
        try:
            row = [index(token) for token in text][:limit]
        except TypeError as error:
            raise DataError(f"text {number} must be a string or a list of token ids, "
                            f"not {text!r}") from error
    if not row:
        raise DataError(f"text {number} has no tokens: {text!r}")
    vocabulary = model.module.get_input_embeddings().num_embeddings
    if not all(0 <= token < vocabulary for token in row):
        raise DataError(f"text {number} has token ids outside 0..{vocabulary - 1}")
    return row


def whole_rows(model: Model, texts: Sequence[str]) -> list[list[int]]:
    """Tokenize texts in full, however long, after the tokenizer's start token where it has one.

    Raises
    ------
    DataError
        A model without tokenizer, or no text.
    """
    if model.tokenizer is None:
        raise DataError(f"{model.name} ships no tokenizer, so it cannot read text")
    if not texts:
        raise DataError("expected at least one text, not none")
    start = model.tokenizer.bos_token_id
    head = [] if start is None else [start]
    rows = model.tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
    return [[*head, *row] for row in rows]


def batches(rows: Sequence[Sequence[int]], batch_tokens: int = 4096
            ) -> Iterator[tuple[list[int], Tensor]]:
    """Group rows of equal length, so that a batch needs no padding.

    Yields
    ------
    positions : list of int
        Which rows the batch holds.
    ids : Tensor of int64, shape (len(positions), T)
        At most ``batch_tokens`` tokens, or one row.
    """
    by_length: dict[int, list[int]] = defaultdict(list)
    for position, row in enumerate(rows):
        by_length[len(row)].append(position)
    for length, members in sorted(by_length.items()):
        step = max(1, batch_tokens // length)
        for start in range(0, len(members), step):
            chosen = members[start:start + step]
            yield chosen, torch.tensor([list(rows[p]) for p in chosen], dtype=torch.int64)
