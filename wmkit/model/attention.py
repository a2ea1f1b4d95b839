"""Self-attention of a block: frame-wise GDN or softmax over all tokens, with its camera half, one output gate.

Parameter names are those of the released SANA-WM. Both kinds own the same weights (a GDN checkpoint becomes a
hybrid one), but softmax blocks have no temporal convolution on keys and leave the beta and decay gates unused.

The camera half has two public versions. D and D⁻¹ of `ucpe.py` hold the camera's distance from the first one, so they
enlarge queries, keys and values along the path. The released code (NVlabs `sana_gdn_blocks_triton.py`) scans them as
they are and divides beta by the keys' gain: `camera_renorm="none"`. diffusers 0.42.1 first shrinks each of the three
back to its RMS before the map: `"rms"`. At zero distance the two are equal; with random weights and a straight path the
camera halves of a GDN block differ by 2 % at 0.5 m, 7 % at 2 m, 29 % at 8 m and 83 % at 24 m, one minute of walking
(measured by tests/unit/model/test_released.py; another draw in the sheet `model-training-sampling.md` 0.2 has 88 %).
Chunk-causal (released 121 = 4 + 39 x 3 latent frames): recurrence, key convolution and softmax look ahead to the end
of a frame's own chunk and no further.
Shapes: B batch, T frames, S tokens a frame, C width, H heads, D channels of a head.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as nnf

from wmkit.model.camera_branches.protocol import TokenMaps
from wmkit.model.config import ModelConfig
from wmkit.model.embed import wide
from wmkit.model.ops.frame_gdn import (
    NORMALISER_EPS,
    ChunkLayout,
    frame_gdn,
    key_scale,
    stream_frame_gdn,
    stream_read,
)
from wmkit.model.ops.frame_gdn.context_parallel import parallel_frame_gdn, parallel_read
from wmkit.model.ops.frame_gdn.op import outside_autocast
from wmkit.model.ops.token_gdn import token_gdn
from wmkit.model.rope import rotate_pairs
from wmkit.model.stream import Scope

__all__ = ["FrameAttention", "Gates", "linear_attention", "renormed", "sees_ahead", "symmetric_conv"]

NORM_EPS = 1e-5
RENORM_EPS = 1e-6
GATE_BIAS = 1.27846454  # SiLU of it is 1: the output gate starts open


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Gates:
    """beta (B, H, T, S) in (0, 1): how much a token writes; decay (B, H, T) in (0, 1): what a frame keeps."""

    beta: Float[Tensor, "B H T S"]
    decay: Float[Tensor, "B H T"]


def symmetric_conv(
    x_BTSC: Float[Tensor, "B T S C"], weight: Float[Tensor, "C 1 K"], chunks: ChunkLayout | None = None
) -> Float[Tensor, "B T S C"]:
    """Depthwise convolution over time, causal plus anti-causal with the same taps, the centre counted once.

    The last tap is the frame itself. y = causal(x) + flip(causal(flip x)) - centre * x. With `chunks` the anti-causal
    part ends with each frame's own chunk.
    """
    taps_KC = weight[:, 0].T
    K = len(taps_KC)
    padded = nnf.pad(x_BTSC, (0, 0, 0, 0, K - 1, K - 1))
    T = x_BTSC.shape[1]
    y = x_BTSC * taps_KC[-1]
    for back in range(1, K):
        tap = taps_KC[K - 1 - back]
        past, future = padded[:, K - 1 - back : K - 1 - back + T], padded[:, K - 1 + back : K - 1 + back + T]
        if chunks is not None:
            future = future.masked_fill(~sees_ahead(chunks, back).to(x_BTSC.device)[:, None, None], 0.0)
        y = y + tap * (past + future)
    return y


def sees_ahead(chunks: ChunkLayout, frames: int) -> Bool[Tensor, " T"]:
    """For every frame, whether the one `frames` later is of its own chunk."""
    chunk_T = torch.repeat_interleave(torch.arange(len(chunks.frames)), torch.tensor(chunks.frames))
    later_T = torch.cat([chunk_T, chunk_T.new_full((frames,), -1)])[frames:]
    return chunk_T == later_T


class FrameAttention(nn.Module):
    """Self-attention over (B, T, S, C) tokens with an optional camera half that shares gates and projection."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        C, H = config.width, config.heads
        self.heads, self.softmax, self.mixer = H, config.is_softmax(layer), config.mixer
        self.renorm = config.camera_renorm == "rms"
        self.qkv = nn.Linear(C, 3 * C, bias=False)
        self.q_norm, self.k_norm = nn.RMSNorm(C, NORM_EPS), nn.RMSNorm(C, NORM_EPS)
        self.beta_proj, self.gate_proj = nn.Linear(C, H), nn.Linear(C, H)
        self.A_log, self.dt_bias = nn.Parameter(torch.zeros(H)), nn.Parameter(torch.zeros(H))
        self.output_gate, self.proj = nn.Linear(C, C), nn.Linear(C, C)
        self.conv_k = None if self.softmax else _key_conv(C, config.conv_kernel)
        if config.compat == "sana-wm":
            self.register_buffer("recall_gate", torch.zeros(1))  # read by nothing; in the released file
        self.has_camera = config.camera_attention is not None
        if self.has_camera:
            self.q_proj_cam, self.k_proj_cam, self.v_proj_cam = nn.Linear(C, C), nn.Linear(C, C), nn.Linear(C, C)
            self.q_norm_cam, self.k_norm_cam = nn.RMSNorm(C, NORM_EPS), nn.RMSNorm(C, NORM_EPS)
            self.conv_k_cam = None if self.softmax else _key_conv(C, config.conv_kernel)
            self.out_proj_cam = nn.Linear(C, C)

    def reset_parameters(self) -> None:
        """Gates start as linear attention (beta 0.993, decay 0.9933, output gate 1), the camera half adds zero.

        Camera q, k, v start as copies of the main ones.
        """
        for linear, bias in ((self.beta_proj, 5.0), (self.gate_proj, 0.0), (self.output_gate, GATE_BIAS)):
            nn.init.zeros_(linear.weight)
            nn.init.constant_(linear.bias, bias)
        nn.init.zeros_(self.A_log)
        nn.init.constant_(self.dt_bias, -5.0)
        convolutions = [self.conv_k]
        if self.has_camera:
            convolutions.append(self.conv_k_cam)
            parts = self.qkv.weight.detach().chunk(3)
            for linear, part in zip((self.q_proj_cam, self.k_proj_cam, self.v_proj_cam), parts, strict=True):
                linear.weight.data.copy_(part)
                nn.init.zeros_(linear.bias)
            nn.init.zeros_(self.out_proj_cam.weight)
            nn.init.zeros_(self.out_proj_cam.bias)
        for conv in convolutions:
            if conv is not None:
                nn.init.zeros_(conv.weight)
                conv.weight.data[..., -1] = 1.0

    def forward(
        self,
        x_BTSC: Float[Tensor, "B T S C"],
        angles_TSP: Float[Tensor, "T S P"],
        maps: TokenMaps | None,
        scope: Scope | None = None,
    ) -> Float[Tensor, "B T S C"]:
        """Gated, projected sum of the main and the camera half; `maps` None leaves the camera half out.

        `scope` says which frames a frame may read, None: all. Frames that are not valid are neither written nor
        attended to: what the others read is what it would be without them, if they stand at the end.
        """
        scope = Scope() if scope is None else scope
        gates = None if self.softmax else self.gates(x_BTSC, scope.valid)
        raw_BTSC = self._main(x_BTSC, angles_TSP, gates, scope)
        if self.has_camera and maps is not None:
            raw_BTSC = raw_BTSC + self.out_proj_cam(self._camera(x_BTSC, maps, gates, scope))
        opened_BTSC = raw_BTSC * nnf.silu(wide(self.output_gate(x_BTSC)))
        return self.proj(opened_BTSC.to(x_BTSC.dtype))

    def gates(self, x_BTSC: Float[Tensor, "B T S C"], valid_BT: Bool[Tensor, "B T"] | None = None) -> Gates:
        """beta from every token, decay from the mean token of a frame: exp(-exp(A_log) softplus(... + dt_bias)).

        A frame that is not valid writes nothing and forgets nothing: beta 0, decay 1.
        """
        beta_BTSH = wide(self.beta_proj(x_BTSC)).sigmoid()
        raw_BTH = wide(self.gate_proj(x_BTSC.mean(dim=2))) + wide(self.dt_bias)
        # Contiguous: torch.compile (2.13) takes softplus' gradient for contiguous, which that of a permutation is not.
        rate_BHT = nnf.softplus(raw_BTH.permute(0, 2, 1).contiguous())
        decay_BHT = torch.exp(-wide(self.A_log).exp()[:, None] * rate_BHT)
        if valid_BT is not None:
            beta_BTSH = beta_BTSH * valid_BT[:, :, None, None]
            decay_BHT = torch.where(valid_BT[:, None], decay_BHT, 1.0)
        return Gates(beta=beta_BTSH.permute(0, 3, 1, 2), decay=decay_BHT)

    def _main(self, x_BTSC: Tensor, angles_TSP: Tensor, gates: Gates | None, scope: Scope) -> Tensor:
        q, k, v = self.qkv(x_BTSC).chunk(3, dim=-1)
        q, k, v = self._heads(self.q_norm(q)), self._keys(k, False, scope), self._heads(v)
        if gates is None:
            return _merge(_softmax(rotate_pairs(q, angles_TSP), rotate_pairs(k, angles_TSP), v, scope, camera=False))
        # Tokens that write one after another must each stay within the bound; those of a frame do so together.
        writers = 1 if self.mixer == "token-gdn" else k.shape[-2]
        q, k = q.relu(), k.relu() * key_scale(k.shape[-1], writers)
        rotated = rotate_pairs(q, angles_TSP), rotate_pairs(k, angles_TSP)
        if self.mixer == "token-gdn":
            return _merge(token_gdn(rotated, (q, k), v, gates.beta, gates.decay))
        if self.mixer == "linear":
            return _merge(linear_attention(rotated, (q, k), v, scope.valid, scope.chunks))
        if scope.tape is not None:
            past = scope.tape.past.main
            read, state = stream_frame_gdn(rotated, (q, k), v, gates.beta, gates.decay, past)
            scope.tape.left = replace(scope.tape.left, main=state)
            return _merge(read)
        if scope.shards is not None:
            gate_pair = (gates.beta, gates.decay)
            return _merge(parallel_frame_gdn(rotated, (q, k), v, gate_pair, scope.shards, layout=scope.chunks))
        return _merge(frame_gdn(rotated, (q, k), v, gates.beta, gates.decay, layout=scope.chunks))

    def _camera(self, x_BTSC: Tensor, maps: TokenMaps, gates: Gates | None, scope: Scope) -> Tensor:
        q = self._heads(self.q_norm_cam(self.q_proj_cam(x_BTSC)))
        k = self._keys(self.k_proj_cam(x_BTSC), True, scope)
        v = self._heads(self.v_proj_cam(x_BTSC))
        if gates is not None:
            q, k = q.relu(), k.relu() * key_scale(k.shape[-1], k.shape[-2])
        mapped_q, mapped_k, mapped_v = maps.on_query(q), maps.on_key(k), maps.on_key(v)
        if self.renorm:
            mapped_q, mapped_k, mapped_v = renormed(q, mapped_q), renormed(k, mapped_k), renormed(v, mapped_v)
        if gates is None:
            return _merge(maps.on_output(_softmax(mapped_q, mapped_k, mapped_v, scope, camera=True)))
        if self.mixer == "linear":
            read = _sum_read(mapped_q, mapped_k, mapped_v, scope.valid, scope.chunks).to(v.dtype)
        else:
            beta, pair = gates.beta / _key_gain(wide(k), wide(mapped_k))[..., None], (mapped_q, mapped_k)
            read = _read(pair, mapped_v, Gates(beta=beta, decay=gates.decay), scope)
        return _merge(maps.on_output(read))

    def _keys(self, k_BTSC: Tensor, camera: bool, scope: Scope) -> Tensor:
        conv, norm = (self.conv_k_cam, self.k_norm_cam) if camera else (self.conv_k, self.k_norm)
        if conv is None:
            return self._heads(norm(k_BTSC))
        seen_BTSC = k_BTSC if scope.valid is None else k_BTSC * scope.valid[:, :, None, None]
        joined, before, chunks = scope.with_near(seen_BTSC, camera, conv.weight.shape[2] - 1)
        own = slice(before, before + k_BTSC.shape[1])
        return self._heads(norm(symmetric_conv(joined, conv.weight, chunks)[:, own]))

    def _heads(self, x_BTSC: Tensor) -> Tensor:
        return x_BTSC.unflatten(-1, (self.heads, -1)).permute(0, 3, 1, 2, 4)


