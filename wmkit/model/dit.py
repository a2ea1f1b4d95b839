"""The camera-controlled diffusion transformer: noisy latents, a noise level a frame, cameras and text in, velocity out.

Architecture: SANA-WM (arXiv 2605.15178). Flow matching: x_sigma = (1 - sigma) x0 + sigma eps, velocity = eps - x0; the
first latent frame comes clean, with sigma 0. Parameter names and shapes are the released ones; `compat="sana-wm"` also
truncates timesteps and packs cameras as the released weights expect them (`embed.py`, `rays.py`).
Shapes: B batch, T latent frames, C latent channels, h w latent rows and columns, F = 1 + stride (T - 1) video
frames, W width.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from wmkit.errors import ConfigError, InputError
from wmkit.model.block import Block, modulate
from wmkit.model.camera_branches.protocol import TokenMaps
from wmkit.model.config import ModelConfig
from wmkit.model.embed import TEXT_NORM_EPS, CaptionEmbed, CellEmbed, DeadCellEmbed, SigmaEmbed
from wmkit.model.ops.frame_gdn import ChunkLayout
from wmkit.model.ops.frame_gdn.context_parallel import FrameShards
from wmkit.model.ops.frame_gdn.op import outside_autocast
from wmkit.model.rays import CameraBatch, LatentGrid
from wmkit.model.rope import rope_angles
from wmkit.model.stream import BlockPast, Scope, StreamConfig, StreamState, Tape
from wmkit.model.text import TextBatch

__all__ = ["SIGMA_FLOOR", "CameraDiT"]

SIGMA_FLOOR = 0.05  # least divisor of (x - x0) / sigma when the model predicts x0 (arXiv 2511.13720 clips likewise)


class CameraDiT(nn.Module):
    """The model of a `ModelConfig`. Two builds under the same torch seed are equal."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        W, text, branch = config.width, config.text, config.camera_map
        self.x_embedder = CellEmbed(config.latent_channels, W)
        self.t_embedder = SigmaEmbed(config.frequency_channels, W, config.compat)
        self.t_block = nn.Sequential(nn.SiLU(), nn.Linear(W, 6 * W))
        self.y_embedder = None if text is None else CaptionEmbed(text, W)
        self.attention_y_norm = None if text is None else nn.RMSNorm(W, TEXT_NORM_EPS)
        self.plucker_embedder = None if branch is None else CellEmbed(branch.channels(config.latent_stride), W)
        self.raymap_embedder = DeadCellEmbed(W) if config.compat == "sana-wm" else None
        self.blocks = nn.ModuleList([Block(config, layer) for layer in range(config.depth)])
        self.final_layer = _FinalLayer(W, config.latent_channels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Released initial values: xavier, then gates open, camera branches and the last layer at zero."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.xavier_uniform_(self.x_embedder.proj.weight.data.flatten(1))
        nn.init.zeros_(self.x_embedder.bias)
        style = self.t_block[1]
        assert isinstance(style, nn.Linear)
        for linear in (self.t_embedder.linear_1, self.t_embedder.linear_2, style):
            nn.init.normal_(linear.weight, std=0.02)
        for block in self.blocks:
            assert isinstance(block, Block)
            block.reset_parameters()
        if self.y_embedder is not None and self.attention_y_norm is not None and self.config.text is not None:
            self.y_embedder.reset_parameters()
            nn.init.constant_(self.attention_y_norm.weight, self.config.text.norm_scale)
        for dead_or_zero in (self.plucker_embedder, self.raymap_embedder):
            if dead_or_zero is not None and dead_or_zero.proj.bias is not None:
                nn.init.zeros_(dead_or_zero.proj.weight)
                nn.init.zeros_(dead_or_zero.proj.bias)
        nn.init.normal_(self.final_layer.scale_shift_table, std=self.config.width**-0.5)
        nn.init.zeros_(self.final_layer.linear.weight)

    def forward(
        self,
        latent: Float[Tensor, "B T C h w"],
        sigma: Float[Tensor, "B T"],
        cameras: CameraBatch | None,
        text: TextBatch | None = None,
        valid: Bool[Tensor, "B T"] | None = None,
        chunks: ChunkLayout | None = None,
        shards: FrameShards | None = None,
    ) -> Float[Tensor, "B T C h w"]:
        """Velocity at every latent cell; on frames of sigma 0 it is finite and means nothing.

        `cameras` None leaves the camera branches out. `text` None is no caption: for a model without text, or one
        that owns a null caption. Frames with `valid` false are padding at the end: the others' velocity is as it
        would be without them. `chunks` None is bidirectional; otherwise a frame sees the past and its own chunk, as
        in the released chunk-causal model (`ChunkLayout.first_plus_one`). With `shards` every process of the group
        gives and gets the frames that it holds; `cameras` and `chunks` are those of the whole clip.
        Under autocast cameras, rays and sums over tokens stay float32.
        Raises InputError when the latent or the text does not fit the config, or the noise levels, the mask or the
        number of camera clips the latent; ConfigError when the cameras' frames, the chunks or the shards do not fit
        the latent, and where the config's mixer cannot do what is asked.
        """
        begin, frames = (0, latent.shape[1]) if shards is None else (shards.start, shards.total)
        grid = replace(self.grid(latent), frames=frames)
        if self.config.mixer == "token-gdn" and not (chunks is None and valid is None):
            raise ConfigError("mixer token-gdn: expected whole clips without padding or chunks; use mixer frame-gdn")
        if shards is not None:
            _check_shards(self.config, latent, shards)
        if chunks is not None and chunks.total != frames:
            raise ConfigError(f"chunks: expected {frames} latent frames in all, got {chunks.total}")
        if valid is not None:
            if valid.shape != latent.shape[:2] or valid.dtype != torch.bool:
                raise InputError(
                    f"valid: expected a boolean {tuple(latent.shape[:2])}, got {valid.dtype} {tuple(valid.shape)}"
                )
            latent = latent.masked_fill(~valid[:, :, None, None, None], 0.0)
        scopes = [Scope(valid=valid, chunks=chunks, shards=shards)] * len(self.blocks)
        return self._pass(latent, sigma, (cameras, grid, begin), text, scopes)

    def stream(
        self,
        latent: Float[Tensor, "B T C h w"],
        sigma: Float[Tensor, "B T"],
        cameras: CameraBatch | None,
        text: TextBatch | None = None,
        state: StreamState | None = None,
        config: StreamConfig | None = None,
    ) -> tuple[Float[Tensor, "B T C h w"], StreamState]:
        """Velocity of one chunk that follows `state` (None: the clip's first), and the state of the next chunk.

        `cameras` are those of the whole clip up to this chunk's end. With everything kept (`config` None), chunk after
        chunk is `forward` with those chunks; but for `compat="sana-wm"` and a first chunk of a single frame, whose
        rays would be those of cameras to come (`rays.py`). Raises as `forward` does.
        """
        if self.config.mixer != "frame-gdn":
            raise ConfigError(f"stream: expected mixer frame-gdn, got {self.config.mixer}; it keeps no state")
        pasts = [BlockPast()] * len(self.blocks) if state is None else state.blocks
        start = 0 if state is None else state.frames
        whole = replace(self.grid(latent), frames=start + latent.shape[1])
        config = StreamConfig() if config is None else config
        tapes = [Tape(past=past, config=config) for past in pasts]
        path = _latest(cameras, whole, start)
        velocity = self._pass(latent, sigma, path, text, [Scope(tape=tape) for tape in tapes])
        return velocity, StreamState(frames=whole.frames, blocks=tuple(tape.next_past() for tape in tapes))

    def _pass(
        self,
        latent: Tensor,
        sigma: Tensor,
        path: tuple[CameraBatch | None, LatentGrid, int],
        text: TextBatch | None,
        scopes: Sequence[Scope],
    ) -> Tensor:
        """Velocity of the latent's frames; `path` is cameras and grid of the clip, and the first of these frames."""
        cameras, grid, begin = path
        _check_inputs(latent, sigma, cameras)
        frames = slice(begin, begin + latent.shape[1])
        x_BThwW = self.x_embedder(latent)
        t_BTW = self.t_embedder(sigma)
        style_BT6W = self.t_block(t_BTW).unflatten(-1, (6, -1))
        rays, maps = self._cameras(cameras, grid, frames, latent.dtype)
        caption = self._caption(text, latent)
        angles = rope_angles(grid, self.config.head_dim, self.config.rope_theta).to(latent.device)[frames]
        for block, scope in zip(self.blocks, scopes, strict=True):
            x_BThwW = block(x_BThwW, style_BT6W, angles, maps, rays, caption, scope)
        output = self.final_layer(x_BThwW, t_BTW).permute(0, 1, 4, 2, 3)
        if self.config.prediction == "velocity":
            return output
        return (latent - output) / sigma.to(latent.dtype).clamp(min=SIGMA_FLOOR)[:, :, None, None, None]

    def grid(self, latent: Float[Tensor, "B T C h w"]) -> LatentGrid:
        """Size of a latent; raises InputError when its channels are not the config's."""
        _, T, C, h, w = latent.shape
        if self.config.latent_channels != C:
            raise InputError(f"latent: expected {self.config.latent_channels} channels, got {C}")
        return LatentGrid(frames=T, rows=h, columns=w, stride=self.config.latent_stride, compat=self.config.compat)

    def _cameras(
        self, cameras: CameraBatch | None, grid: LatentGrid, frames: slice, dtype: torch.dtype
    ) -> tuple[Tensor | None, TokenMaps | None]:
        """Embedded map (B, T, h, w, W) and attention maps of some frames, None where there is no such branch."""
        rays, maps, config = None, None, self.config
        if cameras is None:
            return None, None
        with outside_autocast(cameras.world_from_cam):
            if config.camera_map is not None:
                rays = config.camera_map.camera_map(cameras, grid)[:, frames].to(dtype)
            if config.camera_attention is not None:
                maps = config.camera_attention.token_maps(cameras, grid, config.head_dim, config.rope_theta)
                maps = maps.of(frames)
        if rays is not None and self.plucker_embedder is not None:
            rays = self.plucker_embedder(rays)
        return rays, maps

    def _caption(self, text: TextBatch | None, latent: Tensor) -> tuple[Tensor, Tensor] | None:
        """Embedded, normalised captions (B, L, W) and their mask (B, L)."""
        config = self.config.text
        if config is None or self.y_embedder is None or self.attention_y_norm is None:
            if text is not None:
                raise InputError("text: expected none, this model has no text; leave it out or set model.text")
            return None
        if text is None:
            null = self.y_embedder.y_embedding
            if null is None:
                raise InputError("text: expected captions, got none; encode an empty text, or set text.null_caption")
            states = null.expand(latent.shape[0], -1, -1)
            text = TextBatch(states=states, mask=torch.ones(states.shape[:2], dtype=torch.bool, device=states.device))
        if text.states.shape[0] != latent.shape[0] or text.states.shape[2] != config.channels:
            raise InputError(
                f"text: expected {latent.shape[0]} captions of {config.channels} channels, got "
                f"{text.states.shape[0]} of {text.states.shape[2]}"
            )
        return self.attention_y_norm(self.y_embedder(text.states.to(latent.dtype))), text.mask


def _latest(cameras: CameraBatch | None, grid: LatentGrid, start: int) -> tuple[CameraBatch | None, LatentGrid, int]:
    """Of a clip the first latent frame, by which cameras are told, and those from `start` on: what a chunk needs.

    Rays of the whole clip so far would make every chunk larger than the one before.
    """
    if cameras is not None:
        grid.check(cameras)
    if start < 2:
        return cameras, grid, start
    short = replace(grid, frames=1 + grid.frames - start, skipped=start - 1)
    return None if cameras is None else cameras.first_and_from(1 + grid.stride * (start - 1)), short, 1


def _check_inputs(latent: Tensor, sigma: Tensor, cameras: CameraBatch | None) -> None:
    B, T = latent.shape[:2]
    if B < 1 or T < 1:
        raise InputError(f"latent: expected at least one clip of one frame, got {tuple(latent.shape)}")
    if sigma.shape != (B, T):
        raise InputError(f"sigma: expected a noise level a frame, {(B, T)}, got {tuple(sigma.shape)}")
    if cameras is not None and len(cameras.world_from_cam) != B:
        raise InputError(f"cameras: expected those of {B} clips, got {len(cameras.world_from_cam)}")


def _check_shards(config: ModelConfig, latent: Tensor, shards: FrameShards) -> None:
    if config.mixer != "frame-gdn":
        raise ConfigError(f"context parallel: expected mixer frame-gdn, got {config.mixer}, which does not exchange")
    if latent.shape[1] != shards.frames[shards.rank]:
        raise ConfigError(
            f"context parallel: expected {shards.frames[shards.rank]} latent frames on rank {shards.rank}, "
            f"got {latent.shape[1]}"
        )


class _FinalLayer(nn.Module):
    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.linear = nn.Linear(width, channels)
        self.scale_shift_table = nn.Parameter(torch.zeros(2, width))

    def forward(self, x_BThwW: Tensor, t_BTW: Tensor) -> Tensor:
        shift, scale = (t_BTW[:, :, None] + self.scale_shift_table)[:, :, None, None].unbind(-2)
        return self.linear(modulate(self.norm(x_BThwW), shift, scale))
