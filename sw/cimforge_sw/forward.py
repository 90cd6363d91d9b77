"""One pass of any model over token ids: what its family needs besides them, and clear errors."""

from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from cimforge.spec.errors import CimforgeError, DataError

__all__ = ["forward"]

# What a model raises for inputs that it was not made for.
_REFUSALS = (ValueError, TypeError, RuntimeError, LookupError, AttributeError, AssertionError)


def forward(module: nn.Module, ids: Tensor) -> Any:
    """Return the model's output on token ids, without gradients.

    Parameters
    ----------
    module : nn.Module
        A whole model. The decoder of one that has an encoder, too, is given the same text behind
        its start token, so that all of the model runs.
    ids : Tensor of int64, shape (B, T)

    Raises
    ------
    DataError
        A model that does not run on token ids alone; the message has its own words.
    """
    try:
        with torch.inference_mode():
            return module(input_ids=ids, **_options(module, ids))
    except CimforgeError:
        raise  # of a hook: it says more
    except _REFUSALS as error:
        first = (str(error).splitlines() or [""])[0]
        raise DataError(f"{type(module).__name__} does not run on token ids {list(ids.shape)}: "
                        f"{type(error).__name__}: {first}") from error


def _options(module: nn.Module, ids: Tensor) -> dict[str, Any]:
    config, options = module.config, dict[str, Any]()
    if hasattr(config, "use_cache"):  # keys and values of past tokens only take memory here
        options["use_cache"] = False
    if (getattr(config, "is_encoder_decoder", False)
            and "decoder_input_ids" in signature(module.forward).parameters):
        options["decoder_input_ids"] = _behind_start(config, ids)
    return options


def _behind_start(config: Any, ids: Tensor) -> Tensor:
    """Return ids moved right by the start token, as models do that find none (BART)."""
    known = (getattr(config, f"{name}_token_id", None)
             for name in ("decoder_start", "bos", "pad", "eos"))
    start = next((token for token in known if isinstance(token, int)), 0)
    return torch.cat([torch.full_like(ids[:, :1], start), ids[:, :-1]], dim=1)