def linear_attention(
    rotated: tuple[Float[Tensor, "B H T S D"], Float[Tensor, "B H T S D"]],
    plain: tuple[Float[Tensor, "B H T S D"], Float[Tensor, "B H T S D"]],
    v_BHTSE: Float[Tensor, "B H T S E"],
    valid_BT: Bool[Tensor, "B T"] | None = None,
    chunks: ChunkLayout | None = None,
) -> Float[Tensor, "B H T S E"]:
    """ReLU linear attention over all frames (SANA-Video): q Kᵀ V / q Kᵀ 1, RoPE in the numerator alone.

    Frame-wise GDN with beta 0 in its transition, beta 1 in its update and decay 1.
    """
    numerator = _sum_read(*rotated, v_BHTSE, valid_BT, chunks)
    denominator = _sum_read(*plain, torch.ones_like(v_BHTSE[..., :1]), valid_BT, chunks)
    return (numerator / (denominator + NORMALISER_EPS)).to(v_BHTSE.dtype)


def renormed(before: Float[Tensor, "B H T S D"], after: Float[Tensor, "B H T S D"]) -> Float[Tensor, "B H T S D"]:
    """`after`, each token's head shrunk to the RMS of `before` where it exceeds it: `camera_renorm="rms"`."""
    rms_before, rms_after = ((x.square().mean(-1, keepdim=True) + RENORM_EPS).sqrt() for x in (before, after))
    return after * (rms_before / rms_after).clamp(max=1.0)


