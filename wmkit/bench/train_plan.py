"""`wmkit train --dry-run`: what a training would take, by arithmetic. Nothing is loaded, timed or measured.

Work is counted from the operators that run (`model_work`): a step is 3 forward passes (one forward, two backward) and
one more where blocks are computed again in the backward pass. Its time follows from a peak and a share of it that
are assumed and printed; the published run is the anchor: SANA-WM's minute-long stage takes 22.3 s a step on 64 H100,
10.5 % of their peak without the recomputed pass (31,000 steps in about 8 days, arXiv 2605.15178, Table 7).

Memory is a sum of named parts, each a formula on tokens and channels; what an allocator adds is not in it.
"""

from dataclasses import asdict, dataclass
from typing import Literal

from wmkit.bench.model_work import Grid, count_work
from wmkit.bench.table import aligned
from wmkit.errors import ConfigError
from wmkit.model.config import ModelConfig
from wmkit.model.presets import preset
from wmkit.train.config import TrainConfig

__all__ = ["PlanOptions", "TrainPlan", "plan_preset", "plan_recipe", "plan_training"]

PEAK_TFLOPS = {"h100": 989.0, "h200": 989.0, "a100": 312.0}  # dense bf16, by NVIDIA's data sheets
MEMORY_GB = {"h100": 80.0, "h200": 141.0, "a100": 80.0}
PUBLISHED_MFU, GOOD_MFU = 0.105, 0.4
PASSES, RECOMPUTED = 3, 1
STATE_BYTES = 16  # a parameter in fp32, its gradient and AdamW's two moments
MLP_TENSORS, WIDE_TENSORS = 4, 9  # alive at once in a block that is computed again: of the gated MLP, and in fp32


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions:
    """The machine. `context` GPUs share one clip's frames; `batch` clips a step, over all GPUs."""

    gpus: int = 1
    context: int = 1
    batch: int = 1
    gpu: Literal["h100", "h200", "a100"] = "h100"

    def __post_init__(self) -> None:
        if min(self.gpus, self.context, self.batch) < 1 or self.gpus % self.context:
            raise ConfigError(
                f"plan: expected positive numbers and gpus a multiple of cp, got {self.gpus} GPUs, cp {self.context}, "
                f"batch {self.batch}"
            )
        if self.batch * self.context < self.gpus:
            raise ConfigError(
                f"plan: expected work for every GPU, got {self.batch} clips of {self.context} GPUs each on "
                f"{self.gpus}; raise --batch or --cp"
            )

    @property
    def clips_at_once(self) -> int:
        """Clips in work at one time; the rest of a step's follow (gradient accumulation)."""
        return self.gpus // self.context


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainPlan:
    """The figures: work in PFLOP, memory by part in GB (10^9 bytes) a GPU, seconds a step by assumed share of peak."""

    what: str
    options: PlanOptions
    grid: Grid
    parameters: int
    forward_pflop: float
    step_pflop: float
    memory_gb: dict[str, float]
    step_s: dict[str, float]
    checkpoint_gb: float

    @property
    def peak_gb(self) -> float:
        """All parts at once."""
        return sum(self.memory_gb.values())

    @property
    def fits(self) -> bool:
        """Whether the parts leave a fifth of the GPU free for what is not counted."""
        return self.peak_gb < 0.8 * MEMORY_GB[self.options.gpu]

    def to_json(self) -> dict[str, object]:
        """Plain JSON values; the keys are frozen by a test."""
        return {**asdict(self), "peak_gb": self.peak_gb, "fits": self.fits}

    def lines(self) -> list[str]:
        """For people; the assumptions stand last."""
        options, grid = self.options, self.grid
        rows = [(name, f"{value:.2f}") for name, value in self.memory_gb.items()]
        rows.append(("all", f"{self.peak_gb:.2f}"))
        room = "leaves a fifth free" if self.fits else "does not leave a fifth free: raise --cp or --gpus"
        return [
            f"{self.what}: {self.parameters / 1e6:.1f} million parameters, clips of {grid.frames} x {grid.rows} x "
            f"{grid.columns} tokens",
            f"{options.gpus} {options.gpu.upper()}, {options.clips_at_once} clips at once over {options.context} GPUs "
            f"each, {options.batch} a step",
            f"work: {self.forward_pflop:.4g} PFLOP forward a clip, {self.step_pflop:.4g} PFLOP a step",
            *aligned([("memory a GPU", "GB"), *rows], left=1),
            f"of {MEMORY_GB[options.gpu]:g} GB: {room}",
            *(f"step at {name} of peak: {seconds:.3g} s" for name, seconds in self.step_s.items()),
            f"checkpoint: {self.checkpoint_gb:.2f} GB",
            f"assumed: {PEAK_TFLOPS[options.gpu]:g} TFLOP/s dense bf16 a GPU; FSDP2 over all GPUs with bf16 parameters "
            "kept gathered, fp32 state; every block computed again in the backward pass, attention not materialised; "
            "time for data, communication and checkpoints is within the share of peak; nothing here was measured",
        ]


def plan_preset(name: str, options: PlanOptions, grid: Grid | None = None) -> TrainPlan:
    """A named model on minute-long 720p clips, 121 x 22 x 40 tokens, unless `grid` says otherwise."""
    return plan_training(name, preset(name), grid or Grid(frames=121, rows=22, columns=40), options)


def plan_recipe(config: TrainConfig, options: PlanOptions) -> TrainPlan:
    """A recipe on clips of its own size."""
    data, model = config.data, config.model
    grid = Grid(
        frames=config.codec.latent_frames(data.frames),
        rows=data.height // model.latent_downscale,
        columns=data.width // model.latent_downscale,
        text_tokens=model.text.tokens if model.text else 1,
    )
    return plan_training(config.recipe, model, grid, options)


def plan_training(what: str, config: ModelConfig, grid: Grid, options: PlanOptions) -> TrainPlan:
    """The plan of any model and clip; ConfigError where a clip has fewer latent frames than GPUs to share it."""
    if grid.frames < options.context:
        raise ConfigError(f"plan: expected at least {options.context} latent frames for cp, got {grid.frames}")
    work = count_work(config, grid)
    parameters, forward = sum(row.parameters for row in work), sum(row.flop for row in work)
    step = forward * (PASSES + RECOMPUTED) * options.batch
    useful = forward * PASSES * options.batch
    tokens = -(-grid.frames // options.context) * grid.rows * grid.columns
    rate = options.gpus * PEAK_TFLOPS[options.gpu] * 1e12
    memory = {
        "parameters, gradients and moments, sharded": STATE_BYTES * parameters / options.gpus,
        "parameters in bf16, gathered": 2.0 * parameters,
        "inputs of all blocks": 2.0 * tokens * config.width * config.depth,
        "one block's MLP": 2.0 * tokens * 2 * config.hidden * MLP_TENSORS,
        "one block's attention in fp32": 4.0 * tokens * config.width * WIDE_TENSORS,
    }
    return TrainPlan(
        what=what,
        options=options,
        grid=grid,
        parameters=parameters,
        forward_pflop=forward / 1e15,
        step_pflop=step / 1e15,
        memory_gb={name: value / 1e9 for name, value in memory.items()},
        step_s={f"{share:.1%}": useful / (share * rate) for share in (PUBLISHED_MFU, GOOD_MFU)},
        checkpoint_gb=12.0 * parameters / 1e9,
    )
