"""What a run would take on so many GPUs: memory and time of a step, by counting; nothing is trained or allocated.

Counted: parameters, operations and what autograd keeps, on the meta device (`wmkit.model.work`). Assumed, and printed:
the machine's peak and links, and the share of the peak that is reached. Not counted: the VAE or text encoder, where
latents are not computed before, the allocator's slack, and what torch itself holds (1 to 2 GB).
"""

from dataclasses import asdict, dataclass
from typing import Any

from wmkit.errors import ConfigError
from wmkit.model.work import Grid, count_kept, count_work
from wmkit.train.config import TrainConfig
from wmkit.train.parallel import share

__all__ = ["GPUS", "Gpu", "StepEstimate", "estimate_step"]


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
MACHINE, REACHED, USABLE = 8, 0.35, 0.9  # GPUs; of the peak; of the memory


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEstimate:
    """One step of a run on `gpus` GPUs, dp groups of cp; memory and time are of the busiest GPU.

    pflop        of the whole step, passes that are computed again included.
    states_gb    its share of parameters, gradients, moments and running mean, float32.
    gathered_gb  two blocks' parameters whole.
    kept_gb      what its clips keep for the gradients.
    compute_s    at the assumed share of the peak; network_s: parameters gathered, gradients and keys exchanged.
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
    network_s: float
    steps: int

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
        told = {"memory_gb": self.memory_gb, "fits": self.fits, "step_s": self.step_s, "reached": REACHED}
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
            f"time of a step: {self.step_s:.2f} s (passes {self.compute_s:.2f}, network {self.network_s:.2f}, side by "
            f"side); {self.steps} steps {hours:.1f} h, {hours * self.gpus:.0f} GPU-hours",
            f"assumed: {REACHED:.0%} of the peak of {self.gpu.half_tflop_s:g} TFLOP/s (half) or "
            f"{self.gpu.tf32_tflop_s:g} (TF32), {self.gpu.near_gb_s:g} GB/s in machines of {MACHINE}, "
            f"{self.gpu.far_gb_s:g} between them; latents and text computed before",
        ]
        limit = f"{USABLE:.0%} of {self.gpu.memory_gb:g} GB"
        helps = "parallel.recompute=true, a higher parallel.cp, more GPUs or a smaller data.batch_size"
        return [*lines, f"fits into {limit}" if self.fits else f"does not fit into {limit}; {helps} would help"]


def estimate_step(config: TrainConfig, gpus: int, gpu: str = "h100") -> StepEstimate:
    """Counts and arithmetic; ConfigError for an unknown GPU, and where the run would refuse that many."""
    if gpu not in GPUS:
        raise ConfigError(f"--gpu: expected one of {', '.join(GPUS)}, got {gpu}")
    cp, data, machine = config.parallel.cp, config.data, GPUS[gpu]
    frames = 1 + (data.frames - 1) // config.codec.stride
    if gpus < 1 or gpus % cp or gpus // cp > data.batch_size or cp > frames:
        raise ConfigError(
            f"--gpus: expected a multiple of parallel.cp ({cp}, at most {frames}), at most {data.batch_size} times as "
            f"many (data.batch_size), got {gpus}"
        )
    grid = Grid(
        frames=frames,
        rows=data.height // config.codec.downscale,
        columns=data.width // config.codec.downscale,
        text_tokens=0 if config.model.text is None else config.model.text.tokens,
    )
    work = count_work(config.model, grid)
    parameters, flop = sum(row.parameters for row in work), sum(row.flop for row in work)
    clips = max(len(share(data.batch_size, gpus // cp, group)) for group in range(gpus // cp))
    wide = config.parallel.dtype.itemsize
    gathered = 2 * wide * sum(row.parameters for row in work if row.part.startswith("block")) / config.model.depth
    peak = machine.half_tflop_s if wide == 2 else machine.tf32_tflop_s
    again = 4 if config.parallel.recompute else 3  # forward, twice as much backward, and forward once more
    held = Grid(frames=-(-frames // cp), rows=grid.rows, columns=grid.columns, text_tokens=grid.text_tokens)
    keys = _gathered_keys(config, grid) if cp > 1 else 0.0
    near = gpus <= MACHINE
    sent = (2 * wide + 4) * parameters * (gpus - 1) / gpus + 3 * clips * keys * (cp - 1) / cp
    return StepEstimate(
        gpu=machine,
        gpus=gpus,
        dp=gpus // cp,
        cp=cp,
        parameters=parameters,
        clips=data.batch_size,
        latent_frames=frames,
        tokens=grid.tokens,
        pflop=again * flop * data.batch_size / 1e15,
        states_gb=parameters * (16 + (4 if config.optimizer.ema_decay else 0)) / gpus / 1e9,
        gathered_gb=gathered / 1e9,
        kept_gb=clips * (_kept(config, held) + keys) / 1e9,
        compute_s=again * flop * clips * held.frames / frames / (REACHED * peak * 1e12),
        network_s=sent / 1e9 / (machine.near_gb_s if near else machine.far_gb_s),
        steps=config.steps,
    )


def _kept(config: TrainConfig, held: Grid) -> float:
    """Bytes that one clip keeps on one GPU; a block that is computed again is there once."""
    kept = count_kept(config.model, held, config.parallel.dtype)
    if config.parallel.recompute:
        return kept.elsewhere + len(kept.blocks) * kept.inputs + max(kept.blocks)
    return kept.elsewhere + sum(kept.blocks)


def _gathered_keys(config: TrainConfig, grid: Grid) -> float:
    """Bytes of the whole clip's keys and values, which softmax blocks of a shared clip gather."""
    layers = sum(config.model.is_softmax(layer) for layer in range(config.model.depth))
    return 2.0 * layers * grid.tokens * config.model.width * config.parallel.dtype.itemsize
