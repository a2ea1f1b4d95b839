"""Frame-wise Gated DeltaNet (SANA-WM Eq. 3 and 5) as the model calls it: reads in both directions of time.

Forward in time a frame sees itself and the past (inclusive); backward it sees the later frames of its chunk alone
(exclusive), so no frame is counted twice. The normalised op adds both and divides once by the same recurrence run on
values of 1, which is the delta rule's normaliser. A `ChunkLayout` says what a frame may see ahead: all
(bidirectional, the default), its chunk, or nothing. `stream_*` take and give the past's state, so that a call per
chunk equals one call for all.

A token with beta 0 writes nothing, and a frame whose betas are 0 and whose decay is 1 leaves every state as it was:
that is how padding is masked. Half-precision inputs are computed with float32 sums and states.
Shapes: B batch, H heads, T frames, S tokens a frame, D key channels, E value channels.
"""

import contextlib
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from wmkit.errors import ConfigError
from wmkit.model.ops.frame_gdn.layout import ChunkLayout
from wmkit.model.ops.frame_gdn.literal import read_literal
from wmkit.model.ops.frame_gdn.paths import Backend, GdnPath, choose_backend, path_of
from wmkit.model.ops.frame_gdn.states import read_states
from wmkit.model.ops.frame_gdn.tokens import read_state

__all__ = ["NORMALISER_EPS", "GdnState", "bidirectional_read", "frame_gdn", "key_scale", "normalise",
           "outside_autocast", "stream_frame_gdn", "stream_read"]  # fmt: skip

NORMALISER_EPS = 1e-8  # as the released blocks pass it


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GdnState:
    """The past after some frame: what was written (values) and the normaliser (values of 1), float32 or more."""

    memory: Float[Tensor, "B H D E"]
    normaliser: Float[Tensor, "B H D 1"]


def key_scale(head_dim: int, tokens: int) -> float:
    """1 / sqrt(D S): with ReLU(RMSNorm(k)) keys the frame's total written energy stays <= 1 (Eq. 5)."""
    return (head_dim * tokens) ** -0.5


def bidirectional_read(
    q_BHTSD: Float[Tensor, "B H T S D"],
    k_BHTSD: Float[Tensor, "B H T S D"],
    v_BHTSE: Float[Tensor, "B H T S E"],
    beta_BHTS: Float[Tensor, "B H T S"],
    decay_BHT: Float[Tensor, "B H T"],
    *,
    layout: ChunkLayout | None = None,
    backend: Backend = "auto",
) -> Float[Tensor, "B H T S E"]:
    """q @ (state of the past and this frame + state of the later frames of its chunk): no division.

    Raises ConfigError when the layout has another number of frames or the backend cannot run.
    """
    return stream_read((q_BHTSD, k_BHTSD), v_BHTSE, beta_BHTS, decay_BHT, None, layout=layout, backend=backend)[0]


def frame_gdn(
    rotated: tuple[Float[Tensor, "B H T S D"], Float[Tensor, "B H T S D"]],
    plain: tuple[Float[Tensor, "B H T S D"], Float[Tensor, "B H T S D"]],
    v_BHTSE: Float[Tensor, "B H T S E"],
    beta_BHTS: Float[Tensor, "B H T S"],
    decay_BHT: Float[Tensor, "B H T"],
    *,
    layout: ChunkLayout | None = None,
    backend: Backend = "auto",
) -> Float[Tensor, "B H T S E"]:
    """Normalised output: numerator from the `rotated` (q, k), denominator from the `plain` (q, k) without RoPE.

    Raises ConfigError when the layout has another number of frames or the backend cannot run.
    """
    return stream_frame_gdn(rotated, plain, v_BHTSE, beta_BHTS, decay_BHT, None, layout=layout, backend=backend)[0]


