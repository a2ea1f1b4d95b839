"""The ways to the same numbers, and which one a call takes.

literal   the equation, frame by frame: the specification
scan      dense products, then one D x D product a frame: the default
block     the same with frames in blocks, for devices where a step's latency is the cost; on one CPU thread it took
          1.0 to 2.9 times as long as scan (16 to 121 frames, 1 to 4 heads of 16 to 112 channels), so auto leaves it out
triton    kernels for NVIDIA GPUs, float32 and half precision
"""

import functools
import subprocess
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

import torch
from torch import Tensor

from wmkit.errors import ConfigError
from wmkit.model.ops.frame_gdn.chain import Chain, block_chain, serial_chain
from wmkit.model.ops.frame_gdn.scan import TORCH_PRODUCTS
from wmkit.model.ops.frame_gdn.tokens import TokenProducts, frame_writes

__all__ = ["Backend", "GdnPath", "choose_backend", "path_of"]

Backend = Literal["auto", "literal", "scan", "block", "triton"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GdnPath:
    """The parts of a fast path: products of tokens, the chain of states, and the type that tokens are taken in."""

    products: TokenProducts
    chain: Chain
    compute: Callable[[torch.dtype], torch.dtype]

    def prepared(
        self, q: Tensor, k: Tensor, v: Tensor | None, gates: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """q in the type that the path computes in, and transition and update of every frame, (N, T, D, D or E).

        `v` None stands for values of 1; `gates` are beta and decay.
        """
        dtype = self.compute(q.dtype)
        q, k, v = q.to(dtype), k.to(dtype), None if v is None else v.to(dtype)
        beta, decay = (x.to(torch.promote_types(dtype, torch.float32)) for x in gates)
        transition, update = frame_writes(k, v, beta, decay, self.products)
        return q, transition.flatten(0, 1), update.flatten(0, 1)


def path_of(name: Backend) -> GdnPath:
    """The parts of a named path; raises ConfigError for `literal`, which has none."""
    if name == "literal":
        raise ConfigError("frame_gdn: expected a backend of parts (scan, block, triton), got literal")
    if name == "triton":
        from wmkit.model.ops.frame_gdn.triton_path import triton_path

        return triton_path()
    chain = block_chain if name == "block" else serial_chain
    return GdnPath(products=TORCH_PRODUCTS, chain=chain, compute=_at_least_float32)


def choose_backend(backend: Backend, x: Tensor) -> Literal["literal", "scan", "block", "triton"]:
    """The path that a call with tensors like `x` takes; raises ConfigError when a named one cannot run."""
    if backend == "auto":
        wanted = x.device.type == "cuda" and x.dtype != torch.float64
        return "triton" if wanted and _kernels_pass(x.device.index or 0) else "scan"
    if backend not in ("literal", "scan", "block", "triton"):
        raise ConfigError(f"frame_gdn: expected backend auto, literal, scan, block or triton, got {backend}")
    if backend == "triton":
        why_not = _triton_obstacle(x)
        if why_not is not None:
            raise ConfigError(f"frame_gdn: backend triton {why_not}; use backend scan")
    return backend


def _triton_obstacle(x: Tensor) -> str | None:
    if find_spec("triton") is None:
        return "needs the package triton (the extra wmkit[gpu])"
    if x.dtype == torch.float64:
        return "computes in float32 at most, got float64"
    from wmkit.model.ops.frame_gdn.triton_kernels import INTERPRETED

    if x.device.type != "cuda" and not INTERPRETED:
        return f"needs a CUDA device (or TRITON_INTERPRET=1 for its interpreter), got {x.device.type}"
    return None


@torch.compiler.assume_constant_result
def _kernels_pass(device: int) -> bool:
    """`_checked`, which a compiler has to take for a constant: the check is no part of the model."""
    return _checked(device)


@functools.cache
def _checked(device: int) -> bool:
    """Whether the kernels run and agree with `scan` on this device, asked once a process.

    Compilers have had wrong ones; and where there is no C compiler, or a GPU has too little shared memory, there are
    none. Whatever it is, it is told once, and `scan` does the work.
    """
    if find_spec("triton") is None:
        return False
    try:
        from wmkit.model.ops.frame_gdn.triton_path import self_check

        problem = self_check(torch.device("cuda", device))
    except _kernel_errors() as error:
        problem = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    if problem is not None:
        warnings.warn(f"frame_gdn: the Triton kernels are not used on cuda:{device}: {problem}", stacklevel=2)
    return problem is None


def _kernel_errors() -> tuple[type[Exception], ...]:
    """What importing, compiling and launching kernels may raise."""
    errors = (ImportError, OSError, RuntimeError, subprocess.SubprocessError)
    try:
        from triton.errors import TritonError  # pyright: ignore[reportMissingImports]
    except errors:
        return errors
    return (*errors, TritonError)


def _at_least_float32(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)
