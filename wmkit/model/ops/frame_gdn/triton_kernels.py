"""Triton kernels of the frame-wise GDN: weighted Gram matrices of tokens, tokens times a matrix, the chain of states.

Written for H100 at T 121, S 880, D 112 (padded to 128), bfloat16 tokens, float32 sums and states. Only what Triton 3.6
and 3.9 both have. No accumulator is transposed before a product, which some versions got wrong on Hopper: operands
are read through strides instead. Compiled for sm_90 by Triton 3.6 at D_PAD 128 and 8 warps, the kernels of tokens
spill no register; the chain spills 240 to 320 bytes a thread, the price of float32-exact products of its states.
With TRITON_INTERPRET=1 in the environment before this is imported, the kernels run on the CPU, slowly.
"""

import os
from collections.abc import Callable
from typing import Any

import torch
import triton  # pyright: ignore[reportMissingImports]
import triton.language as tl  # pyright: ignore[reportMissingImports]
from torch import Tensor

__all__ = ["INTERPRETED", "chain_states", "gram", "times_matrix"]

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"

# float32 operands as three TF32 products: within a few roundings of float32, on tensor cores. bfloat16 ones ignore it.
PRECISION = tl.constexpr("tf32x3")
# The interpreter multiplies the bit patterns of bfloat16. Its operands are widened there, as tensor cores do.
WIDEN = tl.constexpr(INTERPRETED)
LAUNCH = {"num_warps": 8}


def gram(a: Tensor, b: Tensor, weight: Tensor | None) -> Tensor:
    """sum_s weight_s a_sᵀ b_s: (B, H, T, S, D), (B, H, T, S, E), (B, H, T, S) -> (B, H, T, D, E) float32."""
    a, b = _rows(a), _rows(b)
    B, H, T, S, D = a.shape
    E = b.shape[-1]
    out = torch.empty(B, H, T, D, E, dtype=torch.float32, device=a.device)
    given = a if weight is None else weight  # an unread pointer still has to be one
    block = 32 if a.dtype == torch.float32 else 64
    with torch.cuda.device_of(a):
        _on(_gram_kernel, B * H * T)(
            a, b, given, out, H, T, S, D, E, *a.stride()[:4], *b.stride()[:4], *given.stride()[:4],
            HAS_WEIGHT=weight is not None, D_PAD=_pad(D), E_PAD=_pad(E), BLOCK_S=block, **LAUNCH,
        )  # fmt: skip
    return out


def times_matrix(
    x: Tensor, matrix: Tensor, scale: Tensor | None, other: Tensor | None, dtype: torch.dtype
) -> tuple[Tensor, Tensor | None]:
    """(scale_s (x_s @ matrix), and the product of x_s @ matrix with `other_s` summed over E, or None).

    x (B, H, T, S, D), matrix (B, H, T, D, E) with any strides, scale (B, H, T, S), other (B, H, T, S, E); the first
    result (B, H, T, S, E) in `dtype`, the second (B, H, T, S) float32.
    """
    x = _rows(x)
    B, H, T, S, D = x.shape
    E = matrix.shape[-1]
    out = torch.empty(B, H, T, S, E, dtype=dtype, device=x.device)
    dots = None if other is None else torch.empty(B, H, T, S, dtype=torch.float32, device=x.device)
    given, against = x if scale is None else scale, x if other is None else _rows(other)
    block = 64  # float32 spills at 32: too few rows for a warp group's products
    with torch.cuda.device_of(x):
        _on(_times_matrix_kernel, B * H * T, triton.cdiv(S, block))(
            x, matrix, given, against, out, out if dots is None else dots, H, T, S, D, E,
            *x.stride()[:4], *matrix.stride(), *given.stride()[:4], *against.stride()[:4],
            HAS_SCALE=scale is not None, HAS_OTHER=other is not None, D_PAD=_pad(D), E_PAD=_pad(E), BLOCK_S=block,
            **LAUNCH,
        )  # fmt: skip
    return out, dots


def chain_states(link: Tensor, value: Tensor, cut: tuple[bool, ...], reverse: bool) -> Tensor:
    """`serial_chain` in one launch: a program keeps 32 columns of one head's state through all frames."""
    N, T, D, E = value.shape
    out = torch.empty(N, T, D, E, dtype=torch.float32, device=value.device)
    on_gpu = value.device.type == "cuda"
    # From pinned memory, so that the copy does not wait for the kernels before it.
    flags = torch.tensor([0.0 if closed else 1.0 for closed in (*cut, True)], pin_memory=on_gpu)
    passing = flags.to(value.device, non_blocking=True) if any(cut) else value
    block = min(32, _pad(E))
    with torch.cuda.device_of(value):
        _on(_chain_kernel, N, triton.cdiv(E, block))(
            link, value, passing, out, T, D, E, *link.stride(), *value.stride(),
            REVERSE=reverse, HAS_CUT=any(cut), D_PAD=_pad(D), E_PAD=block, **LAUNCH,
        )  # fmt: skip
    return out


def _on(kernel: Any, *programs: int) -> Callable[..., None]:
    """The kernel's launch on a grid of programs; type checkers take its declaration for a plain function's."""
    return kernel[programs]


def _rows(x: Tensor) -> Tensor:
    """Tokens are read at any strides but that of channels, which has to be 1."""
    return x if x.stride(-1) == 1 or x.shape[-1] == 1 else x.contiguous()


def _pad(channels: int) -> int:
    return max(16, triton.next_power_of_2(channels))


