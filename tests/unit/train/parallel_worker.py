"""One process of the parallel training test, started by torchrun: python -m ... FOLDER CP RECOMPUTE."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch import distributed as dist

from tests.unit.house.source_tree import ROOT
from tests.unit.model.tiny import STRIDE, moving_cameras, noisy_latent, sigmas, stirred, tiny_model
from wmkit.train.parallel import ParallelConfig, Team, joined, spread, whole

B, T, STEPS = 4, 5, 3


def trained(team: Team, config: ParallelConfig) -> dict[str, torch.Tensor]:
    """A few steps of AdamW on the team's share of fixed clips: weights, and every step's loss and gradient norm."""
    model = stirred(tiny_model())
    spread(model, team, config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, foreach=True)
    slots, found = team.slots(B), {}
    shards = team.frames(T)
    mine = slice(0, T) if shards is None else slice(shards.start, shards.start + shards.frames[shards.rank])
    every = moving_cameras(B, 1 + STRIDE * (T - 1))
    rows = slice(slots.start, slots.stop)
    cameras = replace(every, world_from_cam=every.world_from_cam[rows], intrinsics=every.intrinsics[rows])
    for step in range(STEPS):
        latent, want = (noisy_latent(B, T, seed=seed)[rows, mine] for seed in (step, step + 9))
        level = sigmas(B, T)[rows, mine]
        loss = (model(latent, level, cameras, None, None, None, shards) - want).square().sum() / (B * T)
        optimizer.zero_grad()
        (loss * team.size).backward()  # gradients are averaged over the team
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        found |= {f"loss {step}": team.summed(loss), f"norm {step}": whole(norm).detach()}
    return found | {name: whole(value).detach() for name, value in model.state_dict().items()}


def torchrun(module: str, processes: int, *arguments: str) -> None:
    """Run a module's main as so many processes; AssertionError with what they complained of."""
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [*run, "-m", module, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def main(folder: Path, cp: int, recompute: bool) -> None:
    torch.set_num_threads(1)
    config = ParallelConfig(cp=cp, recompute=recompute)
    with joined(config) as team:
        found = trained(team, config)
        torch.save(found, folder / f"rank{team.rank}.pt")
        if team.mesh is not None:
            dist.barrier()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "recompute")
