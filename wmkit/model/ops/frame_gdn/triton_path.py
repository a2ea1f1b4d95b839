"""The Triton path, and the check that it passes before its first use.

Tokens stay in the type they come in (float32, bfloat16, float16), every sum and state is float32.
"""

import torch
from torch import Tensor

from wmkit.model.ops.frame_gdn.paths import GdnPath, path_of
from wmkit.model.ops.frame_gdn.states import read_states
from wmkit.model.ops.frame_gdn.tokens import TokenProducts, read_state
from wmkit.model.ops.frame_gdn.triton_kernels import chain_states, gram, times_matrix

__all__ = ["self_check", "triton_path"]


def triton_path() -> GdnPath:
    """The parts of the path."""
    products = TokenProducts(gram=gram, times_matrix=times_matrix)
    return GdnPath(products=products, chain=chain_states, compute=lambda dtype: dtype)


def self_check(device: torch.device) -> str | None:
    """None, or how the kernels differ from `scan` in values or gradients on a small problem of the released widths."""
    # float32 up to sums of 70 terms and three TF32 products each; bfloat16 operands, 2^-9 each, a few in a row.
    for dtype, allowed in ((torch.float32, 1e-4), (torch.bfloat16, 3e-2)):
        inputs = _small_problem(device, dtype)
        names = ("output", "q", "k", "v", "beta", "decay")
        kernels, torch_alone = _run(triton_path(), inputs), _run(path_of("scan"), inputs)
        for name, got, want in zip(names, kernels, torch_alone, strict=True):
            error = ((got - want).abs().max() / want.abs().max()).item()
            if not error <= allowed:  # a NaN is a failure too
                return f"{name} differs from scan by {error:.1e} in {str(dtype).removeprefix('torch.')}"
    return None


def _small_problem(device: torch.device, dtype: torch.dtype) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    B, H, T, S, D = 1, 2, 3, 70, 112
    q, k, v = (torch.randn(B, H, T, S, D, generator=generator) for _ in range(3))
    k = k.relu() * (D * S) ** -0.5
    gates = [torch.rand(B, H, T, S, generator=generator), torch.rand(B, H, T, generator=generator)]
    return [x.to(device, dtype).requires_grad_() for x in (q, k, v)] + [x.to(device).requires_grad_() for x in gates]


def _run(path: GdnPath, inputs: list[Tensor]) -> list[Tensor]:
    """Output of a chunk-causal read and its gradients, float32."""
    q, k, v, beta, decay = inputs
    with torch.enable_grad():  # the first call may be one without gradients
        wide_q, transition, update = path.prepared(q, k, v, (beta, decay))
        states, _, _ = read_states(transition, update, (None, None), (False, True, True), path.chain)
        out = read_state(wide_q, states.unflatten(0, q.shape[:2]), path.products).float()
        weight = torch.linspace(-1, 1, out.numel(), device=out.device).view(out.shape)
        gradients = torch.autograd.grad((out * weight).sum(), inputs)
    return [x.detach().float() for x in (out, *gradients)]
