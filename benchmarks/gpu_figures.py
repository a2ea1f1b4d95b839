"""Figures of this machine's GPU, one JSON line each: `make gpu`, or

    PYTHONPATH=. python benchmarks/gpu_figures.py [--quick | --dry-run]

Needs torch (2.11 or newer, CUDA), numpy, safetensors and jaxtyping, and Triton where its path is to be timed; diffusers
and fla-core stand beside ours if they are installed. Nothing is estimated: what cannot be measured here is a line with
`"not_measured"` and the reason. Times are medians of CUDA events after two passes that are not timed; memory is torch's
own peak over what lay there before. Shapes are the released model's: 880 tokens a frame, 20 heads of 112 channels.
Every part, and in the op's table every engine, runs in a process of its own with a time limit, all of them together 41
minutes at most: a GPU that one of them left in disorder, or a crash, costs its own figures and is a line.
`--dry-run` runs every line on the CPU with a tiny model: whether the script is whole, no figures.
"""

import argparse
import functools
import gc
import importlib.metadata
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor
from torch.nn import functional as nnf

from benchmarks.gpu_learn import DRY as LEARN_DRY
from benchmarks.gpu_learn import LearnSetup, learn_rows
from benchmarks.gpu_stages import TINY, stage_row
from wmkit.errors import WmkitError
from wmkit.model import CameraBatch, CameraDiT, ModelConfig, TextBatch, preset
from wmkit.model.ops.frame_gdn import Backend, frame_gdn, key_scale
from wmkit.model.rope import rope_angles
from wmkit.model.work import Grid, count_work
from wmkit.train.small_gpu import SMALL_GPU_STAGES

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What runs where: model preset, latent rows and columns, frames of the op's table, of a block, of the model."""

    device: str
    preset: str
    rows: int
    columns: int
    op_frames: tuple[int, ...]
    block_frames: int
    model_frames: tuple[int, ...]

    @property
    def config(self) -> ModelConfig:
        """The model's."""
        return preset(self.preset)

    @property
    def tokens(self) -> int:
        """A frame's."""
        return self.rows * self.columns


SIZE: dict[str, Any] = {"device": "cuda", "preset": "sana-wm-2.6b", "rows": 22, "columns": 40}
FULL = Setup(**SIZE, op_frames=(3, 16, 41, 121), block_frames=121, model_frames=(41, 121))
QUICK = Setup(**SIZE, op_frames=(3, 9), block_frames=9, model_frames=(9,))
DRY = Setup(device="cpu", preset="tiny", rows=2, columns=3, op_frames=(3,), block_frames=3, model_frames=(3,))
# Dense bfloat16 peak by the makers' data sheets, TFLOP/s (SXM where there are two).
PEAK_TFLOPS = {"H100": 989.4, "H200": 989.4, "A100": 312.0, "B200": 2250.0}
FAILURES = (WmkitError, RuntimeError, ImportError, TypeError, ValueError, AssertionError, AttributeError, LookupError,
            OSError, subprocess.SubprocessError)  # fmt: skip
CHECK_FAILED = 3  # a part's exit code; 1 is what Python ends with after an error that nobody caught


