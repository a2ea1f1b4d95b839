"""One rank of the model's context-parallel test: python -m ... RANK RANKS FOLDER; writes its part of everything."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed as dist

from tests.unit.model.tiny import STRIDE, moving_cameras, noisy_latent, sigmas, stirred, tiny_model
from wmkit.errors import ConfigError
from wmkit.model import CameraDiT
from wmkit.model.config import TextConfig
from wmkit.model.ops.frame_exchange import with_neighbours
from wmkit.model.ops.frame_gdn import ChunkLayout
from wmkit.model.ops.frame_gdn.context_parallel import FrameShards
from wmkit.model.text import TextBatch

B, T = 2, 8
FRAMES = {2: (5, 3), 3: (4, 1, 3)}  # unequal, and one that is shorter than the convolution over time


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is asked of the model besides whole clips."""

    layout: ChunkLayout | None = None
    padded: bool = False
    changes: dict[str, Any] = field(default_factory=dict)


CASES = {
    "whole": Case(),
    "recurrent": Case(changes={"softmax_every": 0}),
    "softmax": Case(changes={"softmax_every": 1}),
    "chunks": Case(layout=ChunkLayout(frames=(3, 3, 2))),
    "causal": Case(layout=ChunkLayout.causal(T)),
    "padded": Case(padded=True),
    "padded chunks": Case(padded=True, layout=ChunkLayout(frames=(4, 4))),
    "released": Case(changes={"compat": "sana-wm", "camera_renorm": "rms", "text": TextConfig(channels=8, tokens=5)}),
}


def parts_of(case: Case, mine: slice, shards: FrameShards | None) -> dict[str, torch.Tensor]:
    """Output, the latent's gradient, and every parameter's, of the frames `mine`."""
    model: CameraDiT = stirred(tiny_model(**case.changes))
    latent = noisy_latent(B, T)[:, mine].clone().requires_grad_()
    weight = noisy_latent(B, T, seed=9)
    text = None
    if "text" in case.changes:
        states = torch.randn(B, 5, 8, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
        text = TextBatch(states=states, mask=torch.ones(B, 5, dtype=torch.bool))
    valid = None
    if case.padded:
        valid = torch.ones(B, T, dtype=torch.bool)
        valid[1, T - 2 :] = False
        weight = weight * valid[:, :, None, None, None]  # what padding comes out as means nothing
        valid = valid[:, mine]
    cameras = moving_cameras(B, 1 + STRIDE * (T - 1))
    out = model(latent, sigmas(B, T)[:, mine], cameras, text, valid, case.layout, shards)
    (out * weight[:, mine]).sum().backward()
    assert latent.grad is not None
    grads = {f"of {name}": p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {"out": out.detach(), "latent": latent.grad, **grads}


def main(rank: int, ranks: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meet'}", rank=rank, world_size=ranks)
    shards = FrameShards(frames=FRAMES[ranks])
    mine = slice(shards.start, shards.start + shards.frames[rank])
    found = {name: parts_of(case, mine, shards) for name, case in CASES.items()}
    number = torch.arange(T, dtype=torch.float64)[None, mine, None]
    joined, before = with_neighbours(number, shards, 3)
    assert before == min(3, shards.start)
    assert joined[0, :, 0].tolist() == list(range(shards.start - before, min(mine.stop + 3, T)))
    with pytest.raises(ConfigError, match="expected mixer frame-gdn, got linear"):
        parts_of(Case(changes={"mixer": "linear"}), mine, shards)
    with pytest.raises(ConfigError, match=f"expected {shards.frames[rank]} latent frames on rank {rank}, got 8"):
        parts_of(Case(), slice(0, T), shards)
    torch.save(found, folder / f"rank{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
