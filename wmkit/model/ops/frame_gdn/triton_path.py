"""The Triton path: the kernels with their gradients, put together as `scan` is, and the check before first use.

Tokens stay in the type they come in (float32, bfloat16, float16), every sum and state is float32. Gradients of tokens
come from the same two kernels: what is a Gram matrix forward is a product with a matrix backward, and the other way
round. Only the elementwise work on D x D matrices is left to torch.
"""

from typing import Any

import torch
from torch import Tensor

from wmkit.model.ops.frame_gdn.chain import serial_chain
from wmkit.model.ops.frame_gdn.paths import GdnPath
from wmkit.model.ops.frame_gdn.scan import FrameWrites, frame_writes, read_state
from wmkit.model.ops.frame_gdn.states import read_states
from wmkit.model.ops.frame_gdn.triton_kernels import chain_states, gram, times_matrix

__all__ = ["self_check", "triton_path"]


def triton_path() -> GdnPath:
    """The parts of the path."""
    return GdnPath(writes=_writes, chain=chain_states, read=_read, compute=lambda dtype: dtype)


def self_check(device: torch.device) -> str | None:
    """None, or how the kernels differ from `scan` in values or gradients on a small problem of the released widths."""
    for dtype, allowed in ((torch.float32, 1e-4), (torch.bfloat16, 3e-2)):
        inputs = _small_problem(device, dtype)
        names = ("output", "q", "k", "v", "beta", "decay")
        for name, got, want in zip(names, _run(True, inputs), _run(False, inputs), strict=True):
            error = ((got - want).abs().max() / want.abs().max()).item()
            if not error <= allowed:  # a NaN is a failure too
                return f"{name} differs from scan by {error:.1e} in {str(dtype).removeprefix('torch.')}"
    return None


def _small_problem(device: torch.device, dtype: torch.dtype) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    B, H, T, S, D = 1, 2, 5, 70, 112
    q, k, v = (torch.randn(B, H, T, S, D, generator=generator) for _ in range(3))
    k = k.relu() * (D * S) ** -0.5
    gates = [torch.rand(B, H, T, S, generator=generator), torch.rand(B, H, T, generator=generator)]
    return [x.to(device, dtype).requires_grad_() for x in (q, k, v)] + [x.to(device).requires_grad_() for x in gates]


def _run(kernels: bool, inputs: list[Tensor]) -> list[Tensor]:
    """Output of a bidirectional read and its gradients, float32."""
    q, k, v, beta, decay = inputs
    parts = triton_path() if kernels else GdnPath(
        writes=frame_writes, chain=serial_chain, read=read_state, compute=lambda _: torch.float32
    )  # fmt: skip
    q, transition, update = parts.prepared(q, k, v, (beta, decay))
    ends = (False, True, False, False, True)
    states, _, _ = read_states(transition, update, (None, None), ends, parts.chain)
    out = parts.read(q, states.unflatten(0, q.shape[:2])).float()
    weight = torch.linspace(-1, 1, out.numel(), device=out.device).view(out.shape)
    return [x.detach().float() for x in (out, *torch.autograd.grad((out * weight).sum(), inputs))]


def _writes(k: Tensor, v: Tensor | None, beta: Tensor, decay: Tensor) -> FrameWrites:
    values = k.new_ones(1).expand(*k.shape[:-1], 1) if v is None else v
    written: Tensor = _SelfGram.apply(k, beta)  # type: ignore[assignment]
    update: Tensor = _WeightedGram.apply(k, values, beta)  # type: ignore[assignment]
    eye = torch.eye(k.shape[-1], dtype=written.dtype, device=k.device)
    return FrameWrites(transition=decay[..., None, None] * (eye - written), update=update)


def _read(q: Tensor, state: Tensor) -> Tensor:
    read: Tensor = _Read.apply(q, state)  # type: ignore[assignment]
    return read


class _SelfGram(torch.autograd.Function):
    """Kᵀ diag(beta) K of every frame."""

    @staticmethod
    def forward(ctx: Any, k: Tensor, beta: Tensor) -> Tensor:
        ctx.save_for_backward(k, beta)
        return gram(k, k, beta)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        k, beta = ctx.saved_tensors
        both = grads[0] + grads[0].mT
        of_k, dots = times_matrix(k, both, beta, k, k.dtype)
        assert dots is not None
        return of_k, (dots / 2).to(beta.dtype)


class _WeightedGram(torch.autograd.Function):
    """Kᵀ diag(beta) V of every frame."""

    @staticmethod
    def forward(ctx: Any, k: Tensor, v: Tensor, beta: Tensor) -> Tensor:
        ctx.save_for_backward(k, v, beta)
        return gram(k, v, beta)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        k, v, beta = ctx.saved_tensors
        of_k, dots = times_matrix(v, grads[0].mT, beta, k, k.dtype)
        assert dots is not None
        of_v = times_matrix(k, grads[0], beta, None, v.dtype)[0] if ctx.needs_input_grad[1] else None
        return of_k, of_v, dots.to(beta.dtype)


class _Read(torch.autograd.Function):
    """q @ state of every frame, float32."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, state: Tensor) -> Tensor:
        ctx.save_for_backward(q, state)
        return times_matrix(q, state, None, None, torch.float32)[0]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        q, state = ctx.saved_tensors
        of_read = grads[0].to(q.dtype)
        return times_matrix(of_read, state.mT, None, None, q.dtype)[0], gram(q, of_read, None)
