"""The released refiner: an LTX-2 transformer that reads latents and a caption, through diffusers' `SanaWMLTX2Refiner`.

Chunk-causal, as that class runs it: a block of three latent frames at a time, whose attention reads the sink, the
refined frames of up to ten before it and itself. The sink's keys are kept before rotation and turned to stand right
before what is kept. With `block_frames` None all frames are one block: the whole-clip mode of the public bidirectional
code. The loop is ours, so that the noise is given frame by frame and steps are counted; weights, layers, caches and
captions are diffusers'. diffusers is imported when a refiner is loaded, not before.
Shapes: B batch, T latent frames, t frames of a block, C channels, h w latent rows and columns, N tokens, D of a token.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from wmkit.errors import ConfigError, InputError
from wmkit.model.components import Component, licence_of
from wmkit.model.placement import Placement
from wmkit.model.refiner import (
    REFINE_SIGMAS,
    SINK_FRAMES,
    RefineTask,
    frames_of,
    refine_noise,
    refined_block,
    step_counter,
)

__all__ = ["Ltx2Refiner", "Ltx2RefinerConfig", "load_ltx2_refiner", "of_tokens", "tokens_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ltx2RefinerConfig:
    """What a pass refines and reads: `block_frames` latent frames (None: all), `kept_frames` before and in it at most.

    `kept_frames` counts the sink and the refined frames before the block, as the released `kv_max_frames` does.
    Raises ConfigError when a number is out of range.
    """

    block_frames: int | None = 3
    kept_frames: int = 11

    def __post_init__(self) -> None:
        if (self.block_frames is not None and self.block_frames < 1) or self.kept_frames <= SINK_FRAMES:
            raise ConfigError(
                f"refiner: expected block_frames >= 1 and kept_frames > {SINK_FRAMES}, got {self.block_frames} and "
                f"{self.kept_frames}"
            )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ltx2Refiner:
    """A loaded `SanaWMLTX2Refiner` as a `Refiner`; its captions are encoded before its transformer is needed."""

    pipeline: Any
    component: Component
    config: Ltx2RefinerConfig = Ltx2RefinerConfig()
    place: Placement = Placement()

    def __post_init__(self) -> None:
        sizes = self.pipeline.transformer.config
        if (sizes.patch_size, sizes.patch_size_t) != (1, 1):
            raise ConfigError(
                f"refiner: expected patches of one latent cell, got {sizes.patch_size_t} x {sizes.patch_size}"
            )

    @property
    def parts(self) -> tuple[Any, Any, Any]:
        """Modules with weights: text encoder and connectors, which work together, and the transformer."""
        return self.pipeline.text_encoder, self.pipeline.connectors, self.pipeline.transformer

    @property
    def channels(self) -> int:
        """C: 128 for LTX-2."""
        return self.pipeline.transformer.config.in_channels

    @property
    def licence(self) -> str:
        """Licence of the weights, in words."""
        return self.component.licence

    @torch.no_grad()
    def refine(
        self,
        task: RefineTask,
        progress: Callable[[int, int], None] | None = None,
        noise: Iterator[Float[Tensor, "B 1 C h w"]] | None = None,
    ) -> Float[Tensor, "B T C h w"]:
        """See `Refiner.refine`."""
        transformer = self.pipeline.transformer
        latent = task.latent.to(self.place.device, transformer.dtype)
        with self.place.using(*self.parts[:2]):
            caption = self._caption(task, latent)
        with self.place.using(transformer):
            return self._refined(task, latent, caption, progress, noise)

    def _refined(
        self,
        task: RefineTask,
        latent: Tensor,
        caption: tuple[Tensor, Tensor],
        progress: Callable[[int, int], None] | None,
        noise: Iterator[Tensor] | None,
    ) -> Tensor:
        noise = refine_noise(task.latent, task.seed) if noise is None else noise
        total = latent.shape[1]
        size = self.config.block_frames or total - SINK_FRAMES
        starts = range(SINK_FRAMES, total, size)
        after_step = step_counter(progress, len(starts) * (len(REFINE_SIGMAS) - 1))
        window = _Window(self.pipeline.transformer, caption, task.fps, latent)

        refined = [latent[:, :SINK_FRAMES]]
        for start in starts:
            given = latent[:, start : start + size]
            velocity = window.begin(start, given.shape[1])
            block = refined_block(given, frames_of(noise, given.shape[1]).to(latent), velocity, after_step)
            window.keep(block, self.config.kept_frames - SINK_FRAMES)
            refined.append(block)
        return torch.cat(refined, dim=1).to(task.latent)

    def _caption(self, task: RefineTask, latent: Tensor) -> tuple[Tensor, Tensor]:
        """States (B, L, D) and mask (B, L) of the caption for every clip."""
        states, mask = self.pipeline._encode_prompt(task.caption, device=latent.device, dtype=latent.dtype)
        return states.expand(len(latent), -1, -1), mask.expand(len(latent), -1)


class _Window:
    """What the frames of a block read besides themselves: the sink, and what is kept of refined blocks."""

    def __init__(self, transformer: Any, caption: tuple[Tensor, Tensor], fps: float, latent: Tensor) -> None:
        from diffusers.models.transformers.transformer_sana_wm_refiner import SanaWMRefinerKVCache

        self.transformer, self.caption, self.fps, self.latent = transformer, caption, fps, latent
        self.cache: Any = SanaWMRefinerKVCache(len(transformer.transformer_blocks))
        self.history = 0  # frames kept besides the sink
        self.positions = range(SINK_FRAMES)
        self._pass(latent[:, :SINK_FRAMES], 0.0, "capture_pre_rope")
        for layer in self.cache.layer_caches:
            layer.store_sink(*layer.get_captured_pre_rope())

    def begin(self, start: int, frames: int) -> Callable[[Tensor, float], Tensor]:
        """The velocity of the block of `frames` frames from `start` on."""
        self.positions = range(start, start + frames)
        sink = start - self.history - SINK_FRAMES
        self.cache.sink_pe = self._angles(range(sink, sink + SINK_FRAMES))
        return lambda latent, sigma: self._pass(latent, sigma, "inject")

    def keep(self, block: Tensor, most: int) -> None:
        """Remember a refined block, and of all refined frames the latest `most`."""
        self._pass(block, 0.0, "inject_and_capture_post_rope")
        self.history = min(self.history + block.shape[1], most)
        tokens = self.history * block.shape[-2] * block.shape[-1]
        for layer in self.cache.layer_caches:
            before = layer.get_history()
            new = layer.get_captured_post_rope()
            joined = new if before is None else tuple(torch.cat(pair, dim=1) for pair in zip(before, new, strict=True))
            layer.store_history(*(part[:, -tokens:] for part in joined))

    def _angles(self, positions: range) -> Any:
        batch, _, _, rows, columns = self.latent.shape
        return self.transformer.build_rotary_emb_for_absolute_positions(
            batch_size=batch,
            frame_positions=list(positions),
            height=rows,
            width=columns,
            device=self.latent.device,
            fps=self.fps,
        )

    def _pass(self, latent: Tensor, sigma: float, mode: str) -> Tensor:
        tokens = tokens_of(latent)
        scale = self.transformer.config.timestep_scale_multiplier
        states, mask = self.caption
        velocity = self.transformer(
            hidden_states=tokens,
            encoder_hidden_states=states,
            timestep=torch.full(tokens.shape[:2], sigma * scale, dtype=torch.float32, device=tokens.device),
            video_rotary_emb=self._angles(self.positions),
            encoder_attention_mask=mask,
            kv_cache=self.cache,
            kv_cache_mode=mode,
            return_dict=False,
        )[0]
        return of_tokens(velocity, latent)


def tokens_of(latent: Float[Tensor, "B t C h w"]) -> Float[Tensor, "B N C"]:
    """Cells one after the other, frame by frame, row by row."""
    return latent.permute(0, 1, 3, 4, 2).flatten(1, 3)


def of_tokens(tokens: Float[Tensor, "B N C"], like: Float[Tensor, "B t C h w"]) -> Float[Tensor, "B t C h w"]:
    """The opposite, in the frames, rows and columns of `like`."""
    _, frames, _, rows, columns = like.shape
    return tokens.unflatten(1, (frames, rows, columns)).permute(0, 1, 4, 2, 3)


def load_ltx2_refiner(
    source: Path,
    *,
    config: Ltx2RefinerConfig | None = None,
    place: Placement | None = None,
) -> Ltx2Refiner:
    """The refiner in a folder that diffusers wrote (`model_index.json` names its parts); nothing is fetched.

    `place` None: on the CPU, in float32.

    Raises InputError where there is none, or where diffusers and transformers are not installed.
    """
    place = Placement() if place is None else place
    try:
        from diffusers.pipelines.sana_wm.refiner import SanaWMLTX2Refiner
    except ImportError as error:
        raise InputError(
            f"--refiner {source}: expected diffusers and transformers, got: {error}; install the extra 'models', or "
            "use --refiner none"
        ) from error
    try:
        pipeline: Any = SanaWMLTX2Refiner.from_pretrained(
            str(source), local_files_only=True, dtype=place.dtype, low_cpu_mem_usage=False
        )
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"--refiner: expected {source} to be a folder of SanaWMLTX2Refiner, got: "
            f"{' '.join(str(error).split())[:200]}; name one, or use --refiner none"
        ) from error
    for part in (pipeline.transformer, pipeline.connectors, pipeline.text_encoder):
        part.eval().requires_grad_(False)
    pipeline.set_progress_bar_config(disable=True)
    component = licence_of("ltx2-refiner", str(source))
    return Ltx2Refiner(
        pipeline=pipeline, component=component, config=Ltx2RefinerConfig() if config is None else config, place=place
    )
