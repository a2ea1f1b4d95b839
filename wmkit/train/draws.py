"""Random numbers of training and sampling: each draw a pure function of its address, none of what was drawn before."""

import hashlib

import torch
from torch import Tensor

__all__ = ["generator_for", "normal", "uniform"]


def generator_for(seed: int, step: int, slot: int, purpose: str) -> torch.Generator:
    """CPU generator of (run seed, step, slot in the global batch, purpose), the same on any number of workers.

    The draw happens on the CPU and is moved, so that a GPU run starts from the same noise.
    """
    digest = hashlib.sha256(f"{seed}\0{step}\0{slot}\0{purpose}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)  # a seed is a signed 64-bit number


def normal(seed: int, step: int, purpose: str, slots: range, shape: tuple[int, ...] = ()) -> Tensor:
    """(slots, *shape) standard normal float32: one generator a place in the step's batch."""
    return torch.stack([torch.randn(shape, generator=generator_for(seed, step, slot, purpose)) for slot in slots])


def uniform(seed: int, step: int, slot: int, purpose: str) -> float:
    """One number of [0, 1)."""
    return torch.rand((), generator=generator_for(seed, step, slot, purpose)).item()