def _sum_read(q: Tensor, k: Tensor, v: Tensor, valid_BT: Tensor | None, chunks: ChunkLayout | None) -> Tensor:
    """q @ the sum of kᵀ v over all tokens of all valid frames up to the end of the chunk; at least float32."""
    seen = wide(k) if valid_BT is None else wide(k) * valid_BT[:, None, :, None, None]
    ends_T = [q.shape[2] - 1] * q.shape[2] if chunks is None else _chunk_ends(chunks)
    with outside_autocast(q):
        sums_BHTDE = (seen.mT @ wide(v)).cumsum(dim=2)
        return wide(q) @ sums_BHTDE[:, :, ends_T]


def _chunk_ends(chunks: ChunkLayout) -> list[int]:
    """For every frame, the last frame of its chunk."""
    last = [index for index, ends in enumerate(chunks.ends) if ends]
    return [end for end, count in zip(last, chunks.frames, strict=True) for _ in range(count)]


def _key_conv(channels: int, kernel: int) -> nn.Conv1d:
    return nn.Conv1d(channels, channels, kernel, groups=channels, bias=False)


def _merge(x_BHTSD: Tensor) -> Tensor:
    return x_BHTSD.permute(0, 2, 3, 1, 4).flatten(-2)


def _read(pair: tuple[Tensor, Tensor], v: Tensor, gates: Gates, scope: Scope) -> Tensor:
    """The camera half's recurrence: no normaliser."""
    if scope.shards is not None:
        return parallel_read(pair, v, (gates.beta, gates.decay), scope.shards, layout=scope.chunks)
    past = None if scope.tape is None else scope.tape.past.camera
    read, state = stream_read(pair, v, gates.beta, gates.decay, past, layout=scope.chunks)
    if scope.tape is not None:
        scope.tape.left = replace(scope.tape.left, camera=state)
    return read