def main() -> int:
    """All figures; exit 2 without a GPU, 1 when a gradient check says no or a part was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes: whether the script itself runs")
    parser.add_argument("--dry-run", action="store_true", help="every line on the CPU, no figures")
    parser.add_argument("--part", nargs="*", default=list(PARTS), choices=PARTS, help="some of the parts alone")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)  # the one part, in this process
    options = parser.parse_args()
    setup = DRY if options.dry_run else QUICK if options.quick else FULL
    if setup.device == "cuda" and not torch.cuda.is_available():
        print("error: expected a CUDA GPU, found none; figures of a GPU are measured on one", file=sys.stderr)
        return 2
    if options.here:
        failed = [row for row in PARTS[options.part[0]].rows(setup) if say(**row).get("passes") is False]
        return CHECK_FAILED if failed else 0
    start_s = time.monotonic()
    mode = ["--dry-run"] * options.dry_run + ["--quick"] * options.quick
    limits = {part: None if options.dry_run else PARTS[part].limit_s for part in options.part}
    codes = {part: apart([*mode, "--part", part, "--here"], part, limit_s) for part, limit_s in limits.items()}
    lost = [part for part, code in codes.items() if code not in (0, CHECK_FAILED)]
    failed = [part for part, code in codes.items() if code == CHECK_FAILED]
    say(figure="total", seconds=round(time.monotonic() - start_s, 1), failed_checks=failed, lost_parts=lost)
    return 1 if failed or lost else 0


def apart(arguments: list[str], part: str, limit_s: float | None) -> int | None:
    """This script in a process of its own, whose lines go where ours go: its exit code, None past its time limit."""
    command = [sys.executable, __file__, *arguments]
    paths = os.pathsep.join(
        filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])
    )  # where `benchmarks` and `wmkit` are
    try:
        done = subprocess.run(
            command, stderr=subprocess.PIPE, timeout=limit_s, check=False, env={**os.environ, "PYTHONPATH": paths}
        )
    except subprocess.TimeoutExpired:
        say(figure=part, not_measured=f"the rest of it: stopped after {limit_s} s")
        return None
    complaint = done.stderr.decode(errors="replace")
    sys.stderr.write(complaint)
    if done.returncode not in (0, CHECK_FAILED):
        last = (complaint.strip().splitlines() or ["nothing on stderr"])[-1]
        say(figure=part, not_measured=f"the rest of it: exit code {done.returncode}, {last[:300]}")
    return done.returncode


def say(**row: Any) -> dict[str, Any]:
    """One JSON line; a number that is none is null."""
    plain = {key: None if isinstance(x, float) and not math.isfinite(x) else x for key, x in row.items()}
    print(json.dumps(plain, allow_nan=False), flush=True)
    return row


def machine(setup: Setup) -> Iterator[dict[str, Any]]:
    """What the figures belong to, with the matrix rate this GPU reaches."""
    on_gpu = setup.device == "cuda"
    side = 8192 if on_gpu else 64
    x = torch.randn(side, side, device=setup.device, dtype=torch.bfloat16)
    ms = timed(setup, lambda: x @ x, rounds=10).get("ms")
    name = torch.cuda.get_device_name() if on_gpu else "none"
    packages = {}
    for package in ("triton", "diffusers", "fla-core"):
        try:
            packages[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            packages[package] = None
    yield {
        "figure": "machine",
        "dry_run": not on_gpu,
        "gpu": name,
        "memory_gb": round(torch.cuda.get_device_properties(0).total_memory / 1e9, 1) if on_gpu else None,
        "torch": torch.__version__,
        **packages,
        "matmul_side": side,
        "matmul_bf16_tflops": None if ms is None else round(2 * side**3 / ms / 1e9, 1),
        "peak_bf16_tflops": peak_tflops(name),
    }


def peak_tflops(name: str) -> float | None:
    """The data sheet's, None for a GPU that is not in the table."""
    return next((peak for key, peak in PEAK_TFLOPS.items() if key in name), None)


def timed(setup: Setup, run: Callable[[], object], rounds: int = 5) -> dict[str, Any]:
    """Median milliseconds and the peak GB over what lay on the GPU before; without a GPU it only runs."""
    gc.collect()
    if setup.device == "cpu":
        run()
        return {"ran": True}
    torch.cuda.empty_cache()
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    for _ in range(2):
        run()
    times = []
    for _ in range(rounds):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        run()
        end.record()
        torch.cuda.synchronize()
        times.append(begin.elapsed_time(end))
    peak = torch.cuda.max_memory_allocated() - before
    return {"ms": round(statistics.median(times), 3), "peak_gb": round(peak / 1e9, 3)}


def measured(setup: Setup, run: Callable[[], object], rounds: int, row: dict[str, Any]) -> dict[str, Any]:
    """`row` with its figures, or with why there are none."""
    try:
        return row | timed(setup, run, rounds)
    except failures() as error:
        return row | {"not_measured": told(error)}


def failures() -> tuple[type[Exception], ...]:
    """What an engine may raise; Triton's errors are no RuntimeError. A broken package raises what it likes."""
    try:
        from triton.errors import TritonError  # pyright: ignore[reportMissingImports]
    except FAILURES:
        return FAILURES
    return (*FAILURES, TritonError)