def stream_frame_gdn(
    rotated: tuple[Float[Tensor, "B H T S D"], Float[Tensor, "B H T S D"]],
    plain: tuple[Float[Tensor, "B H T S D"], Float[Tensor, "B H T S D"]],
    v_BHTSE: Float[Tensor, "B H T S E"],
    beta_BHTS: Float[Tensor, "B H T S"],
    decay_BHT: Float[Tensor, "B H T"],
    past: GdnState | None,
    *,
    layout: ChunkLayout | None = None,
    backend: Backend = "auto",
) -> tuple[Float[Tensor, "B H T S E"], GdnState]:
    """`frame_gdn` of frames that follow `past` (None: the clip's first), and the past for the frames after these."""
    memory, normaliser = (None, None) if past is None else (past.memory, past.normaliser)
    gates = beta_BHTS, decay_BHT
    numerator, memory = _stream(rotated, v_BHTSE, gates, memory, layout, backend)
    denominator, normaliser = _stream(plain, None, gates, normaliser, layout, backend)
    return normalise(numerator, denominator).to(v_BHTSE.dtype), GdnState(memory=memory, normaliser=normaliser)


def stream_read(
    queries_and_keys: tuple[Float[Tensor, "B H T S D"], Float[Tensor, "B H T S D"]],
    v_BHTSE: Float[Tensor, "B H T S E"],
    beta_BHTS: Float[Tensor, "B H T S"],
    decay_BHT: Float[Tensor, "B H T"],
    past_BHDE: Float[Tensor, "B H D E"] | None,
    *,
    layout: ChunkLayout | None = None,
    backend: Backend = "auto",
) -> tuple[Float[Tensor, "B H T S E"], Float[Tensor, "B H D E"]]:
    """`bidirectional_read` of frames that follow `past_BHDE` (None: the first), and the past for the frames after."""
    gates = beta_BHTS, decay_BHT
    read_BHTSE, past_BHDE = _stream(queries_and_keys, v_BHTSE, gates, past_BHDE, layout, backend)
    return read_BHTSE.to(v_BHTSE.dtype), past_BHDE


def normalise(numerator_BHTSE: Tensor, denominator_BHTS1: Tensor) -> Tensor:
    """The one division."""
    return numerator_BHTSE / (denominator_BHTS1 + NORMALISER_EPS)


def outside_autocast(x: Tensor) -> contextlib.AbstractContextManager[object]:
    """States are float32 also under autocast, whose matrix products would round them to half precision."""
    if not torch.amp.is_autocast_available(x.device.type):
        return contextlib.nullcontext()
    return torch.autocast(x.device.type, enabled=False)


def _stream(
    queries_and_keys: tuple[Tensor, Tensor],
    v: Tensor | None,
    gates: tuple[Tensor, Tensor],
    past: Tensor | None,
    layout: ChunkLayout | None,
    backend: Backend,
) -> tuple[Tensor, Tensor]:
    """One stream's reads and last past; `v` None stands for values of 1."""
    q, k = queries_and_keys
    frames = q.shape[2]
    layout = ChunkLayout.whole(frames) if layout is None else layout
    if layout.total != frames:
        raise ConfigError(f"frame_gdn: expected chunks of {frames} frames in all, got {layout.total} in {layout}")
    name = choose_backend(backend, q)
    with outside_autocast(q):
        if name == "literal":
            values = torch.ones_like(k[..., :1]) if v is None else v
            dtype = torch.promote_types(q.dtype, torch.float32)
            q, k, values, beta, decay = (x.to(dtype) for x in (q, k, values, *gates))
            return read_literal(q, k, values, beta, decay, None if past is None else past.to(dtype), layout)
        return _fast(path_of(name), q, k, v, gates, past, layout)


def _fast(
    path: GdnPath, q: Tensor, k: Tensor, v: Tensor | None, gates: tuple[Tensor, Tensor], past: Tensor | None,
    layout: ChunkLayout,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    q, transition, update = path.prepared(q, k, v, gates)
    edge = None if past is None else past.to(update.dtype).flatten(0, 1)
    states, last, _ = read_states(transition, update, (edge, None), layout.ends, path.chain)
    return read_state(q, states.unflatten(0, q.shape[:2]), path.products), last.unflatten(0, q.shape[:2])
