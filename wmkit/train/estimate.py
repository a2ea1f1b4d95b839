"""What a run would take on so many GPUs: memory and time of a step, by counting; nothing is trained or allocated.

Counted: parameters, operations and what autograd keeps, on the meta device (`wmkit.model.work`). Assumed, and printed:
the machine's peak and links, and two shares of the peak that passes may reach; SANA-WM's minute-long stage reached the
lower one (22.3 s a step on 64 H100, 31,000 steps in about 8 days, arXiv 2605.15178, Table 7). Not counted: the VAE or
text encoder, where latents are not computed before, the allocator's slack, what torch itself holds (1 to 2 GB).
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

from wmkit.errors import ConfigError
from wmkit.model.config import ModelConfig
from wmkit.model.presets import preset
from wmkit.model.work import Grid, count_kept, count_work
from wmkit.train.config import ParallelConfig, TrainConfig
from wmkit.train.parallel import share

__all__ = ["GPUS", "Gpu", "StepEstimate", "estimate_preset", "estimate_recipe", "recipe_grid"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A data sheet: memory in 10^9 bytes, dense peaks of half and TF32 products in 10^12 a second, links.

    near_gb_s  10^9 bytes a second each way between the GPUs of one machine, of which there are 8.
    far_gb_s   likewise between machines, by a GPU's own network card.
    """

    name: str
    memory_gb: float
    half_tflop_s: float
    tf32_tflop_s: float
    near_gb_s: float
    far_gb_s: float


GPUS = {
    gpu.name: gpu
    for gpu in (
        Gpu(name="h100", memory_gb=80, half_tflop_s=989, tf32_tflop_s=494, near_gb_s=450, far_gb_s=50),
        Gpu(name="h200", memory_gb=141, half_tflop_s=989, tf32_tflop_s=494, near_gb_s=450, far_gb_s=50),
        Gpu(name="a100", memory_gb=80, half_tflop_s=312, tf32_tflop_s=156, near_gb_s=300, far_gb_s=25),
    )
}
MACHINE, USABLE = 8, 0.9  # GPUs; of the memory
PUBLISHED, GOOD = 0.105, 0.4  # shares of the peak that passes reach, those computed again not counted
MINUTE = Grid(frames=121, rows=22, columns=40)  # of 720p, in the released VAE's latents


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEstimate:
    """One step of a run on `gpus` GPUs, dp groups of cp; memory and time are of the busiest GPU.

    pflop        of the whole step, passes that are computed again included.
    states_gb    its share of parameters, gradients, moments and running mean, float32.
    gathered_gb  two blocks' parameters whole.
    kept_gb      what its clips keep for the gradients.
    compute_s    of the passes at the better share of the peak, and at the published one; network_s: parameters
                 gathered, gradients and keys exchanged.
    spreads      whether `wmkit train` can do it: a stage that learns of another model runs on one process so far.
    """

    gpu: Gpu
    gpus: int
    dp: int
    cp: int
    parameters: int
    clips: int
    latent_frames: int
    tokens: int
    pflop: float
    states_gb: float
    gathered_gb: float
    kept_gb: float
    compute_s: float
    published_s: float
    network_s: float
    steps: int
    spreads: bool

    @property
    def memory_gb(self) -> float:
        """All of it."""
        return self.states_gb + self.gathered_gb + self.kept_gb

    @property
    def fits(self) -> bool:
        """In nine tenths of the GPU's memory."""
        return self.memory_gb <= USABLE * self.gpu.memory_gb

    @property
    def step_s(self) -> float:
        """Passes and network side by side."""
        return max(self.compute_s, self.network_s)

    def to_json(self) -> dict[str, Any]:
        """Plain values; the keys are frozen by a test."""
        told = {"memory_gb": self.memory_gb, "fits": self.fits, "step_s": self.step_s}
        return {**asdict(self), **told}

    def lines(self) -> list[str]:
        """For people; the last line says whether it fits, or what would help."""
        hours = self.steps * self.step_s / 3600
        lines = [
            f"{self.parameters / 1e6:.1f} M parameters on {self.gpus} x {self.gpu.name}: {self.dp} groups of {self.cp}",
            f"a step: {self.clips} clips of {self.tokens} tokens ({self.latent_frames} latent frames), "
            f"{self.pflop:.3g} PFLOP",
            f"memory of the busiest GPU: {self.memory_gb:.1f} GB: parameters, gradients, moments {self.states_gb:.1f}, "
            f"blocks gathered {self.gathered_gb:.1f}, kept for gradients {self.kept_gb:.1f}",
            f"time of a step: {self.step_s:.2f} s at {GOOD:.0%} of the peak (passes {self.compute_s:.2f}, network "
            f"{self.network_s:.2f}, side by side), {max(self.published_s, self.network_s):.2f} s at the published "
            f"{PUBLISHED:.1%}; {self.steps} steps at {GOOD:.0%}: {hours:.1f} h, {hours * self.gpus:.0f} GPU-hours",
            f"assumed: a peak of {self.gpu.half_tflop_s:g} TFLOP/s (half) or "
            f"{self.gpu.tf32_tflop_s:g} (TF32), {self.gpu.near_gb_s:g} GB/s in machines of {MACHINE}, "
            f"{self.gpu.far_gb_s:g} between them; latents and text computed before",
        ]
        if not self.spreads:
            lines.append("so far `wmkit train` runs this stage on one process alone: these figures are a plan")
        limit = f"{USABLE:.0%} of {self.gpu.memory_gb:g} GB"
        helps = "parallel.recompute=true, a higher parallel.cp, more GPUs or a smaller data.batch_size"
        return [*lines, f"fits into {limit}" if self.fits else f"does not fit into {limit}; {helps} would help"]


