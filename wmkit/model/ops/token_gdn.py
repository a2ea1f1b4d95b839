"""Token-wise Gated DeltaNet (arXiv 2412.06464) with the frame-wise op's signature: what the frame-wise rule replaces.

For ablations. Tokens follow one another in raster order within a frame, and each sees what the one before it left;
the frame's decay comes with its first token. Forward in time a token sees itself and all before it, backward those
after it, one division at the end, as in `frame_gdn`, of which this is the case of frames of one token. On a GPU the
chunked kernels of flash-linear-attention (MIT, the extra wmkit[fla]) do it; elsewhere the frame-wise scan, one step a
token, for small sizes. Keys are to be scaled by key_scale(D, 1): a token alone has to stay within the bound.
Shapes: B batch, H heads, T frames, S tokens a frame, D key channels, E value channels.
"""

import importlib
from collections.abc import Callable
from importlib.util import find_spec
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from wmkit.errors import ConfigError
from wmkit.model.ops.frame_gdn.op import bidirectional_read, normalise, outside_autocast

__all__ = ["TokenBackend", "TokenRule", "rule_read", "token_gdn"]

TokenBackend = Literal["auto", "fla", "scan"]

# q, k (B, N, H, D), v (B, N, H, E), by name g (log decay) and beta (B, N, H) and scale -> reads (B, N, H, E), state
TokenRule = Callable[..., tuple[Tensor, Tensor | None]]


def token_gdn(
    rotated: tuple[Float[Tensor, "B H T S D"], Float[Tensor, "B H T S D"]],
    plain: tuple[Float[Tensor, "B H T S D"], Float[Tensor, "B H T S D"]],
    v_BHTSE: Float[Tensor, "B H T S E"],
    beta_BHTS: Float[Tensor, "B H T S"],
    decay_BHT: Float[Tensor, "B H T"],
    *,
    backend: TokenBackend = "auto",
) -> Float[Tensor, "B H T S E"]:
    """Normalised bidirectional output: numerator from the `rotated` (q, k), denominator from the `plain` ones.

    Raises ConfigError when backend "fla" cannot run: no GPU, or the package is missing.
    """
    opens_S = torch.arange(beta_BHTS.shape[-1], device=beta_BHTS.device) == 0
    decay_BHTS = torch.where(opens_S, decay_BHT[..., None], 1.0)
    ones = torch.ones_like(v_BHTSE)
    if _uses_fla(backend, v_BHTSE):
        rule = importlib.import_module("fla.ops.gated_delta_rule").chunk_gated_delta_rule
        with outside_autocast(v_BHTSE):
            numerator, denominator = (
                rule_read(rule, q, k, v, beta_BHTS, decay_BHTS) for (q, k), v in ((rotated, v_BHTSE), (plain, ones))
            )
    else:
        numerator, denominator = (
            _scan_read(q, k, v, beta_BHTS, decay_BHTS) for (q, k), v in ((rotated, v_BHTSE), (plain, ones[..., :1]))
        )
    return normalise(numerator, denominator[..., :1]).to(v_BHTSE.dtype)


def rule_read(
    rule: TokenRule,
    q_BHTSD: Float[Tensor, "B H T S D"],
    k_BHTSD: Float[Tensor, "B H T S D"],
    v_BHTSE: Float[Tensor, "B H T S E"],
    beta_BHTS: Float[Tensor, "B H T S"],
    decay_BHTS: Float[Tensor, "B H T S"],
) -> Float[Tensor, "B H T S E"]:
    """Both directions by a causal token rule: as it stands, and on flipped tokens of which each sees one less."""
    tokens = [x.flatten(2, 3).transpose(1, 2) for x in (q_BHTSD, k_BHTSD, v_BHTSE, beta_BHTS, decay_BHTS.log())]
    forward = _ruled(rule, tokens)
    q, *others = (x.flip(1) for x in tokens)
    before = [torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], dim=1) for x in others]
    both = forward + _ruled(rule, [q, *before]).flip(1)
    return both.transpose(1, 2).unflatten(2, q_BHTSD.shape[2:4])


def _ruled(rule: TokenRule, tokens: list[Tensor]) -> Tensor:
    q, k, v, beta, log_decay = (x.contiguous() for x in tokens)
    return rule(q, k, v, beta=beta, g=log_decay.float(), scale=1.0)[0]


def _scan_read(q: Tensor, k: Tensor, v: Tensor, beta: Tensor, decay: Tensor) -> Tensor:
    """The frame-wise op on frames of one token."""
    one_q, one_k, one_v = (x.flatten(2, 3)[..., None, :] for x in (q, k, v))
    read = bidirectional_read(one_q, one_k, one_v, beta.flatten(2, 3)[..., None], decay.flatten(2, 3), backend="scan")
    return read[..., 0, :].unflatten(2, q.shape[2:4])


def _uses_fla(backend: TokenBackend, x: Tensor) -> bool:
    obstacle = None
    if x.device.type != "cuda":
        obstacle = f"needs a CUDA device, got {x.device.type}"
    elif find_spec("fla") is None:
        obstacle = "needs flash-linear-attention (the extra wmkit[fla])"
    if backend == "fla" and obstacle is not None:
        raise ConfigError(f"token_gdn: backend fla {obstacle}; use backend scan")
    return backend == "fla" or (backend == "auto" and obstacle is None)
