"""One block of the model on this machine's CPU beside diffusers' block: equal weights, equal inputs, one run.

Each engine runs in a process of its own, so that its memory is its own; one thread. The camera branch shrinks as
diffusers' does (`camera_renorm="rms"`), so both do the same arithmetic, and the report says how far their outputs are
apart. diffusers rounds softmax's q, k and v to bfloat16, which is its own saving and stays in its time.
"""

import gc
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from importlib.util import find_spec
from multiprocessing import get_context
from typing import Any, Literal

import torch
from torch import Tensor

from wmkit.executor.memory import peak_gib, resident_gib
from wmkit.model.config import ModelConfig
from wmkit.model.dit import CameraDiT
from wmkit.model.rays import CameraBatch
from wmkit.model.rope import rope_angles
from wmkit.model.text import TextBatch
from wmkit.model.work import Grid

__all__ = ["BlockCost", "Engine", "compare_blocks"]

Engine = Literal["wmkit", "diffusers"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockCost:
    """Medians over the rounds, CPU milliseconds; peak growth of the process's memory over its inputs, MiB.

    `difference`: largest distance of the output from wmkit's, relative to its largest value; None for wmkit itself.
    """

    engine: Engine
    kind: str
    forward_ms: float
    both_ms: float
    forward_mib: float
    both_mib: float
    difference: float | None = None


def compare_blocks(config: ModelConfig, grid: Grid, rounds: int = 3) -> list[BlockCost]:
    """A GDN and a softmax block, ours and, if it is installed, diffusers'; forward, then forward and backward."""
    engines: tuple[Engine, ...] = ("wmkit", "diffusers") if find_spec("diffusers") else ("wmkit",)
    config = replace(config, camera_renorm="rms", depth=max(config.softmax_every, 1))
    rows = []
    for kind, layer in (("gdn", 0), ("softmax", config.depth - 1)):
        if config.is_softmax(layer) != (kind == "softmax"):
            continue
        outputs: dict[Engine, Tensor] = {}
        for engine in engines:
            job = _Job(engine=engine, config=config, grid=grid, layer=layer, rounds=rounds)
            # A fresh process a measurement: a peak never goes down again.
            forward_ms, forward_mib, outputs[engine] = _elsewhere(job)
            both_ms, both_mib, _ = _elsewhere(replace(job, backward=True))
            difference = None
            if engine != "wmkit":
                difference = ((outputs[engine] - outputs["wmkit"]).abs().max() / outputs["wmkit"].abs().max()).item()
            rows.append(
                BlockCost(
                    engine=engine,
                    kind=kind,
                    forward_ms=forward_ms,
                    both_ms=both_ms,
                    forward_mib=forward_mib,
                    both_mib=both_mib,
                    difference=difference,
                )
            )
    return rows


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    engine: Engine
    config: ModelConfig
    grid: Grid
    layer: int
    rounds: int
    backward: bool = False


def _elsewhere(job: _Job) -> tuple[float, float, Tensor]:
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
        ms, mib, output = pool.submit(_measure, job).result()
    return ms, mib, torch.tensor(output)


def _measure(job: _Job) -> tuple[float, float, list[float]]:
    """Runs in the child: median CPU ms, peak MiB over the inputs, and a sample of the output."""
    torch.set_num_threads(1)
    model = _model(job.config)
    run, leaf = (_ours if job.engine == "wmkit" else _theirs)(model, job)
    del model
    gc.collect()
    before_mib = 1024 * resident_gib()
    times, output = [], torch.zeros(1)
    for _ in range(job.rounds + 1):
        start_s = time.process_time()
        with torch.set_grad_enabled(job.backward):
            output = run()
            if job.backward:
                leaf.grad = None
                output.square().mean().backward()
        times.append(1e3 * (time.process_time() - start_s))
    peak_mib = 1024 * peak_gib()
    sample = output.detach().flatten()[:: max(output.numel() // 4096, 1)]
    return statistics.median(times[1:]), max(peak_mib - before_mib, 0.0), sample.tolist()


def _model(config: ModelConfig) -> CameraDiT:
    """Weights that hide no path behind an initial zero."""
    torch.manual_seed(0)
    model = CameraDiT(config).eval()
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            parameter.data.normal_(std=parameter[0].numel() ** -0.5)
        elif "norm" not in name:
            parameter.data.normal_(std=0.1)
    return model


def _inputs(config: ModelConfig, grid: Grid) -> tuple[Tensor, Tensor, Tensor, TextBatch, CameraBatch]:
    """Tokens (1, T, h, w, C), style (1, T, 6, C), rays (1, T, h, w, C), embedded text, cameras that move 2 m."""
    generator = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> Tensor:
        return torch.randn(1, *shape, generator=generator)

    size = (grid.frames, grid.rows, grid.columns, config.width)
    frames = 1 + config.latent_stride * (grid.frames - 1)
    poses = torch.eye(4).repeat(1, frames, 1, 1)
    poses[0, :, 2, 3] = torch.linspace(0, 2, frames)
    width, height = grid.columns * config.latent_downscale, grid.rows * config.latent_downscale
    row = torch.tensor([0.9 * width, 0.9 * width, width / 2, height / 2])
    cameras = CameraBatch(world_from_cam=poses, intrinsics=row.expand(1, frames, 4).clone(), width=width, height=height)
    text = TextBatch(states=draw(grid.text_tokens, config.width), mask=torch.ones(1, grid.text_tokens).bool())
    return draw(*size), 0.1 * draw(grid.frames, 6, config.width), draw(*size), text, cameras


def _ours(model: CameraDiT, job: _Job) -> tuple[Any, Tensor]:
    x, style, rays, text, cameras = _inputs(job.config, job.grid)
    leaf = x.requires_grad_(job.backward)
    grid = model.grid(torch.empty(1, job.grid.frames, job.config.latent_channels, job.grid.rows, job.grid.columns))
    if job.config.camera_attention is None:
        raise ValueError("the compared block has a camera branch")
    maps = job.config.camera_attention.token_maps(cameras, grid, job.config.head_dim, job.config.rope_theta)
    angles = rope_angles(grid, job.config.head_dim, job.config.rope_theta)
    block = model.blocks[job.layer]
    return (lambda: block(leaf, style, angles, maps, rays, (text.states, text.mask))), leaf


def _theirs(model: CameraDiT, job: _Job) -> tuple[Any, Tensor]:
    """diffusers' block with the same weights, called as its transformer calls it."""
    from diffusers.models.transformers import transformer_sana_wm as theirs

    from wmkit.model.convert import diffusers_config
    from wmkit.model.rays import ray_from_world

    plain = {key: value for key, value in diffusers_config(job.config).items() if not key.startswith("_")}
    oracle = theirs.SanaWMTransformer3DModel(**plain).eval()
    oracle.load_state_dict(model.state_dict())
    x, style, rays, text, cameras = _inputs(job.config, job.grid)
    leaf = x.requires_grad_(job.backward)
    size = (job.grid.frames, job.grid.rows, job.grid.columns)
    rotary = oracle.rope(size)
    grid = model.grid(torch.empty(1, size[0], job.config.latent_channels, *size[1:]))
    d_BN44 = ray_from_world(cameras, grid).flatten(1, 3)
    inverse = theirs._invert_SE3(d_BN44)
    head = job.config.head_dim
    transforms = (d_BN44, d_BN44.mT, inverse, theirs._slice_rope_for_cam(rotary, head, head // 2))
    conditions = torch.zeros(1, size[0], 20)  # the block asks whether there are some, and uses the transforms
    arguments = (text.states[:, None], style.flatten(2)[:, None], text.mask.long(), size, rotary, None, conditions)
    block: Any = oracle.blocks[job.layer]
    return (lambda: block(leaf.flatten(1, 3), *arguments, transforms, rays.flatten(1, 3))), leaf