def estimate_recipe(config: TrainConfig, gpus: int, gpu: str = "h100") -> StepEstimate:
    """A recipe on clips of its own size; ConfigError for an unknown GPU, and where the run would refuse that many."""
    return _estimate(config, config.model, recipe_grid(config), gpus, gpu)


def recipe_grid(config: TrainConfig) -> Grid:
    """Latent frames, rows, columns and text tokens of one of a run's clips."""
    data = config.data
    return Grid(
        frames=1 + (data.frames - 1) // config.model.latent_stride,
        rows=data.height // config.model.latent_downscale,
        columns=data.width // config.model.latent_downscale,
        text_tokens=0 if config.model.text is None else config.model.text.tokens,
    )


def estimate_preset(name: str, config: TrainConfig, gpus: int, gpu: str = "h100") -> StepEstimate:
    """A released model on minute-long clips of 720p; batch, steps and how it is spread are the recipe's."""
    return _estimate(config, preset(name), MINUTE, gpus, gpu)


def _estimate(config: TrainConfig, model: ModelConfig, grid: Grid, gpus: int, gpu: str) -> StepEstimate:
    if gpu not in GPUS:
        raise ConfigError(f"--gpu: expected one of {', '.join(GPUS)}, got {gpu}")
    parallel, batch, frames, machine = config.parallel, config.data.batch_size, grid.frames, GPUS[gpu]
    cp = parallel.cp
    if gpus < 1 or gpus % cp or gpus // cp > batch or cp > frames:
        raise ConfigError(
            f"--gpus: expected a multiple of parallel.cp ({cp}, at most {frames}), at most {batch} times as many "
            f"(data.batch_size), got {gpus}"
        )
    work = count_work(model, grid)
    parameters, flop = sum(row.parameters for row in work), sum(row.flop for row in work)
    clips = max(len(share(batch, gpus // cp, group)) for group in range(gpus // cp))
    wide = parallel.dtype.itemsize
    held = replace(grid, frames=-(-frames // cp))
    keys = _gathered_keys(model, grid, wide) if cp > 1 else 0.0
    block = sum(row.parameters for row in work if row.part.startswith("block")) / model.depth
    again = 4 if parallel.recompute else 3  # forward, twice as much backward, and forward once more
    rate = (machine.half_tflop_s if wide == 2 else machine.tf32_tflop_s) * 1e12
    besides, others = _of_other_models(config, again)
    passes_s = flop * clips * held.frames / frames / rate
    sent = (2 * wide + 4) * parameters * (gpus - 1) / gpus + 3 * clips * keys * (cp - 1) / cp
    return StepEstimate(
        gpu=machine,
        gpus=gpus,
        dp=gpus // cp,
        cp=cp,
        parameters=parameters,
        clips=batch,
        latent_frames=frames,
        tokens=grid.tokens,
        pflop=(again + besides) * flop * batch / 1e15,
        states_gb=parameters * (16 + others + (4 if config.optimizer.ema_decay else 0)) / gpus / 1e9,
        gathered_gb=2 * wide * block / 1e9,
        kept_gb=clips * (_kept(model, held, parallel) + keys) / 1e9,
        compute_s=passes_s * (again + besides) / GOOD,
        published_s=passes_s * (3 + besides) / PUBLISHED,
        network_s=sent / 1e9 / (machine.near_gb_s if gpus <= MACHINE else machine.far_gb_s),
        steps=config.steps,
        spreads=gpus == 1 or not others,
    )


def _of_other_models(config: TrainConfig, again: int) -> tuple[float, float]:
    """What a stage that learns of other models does besides: forward passes a step, and bytes a parameter.

    A frozen model is its weights alone, a critic has all that the model has. Roll-outs end at any of their steps, so
    half of those before the last are counted; what a chunk reads of the past is counted as if it saw the whole clip.
    """
    if config.distill is not None:
        return config.distill.teacher_steps, 4
    if config.refine is not None:
        return config.refine.stage1_steps, 4
    if config.dmd is not None:
        dmd = config.dmd
        scores = 2 + bool(dmd.guidance)
        rolled = (dmd.student_steps - 1) / 2 + 2  # up to the step that counts, that step, and once more clean
        turn = again - 1 + scores  # of the student: backward through that step, and what the scores say
        return rolled + turn / dmd.every, 20  # the critic's own pass stands for the model's
    return 0, 0


def _kept(model: ModelConfig, held: Grid, parallel: ParallelConfig) -> float:
    """Bytes that one clip keeps on one GPU; a block that is computed again is there once."""
    kept = count_kept(model, held, parallel.dtype)
    if parallel.recompute:
        return kept.elsewhere + len(kept.blocks) * kept.inputs + max(kept.blocks)
    return kept.elsewhere + sum(kept.blocks)


def _gathered_keys(model: ModelConfig, grid: Grid, wide: int) -> float:
    """Bytes of the whole clip's keys and values, which softmax blocks of a shared clip gather."""
    layers = sum(model.is_softmax(layer) for layer in range(model.depth))
    return 2.0 * layers * grid.tokens * model.width * wide
