"""What a pass of a model costs in arithmetic and memory, counted on the meta device: no weights, no memory, no clock.

Counted are matrix products, convolutions and attention, two operations a multiply-add, by torch's own counter, from
the operators that really run; additions, norms, activations and rotations are left out. Attention over N tokens is
counted in full (4 N² D a head), as it runs bidirectionally.
"""

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from wmkit.errors import InputError
from wmkit.model.config import ModelConfig
from wmkit.model.dit import CameraDiT
from wmkit.model.rays import CameraBatch
from wmkit.model.text import TextBatch

__all__ = ["FlashAttention", "Grid", "KeptBytes", "ModuleWork", "count_kept", "count_work", "meta_inputs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Latent frames, rows and columns, and text tokens, of one clip."""

    frames: int
    rows: int
    columns: int
    text_tokens: int = 300

    @classmethod
    def parse(cls, text: str, text_tokens: int = 300) -> "Grid":
        """`121x22x40`; InputError for anything else."""
        found = re.fullmatch(r"(\d+)x(\d+)x(\d+)", text)
        if found is None:
            raise InputError(f"--grid: expected frames, rows and columns such as 121x22x40, got {text!r}")
        frames, rows, columns = (int(number) for number in found.groups())
        return cls(frames=frames, rows=rows, columns=columns, text_tokens=text_tokens)

    @property
    def tokens(self) -> int:
        """Video tokens."""
        return self.frames * self.rows * self.columns


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleWork:
    """One part of the model: parameters and operations of one forward pass, all blocks together."""

    part: str
    parameters: int
    flop: int


def count_work(config: ModelConfig, grid: Grid) -> tuple[ModuleWork, ...]:
    """Parts of the model by falling work: submodules of its blocks, and what stands before and after them.

    The recurrence or attention of a block stands apart from its linear maps: `attn (gdn)` and `attn (softmax)`.
    """
    with torch.device("meta"):
        model = CameraDiT(config)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model(*meta_inputs(config, grid))
    flop: Counter[str] = Counter()
    for name, own in _own(counter.get_flop_counts()).items():
        if "." in name:
            flop[_part(name.partition(".")[2], config)] += own
    parameters: Counter[str] = Counter()
    for name, parameter in model.named_parameters():
        parameters[_part(name.rpartition(".")[0], config)] += parameter.numel()
    parts = sorted(set(flop) | set(parameters), key=lambda part: (-flop[part], part))
    return tuple(ModuleWork(part=part, parameters=parameters[part], flop=flop[part]) for part in parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptBytes:
    """What a forward pass keeps for the gradients of one clip, parameters left out.

    blocks    of each block in turn.
    inputs    of each block's input alone: what is kept when blocks are computed again.
    elsewhere before the first block and after the last.
    """

    blocks: tuple[int, ...]
    inputs: int
    elsewhere: int


def count_kept(config: ModelConfig, grid: Grid, dtype: torch.dtype) -> KeptBytes:
    """Bytes of the distinct tensors that autograd saves when the model runs in `dtype`; views count once.

    Softmax attention keeps no N x N matrix, as flash attention does not; the recurrence is the torch path's.
    """
    with torch.device("meta"):
        model = CameraDiT(config).to(dtype)
    blocks = list(model.blocks)
    place, kept, seen = [len(blocks)], [0] * (len(blocks) + 1), set[int]()
    held: list[Tensor] = []  # a storage that is gone gives its address to another one

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if not isinstance(tensor, nn.Parameter) and storage._cdata not in seen:
            seen.add(storage._cdata)
            held.append(tensor)
            kept[place[0]] += storage.nbytes()
        return tensor

    for number, block in enumerate(blocks):
        block.register_forward_pre_hook(lambda *_, at=number: place.__setitem__(0, at))
        block.register_forward_hook(lambda *_: place.__setitem__(0, len(blocks)))
    latent, *others = meta_inputs(config, grid)
    with FlashAttention(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(latent.to(dtype), *others)
    wide = grid.tokens * config.width * dtype.itemsize
    return KeptBytes(blocks=tuple(kept[:-1]), inputs=wide, elsewhere=kept[-1])


class FlashAttention(TorchFunctionMode):
    """Attention keeps what a fused kernel does: q, k, v, the result and a number a query."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Attention by a stand-in, everything else as it is."""
        if func is nn.functional.scaled_dot_product_attention:
            return _Fused.apply(*args[:3])
        return func(*args, **(kwargs or {}))


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out = torch.empty((*q.shape[:-1], v.shape[-1]), dtype=q.dtype, device=q.device)
        ctx.save_for_backward(q, k, v, out, torch.empty(q.shape[:-1], device=q.device))
        return out


def _own(counts: dict[str, Any]) -> dict[str, int]:
    """Operations of every module without those of the modules below it; a module that is never called has no entry."""
    own = {name: sum(by_operator.values()) for name, by_operator in counts.items()}
    for name, by_operator in counts.items():
        above = name.rpartition(".")[0]
        while above and above not in counts:
            above = above.rpartition(".")[0]
        if above:
            own[above] -= sum(by_operator.values())
    return own


def _part(name: str, config: ModelConfig) -> str:
    """`blocks.3.attn.qkv` -> `block attn.qkv`; the attention itself by its kind, small tensors together."""
    pieces = name.split(".")
    if pieces[0] != "blocks" or len(pieces) < 2:
        return pieces[0]
    inner = ".".join(pieces[2:]).removesuffix(".conv")
    if inner == "attn":
        return f"block attn ({'softmax' if config.is_softmax(int(pieces[1])) else config.mixer})"
    if inner in ("mlp", "mlp.inverted_conv", "mlp.point_conv"):
        return "block mlp 1x1"  # the block multiplies by these weights itself, without calling the modules
    if not inner or "norm" in inner or inner.endswith(("beta_proj", "gate_proj", "conv_k", "conv_k_cam")):
        return "block gates, norms, tables"
    return f"block {inner}"


def meta_inputs(config: ModelConfig, grid: Grid) -> tuple[Tensor, Tensor, CameraBatch, TextBatch | None]:
    """Latent, noise levels, cameras and text of one clip, on the meta device."""

    def empty(*shape: int) -> Tensor:
        return torch.empty(shape, device="meta")

    video_frames = 1 + config.latent_stride * (grid.frames - 1)
    cameras = CameraBatch(
        world_from_cam=empty(1, video_frames, 4, 4),
        intrinsics=empty(1, video_frames, 4),
        width=grid.columns * config.latent_downscale,
        height=grid.rows * config.latent_downscale,
    )
    text = None
    if config.text is not None:
        mask = torch.ones(1, grid.text_tokens, dtype=torch.bool, device="meta")
        text = TextBatch(states=empty(1, grid.text_tokens, config.text.channels), mask=mask)
    latent = empty(1, grid.frames, config.latent_channels, grid.rows, grid.columns)
    return latent, empty(1, grid.frames), cameras, text
