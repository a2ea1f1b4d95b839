"""The parts of the op that see tokens, with gradients: what a frame writes, and what its queries read.

All are made of two products, the Gram matrix of a frame's tokens and the tokens times a matrix, and each is the
other's gradient. A path brings its own two (torch's or Triton's). The D x D matrix of a frame is built once: its rank
is min(S, D), which is D for any real picture, so no factored form would be smaller.
Shapes: B batch, H heads, T frames, S tokens a frame, D key channels, E value channels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["TokenProducts", "frame_writes", "read_state"]


# a (B, H, T, S, D), b (B, H, T, S, E), weight (B, H, T, S) -> sum_s weight_s a_sᵀ b_s (B, H, T, D, E)
Gram = Callable[[Tensor, Tensor, Tensor | None], Tensor]

# x (B, H, T, S, D), matrix (B, H, T, D, E), scale (B, H, T, S), other (B, H, T, S, E), a type ->
# scale_s (x_s @ matrix) (B, H, T, S, E) in that type, and the sum over E of (x_s @ matrix) other_s, None without other
TimesMatrix = Callable[[Tensor, Tensor, Tensor | None, Tensor | None, torch.dtype], tuple[Tensor, Tensor | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenProducts:
    """The two products of a path; sums are float32 or more."""

    gram: Gram
    times_matrix: TimesMatrix


def frame_writes(
    k_BHTSD: Float[Tensor, "B H T S D"],
    v_BHTSE: Float[Tensor, "B H T S E"] | None,
    beta_BHTS: Float[Tensor, "B H T S"],
    decay_BHT: Float[Tensor, "B H T"],
    products: TokenProducts,
) -> tuple[Float[Tensor, "B H T D D"], Float[Tensor, "B H T D E"]]:
    """What a frame does to any state, state -> transition @ state + update; `v` None stands for values of 1 (E = 1).

    The transition is g_t (I - K_tᵀ diag(beta_t) K_t), symmetric; its norm is at most g_t while tr(K beta Kᵀ) <= 1
    (SANA-WM Eq. 5). The update is K_tᵀ diag(beta_t) V_t.
    """
    v_BHTSE = k_BHTSD.new_ones(1).expand(*k_BHTSD.shape[:-1], 1) if v_BHTSE is None else v_BHTSE
    written: Tensor = _SelfGram.apply(k_BHTSD, beta_BHTS, products)  # type: ignore[assignment]
    update: Tensor = _WeightedGram.apply(k_BHTSD, v_BHTSE, beta_BHTS, products)  # type: ignore[assignment]
    eye_DD = torch.eye(written.shape[-1], dtype=written.dtype, device=written.device)
    return decay_BHT[..., None, None] * (eye_DD - written), update


def read_state(
    q_BHTSD: Float[Tensor, "B H T S D"], state_BHTDE: Float[Tensor, "B H T D E"], products: TokenProducts
) -> Float[Tensor, "B H T S E"]:
    """q @ state, in the state's type."""
    read: Tensor = _Read.apply(q_BHTSD, state_BHTDE, products)  # type: ignore[assignment]
    return read


class _SelfGram(torch.autograd.Function):
    """Kᵀ diag(beta) K: being quadratic in K, its gradient is one product with the gradient's symmetric part."""

    @staticmethod
    def forward(ctx: Any, k: Tensor, beta: Tensor, products: TokenProducts) -> Tensor:
        ctx.save_for_backward(k, beta)
        ctx.products = products
        return products.gram(k, k, beta)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        k, beta = ctx.saved_tensors
        of_k, dots = ctx.products.times_matrix(k, grads[0] + grads[0].mT, beta, k, k.dtype)
        return of_k, (dots / 2).to(beta.dtype), None


class _WeightedGram(torch.autograd.Function):
    """Kᵀ diag(beta) V."""

    @staticmethod
    def forward(ctx: Any, k: Tensor, v: Tensor, beta: Tensor, products: TokenProducts) -> Tensor:
        ctx.save_for_backward(k, v, beta)
        ctx.products = products
        return products.gram(k, v, beta)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, Tensor, None]:
        k, v, beta = ctx.saved_tensors
        of_k, dots = ctx.products.times_matrix(v, grads[0].mT, beta, k, k.dtype)
        of_v = ctx.products.times_matrix(k, grads[0], beta, None, v.dtype)[0] if ctx.needs_input_grad[1] else None
        return of_k, of_v, dots.to(beta.dtype), None


class _Read(torch.autograd.Function):
    """q @ state."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, state: Tensor, products: TokenProducts) -> Tensor:
        ctx.save_for_backward(q, state)
        ctx.products = products
        return products.times_matrix(q, state, None, None, state.dtype)[0]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        q, state = ctx.saved_tensors
        of_read = grads[0].to(q.dtype)
        of_q, _ = ctx.products.times_matrix(of_read, state.mT, None, None, q.dtype)
        return of_q, ctx.products.gram(q, of_read, None), None