def _softmax(q_BHTSD: Tensor, k_BHTSD: Tensor, v_BHTSD: Tensor, scope: Scope, camera: bool) -> Tensor:
    T, S = q_BHTSD.shape[2:4]
    q = q_BHTSD.flatten(2, 3)
    if scope.tape is not None:
        kept = scope.with_chunks(k_BHTSD.flatten(2, 3), v_BHTSD.flatten(2, 3), camera)
        return nnf.scaled_dot_product_attention(q, *kept).unflatten(2, (T, S))
    k, v = (x.flatten(2, 3) for x in scope.of_clip(k_BHTSD, v_BHTSD))
    valid_BT = scope.valid_of_clip()
    mask = None if valid_BT is None else valid_BT.repeat_interleave(S, dim=1)[:, None, None]
    reads, begin = [], 0
    for frames, chunk_end in scope.spans(T):
        end, last = begin + frames * S, chunk_end * S
        seen = None if mask is None else mask[..., :last]
        near = k[:, :, :last], v[:, :, :last]
        reads.append(nnf.scaled_dot_product_attention(q[:, :, begin:end], *near, attn_mask=seen))
        begin = end
    return torch.cat(reads, dim=2).unflatten(2, (T, S))


def _key_gain(before_BHTSD: Tensor, after_BHTSD: Tensor) -> Tensor:
    """How much the camera maps enlarged a frame's keys, at least 1: D⁻¹ holds translations, so it is no rotation.

    Dividing beta by it keeps the transition's norm bounded as in Eq. 5.
    """
    ratio_BHTS = after_BHTSD.square().sum(-1) / before_BHTSD.square().sum(-1).clamp(min=1e-12)
    return ratio_BHTS.mean(-1).clamp(min=1.0)
