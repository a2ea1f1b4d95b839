"""One block of the model: modulated attention, ray mixing, text, modulated gated MLP. Names are the released ones.

Shapes: B batch, T frames, S = h w tokens a frame, C width.
"""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as nnf

from wmkit.model.attention import FrameAttention, sees_ahead
from wmkit.model.camera_branches.protocol import TokenMaps
from wmkit.model.config import ModelConfig
from wmkit.model.cross_attention import CrossAttention
from wmkit.model.stream import Scope

__all__ = ["Block", "GatedConvMlp", "modulate"]


class Block(nn.Module):
    """x += gate * attention(modulated x); x += rays; x += text(x); x += gate * MLP(modulated x).

    Modulated per frame by sigma. Without text in the config there is no cross-attention.
    """

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        C = config.width
        self.norm1 = nn.LayerNorm(C, eps=1e-6, elementwise_affine=False)
        self.attn = FrameAttention(config, layer)
        self.plucker_proj = None if config.camera_map is None else nn.Linear(C, C)
        self.cross_attn = None if config.text is None else CrossAttention(C, config.heads)
        self.norm2 = nn.LayerNorm(C, eps=1e-6, elementwise_affine=False)
        self.mlp = GatedConvMlp(C, config.hidden)
        self.scale_shift_table = nn.Parameter(torch.zeros(6, C))

    def reset_parameters(self) -> None:
        """Released initial values of what this block owns itself, and of its parts."""
        nn.init.normal_(self.scale_shift_table, std=self.scale_shift_table.shape[1] ** -0.5)
        self.attn.reset_parameters()
        self.mlp.reset_parameters()

    def forward(
        self,
        x_BThwC: Float[Tensor, "B T h w C"],
        style_BT6C: Float[Tensor, "B T 6 C"],
        angles_TSP: Float[Tensor, "T S P"],
        maps: TokenMaps | None,
        rays_BThwC: Float[Tensor, "B T h w C"] | None,
        text: tuple[Float[Tensor, "B L C"], Bool[Tensor, "B L"]] | None = None,
        scope: Scope | None = None,
    ) -> Float[Tensor, "B T h w C"]:
        """Tokens of the next layer. `style_BT6C` is the shared adaLN-single signal, the table this block's own part.

        `text` is embedded captions and their mask; `scope` which frames a frame may read, None: all.
        """
        parts = (style_BT6C + self.scale_shift_table)[:, :, None, None].unbind(-2)
        shift_attn, scale_attn, gate_attn, shift_mlp, scale_mlp, gate_mlp = parts
        size = x_BThwC.shape[2:4]
        styled = modulate(self.norm1(x_BThwC), shift_attn, scale_attn).flatten(2, 3)
        attended = self.attn(styled, angles_TSP, maps, scope)
        x_BThwC = x_BThwC + gate_attn * attended.unflatten(2, size)
        if self.plucker_proj is not None and rays_BThwC is not None:
            x_BThwC = x_BThwC + self.plucker_proj(rays_BThwC)
        if self.cross_attn is not None and text is not None:
            x_BThwC = x_BThwC + self.cross_attn(x_BThwC.flatten(1, 3), *text).reshape(x_BThwC.shape)
        return x_BThwC + gate_mlp * self.mlp(modulate(self.norm2(x_BThwC), shift_mlp, scale_mlp), scope)


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """x (1 + scale) + shift, the adaLN form."""
    return x * (1 + scale) + shift


class GatedConvMlp(nn.Module):
    """GLUMBConvTemp: 1x1 up, 3x3 depthwise in the frame, gate, 1x1 down, then a residual convolution over time."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.inverted_conv = _Conv(nn.Conv2d(width, 2 * hidden, 1))
        self.depth_conv = _Conv(nn.Conv2d(2 * hidden, 2 * hidden, 3, padding=1, groups=2 * hidden))
        self.point_conv = _Conv(nn.Conv2d(hidden, width, 1, bias=False))
        self.t_conv = nn.Conv2d(width, width, (3, 1), padding=(1, 0), bias=False)

    def reset_parameters(self) -> None:
        """The convolution over time starts at zero, so frames start independent."""
        nn.init.zeros_(self.t_conv.weight)

    def forward(self, x_BThwC: Float[Tensor, "B T h w C"], scope: Scope | None = None) -> Float[Tensor, "B T h w C"]:
        """Same shape; rows, columns and neighbouring valid frames mix, the next frame only within a chunk."""
        scope = Scope() if scope is None else scope
        B, T, h, w, _ = x_BThwC.shape
        up = nnf.silu(_pointwise(self.inverted_conv.conv, x_BThwC))
        local = self.depth_conv.conv(up.flatten(0, 1).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        value, gate = local.unflatten(0, (B, T)).chunk(2, dim=-1)
        y_BThwC = _pointwise(self.point_conv.conv, value * nnf.silu(gate))
        if scope.valid is not None:
            y_BThwC = y_BThwC * scope.valid[:, :, None, None, None]
        if scope.chunks is not None or scope.tape is not None or scope.shards is not None:
            return y_BThwC + self._over_time_in_chunks(y_BThwC, scope)
        over_time = self.t_conv(y_BThwC.flatten(2, 3).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return y_BThwC + over_time.unflatten(2, (h, w))

    def _over_time_in_chunks(self, y_BThwC: Tensor, scope: Scope) -> Tensor:
        """The same convolution as three products, so that what lies beyond a chunk's end is never touched."""
        earlier, same, later = self.t_conv.weight[..., 0].unbind(-1)
        nothing, T = torch.zeros_like(y_BThwC[:, :1]), y_BThwC.shape[1]
        joined, before, chunks = y_BThwC, 0, scope.chunks
        if scope.shards is not None:
            joined, before, chunks = scope.with_near(y_BThwC, False, 1)
        elif scope.tape is not None and scope.tape.past.mlp is not None:
            joined, before = torch.cat([scope.tape.past.mlp, y_BThwC], dim=1), 1
        padded = torch.cat([nothing, joined, nothing], dim=1)
        previous, following = padded[:, before : before + T], padded[:, before + 2 : before + 2 + T]
        if chunks is not None:
            seen_T = sees_ahead(chunks, 1)[before : before + T].to(y_BThwC.device)
            following = following.masked_fill(~seen_T[:, None, None, None], 0.0)
        if scope.tape is not None:
            scope.tape.left = replace(scope.tape.left, mlp=y_BThwC[:, -1:])
        return nnf.linear(previous, earlier) + nnf.linear(y_BThwC, same) + nnf.linear(following, later)


class _Conv(nn.Module):
    """Holds a convolution under the released name `....conv`."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv


def _pointwise(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """A 1x1 convolution on channels-last tokens is a matrix product."""
    return nnf.linear(x, conv.weight.flatten(1), conv.bias)
