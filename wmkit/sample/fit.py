"""Whether a sample fits the memory of its device, by counting: weights, and tensors alive at most while they work.

Counted on the meta device, in float32 and with the torch path of the recurrence: a bound for bfloat16 and for faster
kernels. Not counted: what a refiner of other makers, a text encoder and CUDA itself need besides weights.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from wmkit.errors import InputError
from wmkit.model.chunk_sampler import sample_chunks
from wmkit.model.dit import CameraDiT
from wmkit.model.live_bytes import LiveBytes
from wmkit.model.ltx2_refiner import Ltx2Refiner
from wmkit.model.placement import OFFLOADS, Placement, lent, rounded_modules, weights_of
from wmkit.model.sampler import Prompt, SamplerConfig, sample_latents
from wmkit.model.stream_sampler import stream_chunks
from wmkit.model.work import FlashAttention, Grid, meta_inputs
from wmkit.sample.generate import STREAM_KEEPS
from wmkit.sample.options import SampleOptions, SamplerName
from wmkit.sample.parts import Parts
from wmkit.train.estimate import USABLE

__all__ = ["bytes_needed", "check_fit"]

GIB = 2**30
STREAMED = 10  # latent frames, three chunks: from then on a stream grows no more


def check_fit(parts: Parts, frames: int, method: SamplerName, options: SampleOptions) -> None:
    """InputError, naming what would fit, when a video of so many frames does not; nothing is known to limit a CPU."""
    if options.memory_gib is not None:
        memory = int(options.memory_gib * GIB)
    elif options.device == "cuda":
        memory = torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved()  # what is ours by now counts as free
    else:
        return
    work = _working_bytes(parts, frames, method, options)
    needed = bytes_needed(parts, work, options.place)
    if needed <= USABLE * memory:
        return
    others = [replace(options.place, offload=offload, precision=precision)
              for precision in ("float32", "bfloat16") for offload in OFFLOADS]  # fmt: skip
    fitting = [place for place in others if bytes_needed(parts, work, place) <= USABLE * memory]
    if fitting:
        ways = f"--offload {fitting[0].offload} --precision {fitting[0].precision}"
        advice = f"{ways} would fit, in {bytes_needed(parts, work, fitting[0]) / GIB:.3g} GiB"
    else:
        least = min(bytes_needed(parts, work, place) for place in others)
        shorter = "fewer --seconds" if method == "stream" else "--sampler stream or fewer --seconds"
        advice = f"no offload or precision would do with less than {least / GIB:.3g} GiB; try {shorter}"
    raise InputError(
        f"--device {options.device}: expected room for {needed / GIB:.3g} GiB in {USABLE:.0%} of "
        f"{memory / GIB:.3g} GiB; {advice}"
    )


def bytes_needed(parts: Parts, work: tuple[int, int], place: Placement) -> int:
    """The most bytes on the device at once; `work` is what the backbone's passes and decoding need besides weights."""
    pass_bytes, decode_bytes = work
    text, codec = (sum(map(_size, weights_of(part))) for part in (parts.text, parts.codec))
    model, refiner = _backbone(parts.model, place), parts.refiner
    second: list[int] = []
    if isinstance(refiner, Ltx2Refiner):
        factor = place.dtype.itemsize / parts.place.dtype.itemsize
        encoder, connectors, transformer = (int(factor * _size(module)) for module in refiner.parts)
        second = [encoder + connectors, transformer]
    elif refiner is not None:
        second = [_backbone(refiner.model, place)]
    if place.offload == "none":
        return text + codec + model + sum(second) + max(pass_bytes, decode_bytes)
    refining = [size + (0 if isinstance(refiner, Ltx2Refiner) else pass_bytes) for size in second]
    return max(text, codec + decode_bytes, model + pass_bytes, *refining)


def _backbone(model: CameraDiT, place: Placement) -> int:
    """Bytes of a backbone's weights on the device at once, in the precision of `place`."""
    rounded = {id(own) for module in rounded_modules(model) for own in module.parameters(recurse=False)}
    wide = place.dtype.itemsize

    def size(module: nn.Module) -> int:
        return sum(own.numel() * (wide if id(own) in rounded else 4) for own in _tensors(module))

    if place.offload != "blocks":
        return size(model)
    blocks = [size(block) for block in model.blocks]
    return size(model) - sum(blocks) + max(blocks)


def _size(module: nn.Module) -> int:
    return sum(own.numel() * own.element_size() for own in _tensors(module))


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]


def _working_bytes(parts: Parts, frames: int, method: SamplerName, options: SampleOptions) -> tuple[int, int]:
    """What sampling and decoding hold at most besides weights, by one step of each on the meta device."""
    config, spec = parts.config, parts.codec.spec()
    latent_frames = spec.latent_frames(frames)
    if method == "stream":
        latent_frames = min(latent_frames, STREAMED)
    text_tokens = 0 if config.model.text is None else config.model.text.tokens
    rows, columns = config.data.height // spec.downscale, config.data.width // spec.downscale
    grid = Grid(frames=latent_frames, rows=rows, columns=columns, text_tokens=text_tokens)
    latent, _, cameras, text = meta_inputs(config.model, grid)
    prompt = Prompt(text=text, negative=text, guidance=1.0 if text is None else options.guidance)
    once = SamplerConfig(steps=1)
    model = parts.model

    def sampled() -> Any:
        if method == "stream":
            return list(stream_chunks(model, latent[:, :1], cameras, once, prompt, kept=STREAM_KEEPS))
        sample = sample_latents if method == "euler" else sample_chunks
        return sample(model, latent[:, :1], cameras, once, prompt)

    decoded = latent[:, :4] if method == "stream" else latent  # a chunk of three and the one before it
    return _peak([model], sampled), _peak(weights_of(parts.codec), lambda: parts.codec.decode(decoded))


def _peak(modules: Sequence[nn.Module], work: Callable[[], Any]) -> int:
    with lent(list(modules), "meta"), torch.no_grad(), FlashAttention(), LiveBytes() as live:
        work()
    return live.peak