def told(error: Exception) -> str:
    """One line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def gdn_inputs(device: str, shape: tuple[int, int, int, int], dtype: torch.dtype) -> list[Tensor]:
    """q and k turned, q and k plain, v, beta, decay as a block makes them; (1, H, T, S, D) and shorter."""
    heads, frames, tokens, head = shape
    generator = torch.Generator(device).manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(1, heads, frames, *shape, generator=generator, device=device, dtype=torch.float64)

    q, k = draw(tokens, head).relu(), draw(tokens, head).relu() * key_scale(head, tokens)
    turned = [torch.stack([-x[..., 1::2], x[..., 0::2]], dim=-1).flatten(-2) for x in (q, k)]
    gates = [draw(tokens).sigmoid(), draw().sigmoid()]
    return [*(x.to(dtype) for x in (*turned, q, k, draw(tokens, head))), *(x.float() for x in gates)]


def ours(inputs: list[Tensor], backend: Backend) -> Tensor:
    """The op as a block calls it."""
    q_turned, k_turned, q, k, v, beta, decay = inputs
    return frame_gdn((q_turned, k_turned), (q, k), v, beta, decay, backend=backend)


def fast_backends() -> list[Backend]:
    """Every path but the specification."""
    return [name for name in get_args(Backend) if name not in ("auto", "literal")]


def gradient_checks(setup: Setup) -> Iterator[dict[str, Any]]:
    """Every path on this GPU against the equation in float64: value and all gradients, relative to their largest."""
    limits = {torch.float32: 1e-4, torch.bfloat16: 4e-2}  # sums of 64 tokens; eight bits in and eight bits out
    exact = [x.double().requires_grad_() for x in gdn_inputs(setup.device, (2, 5, 64, 32), torch.float64)]
    want = [out := ours(exact, "literal"), *torch.autograd.grad(out.square().sum(), exact)]
    for backend in fast_backends():
        for dtype, limit in limits.items():
            row = {"figure": "gradients", "backend": backend, "dtype": str(dtype)[6:], "limit": limit}
            try:
                leaves = [
                    x.detach().to(dtype if i < 5 else torch.float32).requires_grad_() for i, x in enumerate(exact)
                ]
                got = [out := ours(leaves, backend), *torch.autograd.grad(out.float().square().sum(), leaves)]
                errors = [((a.double() - b).abs().max() / b.abs().max()).item() for a, b in zip(got, want, strict=True)]
                # A NaN is larger than nothing and smaller than nothing: each is asked, and the worst kept by hand.
                worst = max(errors[1:], key=lambda error: math.inf if math.isnan(error) else error)
                passes = all(error < limit for error in errors)
                yield row | {"value": errors[0], "gradient": worst, "passes": passes}
            except failures() as error:
                yield row | {"not_measured": told(error), "passes": None}


def op_table(setup: Setup, engine: str) -> Iterator[dict[str, Any]]:
    """Latency of the op by frames and dtype, by one of the `ENGINES`, all at the same tokens."""
    config, S, way = setup.config, setup.tokens, ENGINES[engine]
    H, D = config.heads, config.head_dim
    size = {"figure": "op", "engine": engine, "S": S, "H": H, "D": D}
    for frames in setup.op_frames:
        for dtype in (torch.bfloat16, torch.float32):
            for backward in (False, True):
                row = size | {"T": frames, "dtype": str(dtype)[6:], "backward": backward}
                # The other libraries' makers are asked inside `measured`: their absence is a line, too.
                inputs = [x.requires_grad_(backward) for x in gdn_inputs(setup.device, (H, frames, S, D), dtype)]
                rounds = 3 if engine == "sdpa" and frames > 41 else 5
                yield measured(setup, passes(way, inputs, backward), rounds, row)
                del inputs


def passes(way: Callable[[list[Tensor]], Tensor], inputs: list[Tensor], backward: bool) -> Callable[[], object]:
    """Forward, or forward and backward."""

    def run() -> object:
        with torch.set_grad_enabled(backward):
            out = way(inputs)
        if backward:
            out.float().square().mean().backward()
            for leaf in inputs:
                leaf.grad = None
        return None

    return run


def diffusers_gdn(inputs: list[Tensor]) -> Tensor:
    """Its bidirectional recurrence; it scales keys itself and takes unturned ones, which costs it the same."""
    from diffusers.models.transformers.transformer_sana_wm import SanaWMBidirectionalGDNAttention

    _, _, q, k, v, beta, decay = inputs
    tokens = [x.permute(0, 2, 3, 1, 4).flatten(1, 2) for x in (q, k, v)]
    return SanaWMBidirectionalGDNAttention(eps=1e-8)(*tokens, beta, decay, torch.zeros(1, device=q.device), q.shape[2])


def fla_gdn(inputs: list[Tensor]) -> Tensor:
    """Another rule, token after token and in one direction, at the same number of tokens: an upper reference."""
    from fla.ops.gated_delta_rule import chunk_gated_delta_rule

    _, _, q, k, v, beta, decay = inputs
    tokens = [x.permute(0, 2, 3, 1, 4).flatten(1, 2).contiguous() for x in (q, k, v)]
    write = beta.permute(0, 2, 3, 1).flatten(1, 2).contiguous().to(q.dtype)
    forget = decay.log().permute(0, 2, 1).repeat_interleave(q.shape[3], dim=1).contiguous() / q.shape[3]
    return chunk_gated_delta_rule(*tokens, forget, write, scale=1.0)[0]


def sdpa(inputs: list[Tensor]) -> Tensor:
    """Softmax attention over the same tokens."""
    _, _, q, k, v, _, _ = inputs
    return nnf.scaled_dot_product_attention(*(x.flatten(2, 3) for x in (q, k, v)))


def random_model(setup: Setup) -> CameraDiT:
    """Random bfloat16 parameters, made where they are used."""
    with torch.device("meta"):
        model = CameraDiT(setup.config)
    model = model.to(torch.bfloat16).to_empty(device=setup.device).eval()
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.normal_(std=0.02)
    return model


def clip_inputs(setup: Setup, frames: int) -> tuple[Tensor, Tensor, CameraBatch, TextBatch]:
    """One clip's latent, noise levels, cameras that walk 24 m, and 300 text tokens."""
    config, device = setup.config, setup.device
    assert config.text is not None
    video_frames = 1 + config.latent_stride * (frames - 1)
    poses = torch.eye(4).repeat(1, video_frames, 1, 1)
    poses[0, :, 2, 3] = torch.linspace(0, 24, video_frames)
    width, height = setup.columns * config.latent_downscale, setup.rows * config.latent_downscale
    row = torch.tensor([0.7 * width, 0.7 * width, width / 2, height / 2]).expand(1, video_frames, 4).clone()
    cameras = CameraBatch(world_from_cam=poses, intrinsics=row, width=width, height=height).to(device)
    sigma = torch.full((1, frames), 0.7, device=device)
    sigma[:, 0] = 0
    text = TextBatch(
        states=torch.randn(1, 300, config.text.channels, device=device, dtype=torch.bfloat16),
        mask=torch.ones(1, 300, device=device, dtype=torch.bool),
    )
    latent = torch.randn(1, frames, config.latent_channels, setup.rows, setup.columns, device=device)
    return latent.bfloat16(), sigma, cameras, text


