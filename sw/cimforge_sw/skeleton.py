"""A model without its weights, which come from the checkpoint part by part and go again."""

import ctypes
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import safe_open
from torch import Tensor, nn
from transformers.initialization import no_init_weights

from cimforge.spec.errors import DataError
from cimforge_sw.blocks import Blocks
from cimforge_sw.checkpoint import MONARCH, PACKED, check_folder
from cimforge_sw.models import LOAD_ERRORS, model_class, quiet

__all__ = ["Shards", "Skeleton"]


class Shards:
    """The tensors of a dense checkpoint, mapped into memory one at a time.

    Parameters
    ----------
    folder : Path

    Attributes
    ----------
    files : list of Path
    names : list of str
        Of all tensors, in the order of the files.

    Raises
    ------
    DataError
        As `check_folder`; or a packed or Monarch checkpoint.
    """

    def __init__(self, folder: Path):
        self.files = check_folder(folder)
        if self.files == [folder / PACKED]:
            raise DataError(f"{folder}: a packed checkpoint is already pruned; expected dense "
                            "safetensors")
        if self.files == [folder / MONARCH]:
            raise DataError(f"{folder}: a Monarch checkpoint has factors; expected dense "
                            "safetensors")
        self._stack = ExitStack()
        opened = [self._stack.enter_context(safe_open(file, framework="pt"))
                  for file in self.files]
        self._where = {name: file for file in opened for name in file.keys()}
        self.names = list(self._where)

    def close(self) -> None:
        """Let go of the files."""
        self._stack.close()

    def __contains__(self, name: str) -> bool:
        return name in self._where

    def __getitem__(self, name: str) -> Tensor:
        """Return a tensor as the file has it; its pages are the file's, not memory of its own."""
        return self._where[name].get_tensor(name)


@contextmanager
def _parameters_on_meta() -> Iterator[None]:
    """Build modules whose parameters have a shape and no memory; buffers are as always.

    Buffers that no checkpoint holds (rotary frequencies, position numbers) are computed when a
    module is built, so building all of it on the meta device would lose them.
    """
    original = nn.Module.register_parameter

    def register(self: nn.Module, name: str, param: nn.Parameter | None) -> None:
        if param is not None and not param.is_meta:  # one on meta may be tied: keep its identity
            param = nn.Parameter(param.detach().to("meta"), requires_grad=False)
        original(self, name, param)

    nn.Module.register_parameter = register  # type: ignore[method-assign]
    try:
        yield
    finally:
        nn.Module.register_parameter = original  # type: ignore[method-assign]


