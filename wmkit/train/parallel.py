"""One run on many processes: parameters over all of them, the clips of a step over some, a clip's frames over others.

The processes are a grid of dp x cp: `cp` neighbours share a clip's frames, and each such group has its own clips of
every step. Every process holds a share of each parameter and its moments, and the whole of a block only while that
block runs (FSDP2, `torch.distributed.fsdp.fully_shard`). The model knows nothing of it, but for the frames it is
given. What is computed is what one process computes, but for rounding.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.utils.checkpoint import checkpoint

from wmkit.errors import ConfigError
from wmkit.model.dit import CameraDiT
from wmkit.model.ops.frame_gdn.context_parallel import FrameShards
from wmkit.train.config import ParallelConfig

__all__ = ["ALONE", "Team", "joined", "sharded_as", "share", "spread", "whole"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Team:
    """The processes of a run, seen from one of them; without a mesh it is alone."""

    device: torch.device = torch.device("cpu")
    mesh: DeviceMesh | None = None

    @property
    def rank(self) -> int:
        """This process among all."""
        return 0 if self.mesh is None else dist.get_rank()

    @property
    def size(self) -> int:
        """Processes in all."""
        return 1 if self.mesh is None else self.mesh.size()

    @property
    def group(self) -> tuple[int, int]:
        """The group of processes that works on this one's clips, and how many such groups there are."""
        return (0, 1) if self.mesh is None else (self.mesh.get_local_rank(0), self.mesh.size(0))

    def slots(self, batch_size: int) -> range:
        """Places of the step's batch whose clips this process works on.

        ConfigError when there are fewer clips than groups: a group without a clip would wait for the others.
        """
        group, groups = self.group
        if batch_size < groups:
            raise ConfigError(
                f"data.batch_size: expected at least {groups}, a clip for each group of parallel.cp processes, got "
                f"{batch_size}; raise it, or parallel.cp"
            )
        return share(batch_size, groups, group)

    def frames(self, count: int) -> FrameShards | None:
        """Which of a clip's `count` latent frames each process of the group holds; None: this one holds all."""
        if self.mesh is None or self.mesh.size(1) == 1:
            return None
        cp = self.mesh.size(1)
        if count < cp:
            raise ConfigError(f"parallel.cp: expected at most {count}, the clip's latent frames, got {cp}; lower it")
        counts = tuple(len(share(count, cp, rank)) for rank in range(cp))
        return FrameShards(frames=counts, group=self.mesh.get_group(1))

    @property
    def leads(self) -> bool:
        """Whether this process writes what a run leaves behind."""
        return self.rank == 0

    def beside(self) -> dist.ProcessGroup | None:
        """A new group of all processes, on the CPU, for what they say to one another while steps go on; every process
        has to ask. None for one that is alone.
        """
        if self.size == 1:
            return None
        group = dist.new_group(backend="gloo")
        assert isinstance(group, dist.ProcessGroup)  # every process is in it
        return group

    def summed(self, value: Tensor) -> Tensor:
        """The sum of `value` over all processes, without gradients."""
        value = value.detach().clone()
        if self.mesh is not None:
            dist.all_reduce(value)
        return value


ALONE = Team()


def share(count: int, parts: int, part: int) -> range:
    """The part-th of `parts` neighbouring shares of `count` things, which differ in length by one at most."""
    return range(part * count // parts, (part + 1) * count // parts)


@contextlib.contextmanager
def joined(config: ParallelConfig) -> Iterator[Team]:
    """The team that the launcher's environment (RANK, WORLD_SIZE, ... as torchrun sets them) makes of this process.

    Alone where there is no such environment; half precision then has a group of one. ConfigError when cp does not
    divide the processes.
    """
    size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if cuda else torch.device("cpu")
    if size % config.cp:
        raise ConfigError(f"parallel.cp: expected a divisor of the {size} processes, got {config.cp}")
    if size == 1 and config.precision == "float32":
        yield Team(device=device)
        return
    if cuda:
        torch.cuda.set_device(device)
    if dist.is_initialized():  # by Ray, which also ends it
        yield _team(device, size, config.cp)
        return
    store = dist.HashStore() if size == 1 else None  # pyright: ignore[reportPrivateImportUsage] - meets nobody
    dist.init_process_group("nccl" if cuda else "gloo", store=store, rank=rank, world_size=size)
    try:
        yield _team(device, size, config.cp)
    finally:
        dist.destroy_process_group()


def _team(device: torch.device, size: int, cp: int) -> Team:
    mesh = init_device_mesh(device.type, (size // cp, cp), mesh_dim_names=("dp", "cp"))
    return Team(device=device, mesh=mesh)


def spread(model: CameraDiT, team: Team, config: ParallelConfig) -> None:
    """Make the model one of the team, in place: blocks recomputed, compiled, sharded, in this order.

    Its parameters become DTensors where the team has a mesh. Parameter names stay what they were.
    """
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    model.to(team.device)
    for block in model.blocks:
        assert isinstance(block, nn.Module)
        if config.recompute:
            block.forward = partial(checkpoint, block.forward, use_reentrant=False)
        if config.compile:
            block.compile()
    if team.mesh is None:
        return
    # Inputs are not cast: a noise level in half precision is another noise level.
    half, sums = (None, None) if config.precision == "float32" else (config.dtype, torch.float32)
    policy = MixedPrecisionPolicy(param_dtype=half, reduce_dtype=sums, cast_forward_inputs=False)
    everyone = team.mesh["dp", "cp"]._flatten("everyone")
    for block in model.blocks:
        fully_shard(block, mesh=everyone, mp_policy=policy)
    fully_shard(model, mesh=everyone, mp_policy=policy)


def sharded_as(own: Tensor, full: Tensor) -> Tensor:
    """The share of `full` that this process holds of a tensor like `own`, without asking the others."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    if not isinstance(own, DTensor):
        return full
    return distribute_tensor(full.to(own.device), own.device_mesh, own.placements, src_data_rank=None)


def whole(tensor: Tensor) -> Tensor:
    """A parameter, gradient or moment of which this process may hold a share alone; every process has to ask."""
    from torch.distributed.tensor import DTensor

    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