@triton.jit
def _frame_offset(program, H, T, stride_b, stride_h, stride_t):
    t = program % T
    h = (program // T) % H
    b = program // (T * H)
    # Offsets in 64 bits: a minute's tokens of several clips are more than 2^31 numbers.
    return b.to(tl.int64) * stride_b + h.to(tl.int64) * stride_h + t.to(tl.int64) * stride_t


@triton.jit
def _dot(a, b, total):
    if WIDEN:
        a, b = a.to(tl.float32), b.to(tl.float32)
    return tl.dot(a, b, total, input_precision=PRECISION)


@triton.jit
def _gram_kernel(
    a, b, weight, out, H, T, S, D, E,
    a_b, a_h, a_t, a_s, b_b, b_h, b_t, b_s, w_b, w_h, w_t, w_s,
    HAS_WEIGHT: tl.constexpr, D_PAD: tl.constexpr, E_PAD: tl.constexpr, BLOCK_S: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    a += _frame_offset(program, H, T, a_b, a_h, a_t)
    b += _frame_offset(program, H, T, b_b, b_h, b_t)
    weight += _frame_offset(program, H, T, w_b, w_h, w_t)
    d, e = tl.arange(0, D_PAD), tl.arange(0, E_PAD)
    total = tl.zeros((D_PAD, E_PAD), dtype=tl.float32)
    for start in range(0, S, BLOCK_S):
        s = start + tl.arange(0, BLOCK_S)
        left = tl.load(a + s[:, None] * a_s + d[None, :], mask=(s[:, None] < S) & (d[None, :] < D), other=0.0)
        right = tl.load(b + s[:, None] * b_s + e[None, :], mask=(s[:, None] < S) & (e[None, :] < E), other=0.0)
        if HAS_WEIGHT:
            w = tl.load(weight + s * w_s, mask=s < S, other=0.0).to(tl.float32)
            left = (left.to(tl.float32) * w[:, None]).to(left.dtype)
        total = _dot(tl.trans(left), right, total)
    out += program.to(tl.int64) * D * E
    tl.store(out + d[:, None] * E + e[None, :], total, mask=(d[:, None] < D) & (e[None, :] < E))


@triton.jit
def _times_matrix_kernel(
    x, matrix, scale, other, out, dots, H, T, S, D, E,
    x_b, x_h, x_t, x_s, m_b, m_h, m_t, m_d, m_e, c_b, c_h, c_t, c_s, o_b, o_h, o_t, o_s,
    HAS_SCALE: tl.constexpr, HAS_OTHER: tl.constexpr, D_PAD: tl.constexpr, E_PAD: tl.constexpr,
    BLOCK_S: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    s = tl.program_id(1) * BLOCK_S + tl.arange(0, BLOCK_S)
    d, e = tl.arange(0, D_PAD), tl.arange(0, E_PAD)
    x += _frame_offset(program, H, T, x_b, x_h, x_t)
    matrix += _frame_offset(program, H, T, m_b, m_h, m_t)
    tokens = tl.load(x + s[:, None] * x_s + d[None, :], mask=(s[:, None] < S) & (d[None, :] < D), other=0.0)
    inside = (d[:, None] < D) & (e[None, :] < E)
    factor = tl.load(matrix + d[:, None] * m_d + e[None, :] * m_e, mask=inside, other=0.0)
    product = _dot(tokens, factor.to(tokens.dtype), tl.zeros((BLOCK_S, E_PAD), dtype=tl.float32))
    kept = (s[:, None] < S) & (e[None, :] < E)
    row = program.to(tl.int64) * S
    if HAS_OTHER:
        other += _frame_offset(program, H, T, o_b, o_h, o_t)
        against = tl.load(other + s[:, None] * o_s + e[None, :], mask=kept, other=0.0).to(tl.float32)
        tl.store(dots + row + s, tl.sum(product * against, axis=1), mask=s < S)
    if HAS_SCALE:
        scale += _frame_offset(program, H, T, c_b, c_h, c_t)
        product = product * tl.load(scale + s * c_s, mask=s < S, other=0.0).to(tl.float32)[:, None]
    tl.store(out + (row + s[:, None]) * E + e[None, :], product.to(out.dtype.element_ty), mask=kept)


@triton.jit
def _chain_kernel(
    link, value, passing, out, T, D, E, l_n, l_c, l_i, l_j, v_n, v_t, v_i, v_j,
    REVERSE: tl.constexpr, HAS_CUT: tl.constexpr, D_PAD: tl.constexpr, E_PAD: tl.constexpr,
):  # fmt: skip
    n = tl.program_id(0).to(tl.int64)
    d = tl.arange(0, D_PAD)
    e = tl.program_id(1) * E_PAD + tl.arange(0, E_PAD)
    kept = (d[:, None] < D) & (e[None, :] < E)
    square = (d[:, None] < D) & (d[None, :] < D)
    link += n * l_n
    value += n * v_n
    out += n * T * D * E
    state = tl.zeros((D_PAD, E_PAD), dtype=tl.float32)
    for step in range(T):
        t = T - 1 - step if REVERSE else step
        written = tl.load(value + t * v_t + d[:, None] * v_i + e[None, :] * v_j, mask=kept, other=0.0)
        # The link into frame t, from t - 1 or, backwards, from t + 1; the first step has none.
        c = t if REVERSE else t - 1
        first = step > 0
        if HAS_CUT:
            state *= tl.load(passing + c, mask=first, other=0.0)
        move = tl.load(link + c * l_c + d[:, None] * l_i + d[None, :] * l_j, mask=square & first, other=0.0)
        state = _dot(move, state, written)
        tl.store(out + t * D * E + d[:, None] * E + e[None, :], state, mask=kept)
