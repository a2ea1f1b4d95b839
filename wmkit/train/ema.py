"""A running mean of weights: less noisy than the last ones, and what samples are made with where a run keeps one."""

from collections.abc import Mapping

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
