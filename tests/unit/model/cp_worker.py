"""One rank of the context-parallel test: python cp_worker.py RANK RANKS FOLDER; writes its part of everything."""

import sys
from pathlib import Path

import pytest
import torch
from torch import distributed as dist

from tests.unit.model.gdn_inputs import gdn_inputs
from wmkit.errors import ConfigError
from wmkit.model.ops.frame_gdn import ChunkLayout
from wmkit.model.ops.frame_gdn.context_parallel import FrameShards, parallel_frame_gdn, parallel_read

SIZE = (2, 2, 9, 3, 4, 5)
# Frames of each rank by number of ranks, unequal; chunks whose borders lie on, before and after the ranks'.
FRAMES = {1: (9,), 2: (5, 4), 3: (4, 1, 4)}
LAYOUTS = {
    "whole": ChunkLayout.whole(9),
    "released": ChunkLayout.first_plus_one(9),
    "across": ChunkLayout(frames=(2, 7)),
    "causal": ChunkLayout.causal(9),
}


def weights(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """What the test weighs outputs with: the whole clip's, so that every rank cuts its frames out."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def main(rank: int, ranks: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meet'}", rank=rank, world_size=ranks)
    shards = FrameShards(frames=FRAMES[ranks])
    start = sum(shards.frames[:rank])
    mine = slice(start, start + shards.frames[rank])
    found: dict[str, torch.Tensor] = {}
    for name, layout in LAYOUTS.items():
        for backend in ("scan", "block"):
            inputs = [x.detach()[:, :, mine].clone().requires_grad_() for x in gdn_inputs(SIZE)[:7]]
            q_rot, k_rot, q, k, v, beta, decay = inputs
            out = parallel_frame_gdn((q_rot, k_rot), (q, k), v, (beta, decay), shards, layout=layout, backend=backend)
            read = parallel_read((q_rot, k_rot), v, (beta, decay), shards, layout=layout, backend=backend)
            whole = (*SIZE[:4], SIZE[5])
            loss = (out * weights(whole, 1)[:, :, mine]).sum() + (read * weights(whole, 2)[:, :, mine]).sum()
            grads = torch.autograd.grad(loss, inputs)
            parts = (out, read, *grads)
            found |= {f"{name} {backend} {index}": part.detach().clone() for index, part in enumerate(parts)}
    with pytest.raises(ConfigError, match=f"expected {ranks} counts of at least one frame"):
        FrameShards(frames=(9,) * (ranks + 1))
    with pytest.raises(ConfigError, match="expected chunks of 9 frames, got 8"):
        shards.ends(ChunkLayout.whole(8))
    torch.save(found, folder / f"rank{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
