"""Torch's number of CPU threads, set for a while: sums over another number of threads differ in their last bits."""

import contextlib
from collections.abc import Iterator

import torch

__all__ = ["cpu_threads"]


@contextlib.contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """Use `count` threads inside; the number of before comes back, whatever happens."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