def blocks(setup: Setup) -> Iterator[dict[str, Any]]:
    """A GDN and a softmax block of the released size, forward, and forward with backward."""
    frames = setup.block_frames
    model = random_model(setup)
    latent, _, cameras, _ = clip_inputs(setup, frames)
    grid, config, width = model.grid(latent), model.config, model.config.width
    generator = torch.Generator(setup.device).manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(1, *shape, generator=generator, device=setup.device, dtype=torch.bfloat16)

    angles = rope_angles(grid, config.head_dim, config.rope_theta).to(setup.device)
    assert config.camera_attention is not None
    maps = config.camera_attention.token_maps(cameras, grid, config.head_dim, config.rope_theta)
    size = (frames, setup.rows, setup.columns, width)
    style, rays, words = draw(frames, 6, width), draw(*size), draw(300, width)
    caption = words, torch.ones(1, 300, dtype=torch.bool, device=setup.device)
    for kind, layer in (("gdn", 0), ("softmax", config.softmax_every - 1)):
        block = model.blocks[layer]
        for backward in (False, True):
            inputs = [draw(*size).requires_grad_(backward)]
            way = lambda given, block=block: block(given[0], style, angles, maps, rays, caption)
            row = {"figure": "block", "kind": kind, "T": frames, "tokens": frames * setup.tokens, "dtype": "bfloat16"}
            yield measured(setup, passes(way, inputs, backward), 3, row | {"backward": backward})
            model.zero_grad(set_to_none=True)


