"""Inputs of the frame-wise GDN as the model scales them, and the comparison of two paths that every test makes."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from wmkit.model.ops.frame_gdn import key_scale

# B, H, T, S, D, E: odd sizes, one frame, one token, more channels than tokens and the other way round.
SIZES = [(2, 3, 5, 7, 4, 4), (1, 1, 1, 3, 2, 5), (1, 2, 9, 1, 3, 1), (2, 1, 3, 2, 8, 6), (1, 1, 4, 13, 5, 3)]

NAMES = ("q_rot", "k_rot", "q", "k", "v", "beta", "decay", "memory", "normaliser")


def gdn_inputs(size: Sequence[int], seed: int = 0, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """In the order of NAMES, leaves with gradients; drawn in float64 and rounded, so that types agree on the draw.

    The normaliser starts at 1 or more and its keys are positive, as after a real past: no division by almost nothing.
    """
    B, H, T, S, D, E = size
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    scale = key_scale(D, S)
    tensors = [
        draw(B, H, T, S, D),
        draw(B, H, T, S, D).clamp(-2, 2) * scale,
        draw(B, H, T, S, D).abs() + 0.1,
        draw(B, H, T, S, D).relu() * scale,
        draw(B, H, T, S, E),
        draw(B, H, T, S).sigmoid(),
        draw(B, H, T).sigmoid(),
        draw(B, H, D, E),
        draw(B, H, D, 1).abs() + 1,
    ]
    return [tensor.to(dtype).requires_grad_() for tensor in tensors]


def values_and_gradients(
    call: Callable[..., Sequence[Tensor]], inputs: Sequence[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """Outputs of `call(*inputs)`, and the gradient of a fixed random weighing of all of them by every input."""
    outputs = call(*inputs)
    generator = torch.Generator().manual_seed(9)
    weighed = [
        (out * torch.randn(out.shape, generator=generator, dtype=torch.float64).to(out)).sum() for out in outputs
    ]
    gradients = torch.autograd.grad(sum(weighed, torch.zeros(())), list(inputs))
    return [out.detach() for out in outputs], list(gradients)


def assert_close(got: Sequence[Tensor], want: Sequence[Tensor], tolerance: float) -> None:
    """Every tensor within `tolerance` of its own largest entry: sums are as wrong as their largest terms."""
    for mine, theirs in zip(got, want, strict=True):
        scale = max(theirs.abs().max().item(), 1e-3)
        error = (mine.double() - theirs.double()).abs().max().item() / scale
        assert error <= tolerance, f"relative error {error:.2e}, allowed {tolerance:.0e}"
