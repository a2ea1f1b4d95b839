"""A running mean of weights: less noisy than the last ones, and what samples are made with where a run keeps one."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from wmkit.train.parallel import sharded_as

__all__ = ["RunningMean"]


class RunningMean:
    """Exponential mean of a model's floating-point parameters in float32, by name; it begins as the model is."""

    def __init__(self, model: nn.Module) -> None:
        self.tensors = {name: value.detach().float().clone() for name, value in model.named_parameters()}

    @torch.no_grad()
    def add(self, model: nn.Module, decay: float) -> None:
        """mean = decay mean + (1 - decay) weights."""
        for mean, parameter in zip(self.tensors.values(), model.parameters(), strict=True):
            mean.lerp_(parameter.detach().float(), 1 - decay)

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from these; the names are the model's."""
        for name, mean in self.tensors.items():
            mean.copy_(sharded_as(mean, tensors[name]))

    @contextlib.contextmanager
    def in_place_of(self, model: nn.Module) -> Iterator[None]:
        """Meanwhile the model's parameters are their mean; afterwards what they were, bit for bit."""
        own = [parameter.detach().clone() for parameter in model.parameters()]
        try:
            _put(model, self.tensors.values())
            yield
        finally:
            _put(model, own)


@torch.no_grad()
def _put(model: nn.Module, values: Iterable[Tensor]) -> None:
    for parameter, value in zip(model.parameters(), values, strict=True):
        parameter.copy_(value)