class Skeleton:
    """A model that holds the weights of at most one block, and of what runs before the blocks.

    Parameters
    ----------
    folder : Path
        A dense checkpoint.

    Attributes
    ----------
    module : nn.Module
        Evaluation mode. Parameters are on the meta device until they are loaded, as float32.
    blocks : Blocks
        Of the module.
    shards : Shards

    Raises
    ------
    DataError
        As `check_folder`; no single stack of blocks that run once each, in order; or a tensor of
        a block that is missing.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self.shards = Shards(folder)
        self.module = _build(folder)
        self.blocks = Blocks(self.module)
        runs = getattr(self.module.config, "num_hidden_layers", len(self.blocks))
        if not len(self.blocks) or runs != len(self.blocks):
            raise DataError(f"{folder}: {type(self.module).__name__} cannot be streamed: expected "
                            "one stack of blocks that run once each; load it whole instead")
        # All that a file must have, and the block each tensor is in.
        self._held = {name: self._block_of(name) for name in self.module.state_dict()}
        for index in range(len(self.blocks)):
            self.tensors_of(index)
        self._load_outside_when_called()

    def _block_of(self, name: str) -> int | None:
        for index, block in enumerate(self.blocks.names):
            if name.startswith(f"{block}."):
                return index
        return None

    def source_of(self, name: str) -> str:
        """Return what the file calls a tensor: base models are saved with and without a prefix."""
        prefix = f"{self.module.base_model_prefix}."
        tied = getattr(self.module, "all_tied_weights_keys", {}).get(name, name)
        for candidate in (name, prefix + name, name.removeprefix(prefix), tied):
            if candidate in self.shards:
                return candidate
        raise DataError(f"{self._folder}: weights of another architecture: {name!r} of "
                        f"{type(self.module).__name__} is not in the file")

    def tensors_of(self, index: int) -> dict[str, str]:
        """Return the tensors of a block: names in the file by names in the model."""
        return {name: self.source_of(name) for name, at in self._held.items() if at == index}

    def outside(self) -> list[str]:
        """Return the names in the file of all tensors that belong to no block."""
        inside = {source for index in range(len(self.blocks))
                  for source in self.tensors_of(index).values()}
        return [name for name in self.shards.names if name not in inside]

    def load(self, index: int) -> None:
        """Read a block.

        Raises
        ------
        DataError
            A tensor of another shape, not of floating point, or with NaN or infinite values.
        """
        for name, source in self.tensors_of(index).items():
            self._load(name, source)

    def release(self, index: int) -> None:
        """Let go of a block's weights."""
        for name in self.tensors_of(index):
            self.drop(name)

    @contextmanager
    def in_turn(self, count: int) -> Iterator[None]:
        """Load each of the first ``count`` blocks when it runs, and release the one before it."""
        held: list[int] = []

        def before(index: int, block: nn.Module) -> None:
            if held == [index] or "forward" in vars(block):  # the latter passes its input through
                return
            while held:
                self.release(held.pop())
            held.append(index)
            self.load(index)

        hooks = [self.blocks[index].register_forward_pre_hook(
            lambda block, _, index=index: before(index, block)) for index in range(count)]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
            while held:
                self.release(held.pop())

    def drop(self, name: str) -> None:
        """Let go of one parameter, and give its memory back; buffers stay."""
        owner, _, attribute = name.rpartition(".")
        parameters = self.module.get_submodule(owner)._parameters
        held = parameters.get(attribute)
        if held is not None:
            parameters[attribute] = nn.Parameter(held.detach().to("meta"), requires_grad=False)
            del held
            _return_free_memory()

    def _load(self, name: str, source: str) -> None:
        owner, _, attribute = name.rpartition(".")
        part = self.module.get_submodule(owner)
        wanted, came = getattr(part, attribute), self.shards[source]
        if came.shape != wanted.shape:
            raise DataError(f"{self._folder}: {source} has shape {tuple(came.shape)}, but "
                            f"config.json wants {tuple(wanted.shape)}")
        if attribute in part._buffers:
            part._buffers[attribute] = came.to(wanted.dtype, copy=True)
            return
        if not came.is_floating_point():
            raise DataError(f"{self._folder}: {source} is {came.dtype}; expected floating point")
        # A copy: its alignment, and so the last bit of a product, must not depend on the file.
        tensor = came.to(torch.float32, copy=True)
        if not torch.isfinite(torch.stack(torch.aminmax(tensor))).all():
            raise DataError(f"{self._folder}: {source} has weight(s) that are NaN or infinite")
        part._parameters[attribute] = nn.Parameter(tensor, requires_grad=False)

    def _load_outside_when_called(self) -> None:
        """Read embeddings when they first run; a head, which never runs, is never read."""
        for path, part in self.module.named_modules():
            own = [name for name in self._held if name.rpartition(".")[0] == path]
            if not own or self._held[own[0]] is not None:
                continue
            if any(True for _ in part.children()):  # may use its own tensors around any call
                self._load_all(own)
            else:
                # Its owner may use its weight without a call (DeBERTa-v2); the model itself, the
                # owner of the head, is not known to.
                owner = path.rpartition(".")[0]
                parts = [part, self.module.get_submodule(owner)] if owner else [part]
                self._load_once(parts, own)

    def _load_all(self, names: list[str]) -> None:
        for name in names:
            self._load(name, self.source_of(name))

    def _load_once(self, parts: list[nn.Module], names: list[str]) -> None:
        def before(_: nn.Module, __: Any) -> None:
            for handle in handles:
                handle.remove()
            self._load_all(names)

        handles = [part.register_forward_pre_hook(before) for part in parts]


def _return_free_memory() -> None:
    """Let glibc return freed memory: it keeps what tensors below 32 MiB leave behind, in holes."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries have none
    if trim is not None:
        trim(0)


def _build(folder: Path) -> nn.Module:
    try:
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
        config.dtype = torch.float32
        kind = model_class(folder)
        build = kind.from_config if kind is transformers.AutoModel else kind
        with quiet(), _parameters_on_meta(), no_init_weights():
            module = build(config)
    except LOAD_ERRORS as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{folder}: transformers cannot build this model: {first}") from error
    return module.eval()