def whole_model(setup: Setup) -> Iterator[dict[str, Any]]:
    """The forward pass of the whole model: milliseconds, peak GB with weights, its share of the GPU's bfloat16 peak."""
    peak = peak_tflops(torch.cuda.get_device_name()) if setup.device == "cuda" else None
    for frames in setup.model_frames:
        model = random_model(setup)
        inputs = clip_inputs(setup, frames)
        held_gb = torch.cuda.memory_allocated() / 1e9 if setup.device == "cuda" else 0.0
        grid = Grid(frames=frames, rows=setup.rows, columns=setup.columns)
        pflop = sum(part.flop for part in count_work(model.config, grid)) / 1e15

        @torch.no_grad()
        def run(model: CameraDiT = model, inputs: tuple[Any, ...] = inputs) -> object:
            return model(*inputs)

        row = {"figure": f"forward {setup.preset}", "T": frames, "tokens": grid.tokens, "dtype": "bfloat16"}
        row = measured(setup, run, 3, row | {"pflop": pflop})
        if "ms" in row:
            tflops = 1e6 * pflop / row["ms"]
            row |= {"tflops": round(tflops, 1), "peak_gb_with_weights": round(row["peak_gb"] + held_gb, 2)}
            row["percent_of_bf16_peak"] = None if peak is None else round(100 * tflops / peak, 1)
        yield row
        del model, inputs, run


def learn(setup: Setup) -> Iterator[dict[str, Any]]:
    """A small model trained and sampled; `gpu_learn.py judge` says elsewhere whether it goes where it was told."""
    if setup.device == "cpu":
        with tempfile.TemporaryDirectory(prefix="wmkit-gpu-learn-") as folder:
            yield from learn_rows(LEARN_DRY, Path(folder))
        return
    quick = LearnSetup(train_s=20.0, clips=32)
    yield from learn_rows(quick if setup is QUICK else LearnSetup(), Path("gpu-learn"))


def stage(setup: Setup, name: str) -> Iterator[dict[str, Any]]:
    """One training step of a stage; that it does not run fails the command, and no other stage."""
    row = {"figure": "stage", "recipe": name}
    try:
        yield row | stage_row(name, setup.device, TINY if setup.device == "cpu" else ()) | {"passes": True}
    except failures() as error:
        yield row | {"not_measured": told(error), "passes": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Rows that belong together, made in one process of at most `limit_s` seconds."""

    rows: Callable[[Setup], Iterator[dict[str, Any]]]
    limit_s: float


ENGINES: dict[str, Callable[[list[Tensor]], Tensor]] = {
    **{f"wmkit {backend}": functools.partial(ours, backend=backend) for backend in fast_backends()},
    "diffusers torch": diffusers_gdn,
    "fla chunk_gated_delta_rule": fla_gdn,
    "sdpa": sdpa,
}
PARTS: dict[str, Part] = {
    "machine": Part(rows=machine, limit_s=60),
    "gradients": Part(rows=gradient_checks, limit_s=180),
    **{
        f"op {engine}": Part(rows=functools.partial(op_table, engine=engine), limit_s=120 if engine == "sdpa" else 80)
        for engine in ENGINES
    },
    "block": Part(rows=blocks, limit_s=140),
    "forward": Part(rows=whole_model, limit_s=300),
    **{f"stage {name}": Part(rows=functools.partial(stage, name=name), limit_s=60) for name in SMALL_GPU_STAGES},
    "learn": Part(rows=learn, limit_s=720),
}


if __name__ == "__main__":
    sys.exit(main())
