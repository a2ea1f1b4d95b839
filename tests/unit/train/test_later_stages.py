"""The refiner and the few-step students show what they are for, on held-out paths through a rendered room.

PSNR alone cannot tell a student from a blurred one: it rewards answers near a mean. So clips are also judged by what
rewards a distribution (Gneiting & Raftery 2007, sections 4.2 and 5.1): the energy score against the truth, and the
energy distance to the teacher's clips. Clips are apart by the RMS over their frames after the first.
"""

import dataclasses
from itertools import combinations, permutations
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.train_doubles import FACTS
from tests.world_batches import WorldBatches
from wmkit.model.refiner import DitRefiner, RefineTask
from wmkit.model.sampler import Prompt, SamplerConfig, sample_latents
from wmkit.model.stream_sampler import stream_chunks
from wmkit.train.checkpoint import load_model, start_weights
from wmkit.train.condition import cameras_of
from wmkit.train.config import TrainConfig
from wmkit.train.loop import Start, train
from wmkit.train.recipes import recipe

HELD = WorldBatches(first=1000, clips=8, count=32)(0)
CAPTION = HELD.captions[0]
NOISES = 4

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]


def stage(folder: Path, name: str, steps: int, *, before: str = "", teacher: str = "", count: int = 4) -> None:
    config = recipe(name).with_settings([f"steps={steps}", f"data.batch_size={count}"])
    start = None
    if before:
        weights, digest = start_weights(folder / before)
        config, told = dataclasses.replace(config, start=digest), None
        if teacher:
            told, digest = start_weights(folder / teacher)
            config = dataclasses.replace(config, teacher=digest)
        start = Start(weights=weights, teacher=told)
    train(config, WorldBatches(count=count), FACTS, folder / name, start=start)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the camera stage is, of 400 steps with 8 clips."""
    folder = tmp_path_factory.mktemp("stages")
    stage(folder, "tiny-cpu-camera", 400, count=8)
    return folder


@pytest.fixture(scope="module")
def distilled(trained: Path) -> Path:
    """The same folder, with a chunk stage that began as the camera stage and its student of four steps."""
    stage(trained, "tiny-cpu-chunk", 200, before="tiny-cpu-camera")
    stage(trained, "tiny-cpu-ode", 200, before="tiny-cpu-chunk")
    return trained


def psnr_db(latent: Tensor, config: TrainConfig) -> float:
    """Mean over clips, of their frames after the first."""
    error = (config.codec.decode(latent).clamp(-1, 1) - HELD.video)[:, 1:].square().mean(dim=(1, 2, 3, 4))
    return (10 * torch.log10(4 / error)).mean().item()


def prompt_of(config: TrainConfig) -> Prompt:
    encoder = config.text_encoder
    assert encoder is not None
    return Prompt(text=encoder.encode(list(HELD.captions)))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Made:
    """Clips that a model made of the same requests, once for each of `NOISES` noises, and what they are worth."""

    clips: list[Tensor]
    config: TrainConfig

    @property
    def psnr_db(self) -> float:
        return sum(psnr_db(latent, self.config) for latent in self.clips) / NOISES

    @property
    def spread(self) -> Tensor:
        """How far clips of two noises are apart; one value a request, as below."""
        return torch.stack([apart(one, other) for one, other in combinations(self.clips, 2)]).mean(0)

    @property
    def energy_score(self) -> Tensor:
        """Less is better, and least in the mean where clips are drawn as the truth is."""
        truth = self.config.codec.encode(HELD.video)
        return torch.stack([apart(latent, truth) for latent in self.clips]).mean(0) - self.spread / 2

    def energy_distance(self, other: "Made") -> Tensor:
        """0 in the mean where both are of one distribution; clips of the same noise are not held against each other."""
        across = [apart(self.clips[i], other.clips[j]) for i, j in permutations(range(NOISES), 2)]
        return 2 * torch.stack(across).mean(0) - self.spread - other.spread

    def __str__(self) -> str:
        spread, score = self.spread.mean().item(), self.energy_score.mean().item()
        return f"{self.psnr_db:.2f} dB, spread {spread:.4f}, energy score {score:.4f}"


def apart(one: Tensor, other: Tensor) -> Tensor:
    return (one - other)[:, 1:].square().mean(dim=(1, 2, 3, 4)).sqrt()


def streamed(run: Path, steps: int) -> Made:
    """Made chunk by chunk, of the chunks that it was trained with."""
    model, config = load_model(run)
    first, layout = config.codec.encode(HELD.video)[:, :1], config.chunks(9)
    samplers = [SamplerConfig(steps=steps, shift=config.objective.shift, seed=seed) for seed in range(NOISES)]
    made = (
        stream_chunks(model, first, cameras_of(HELD), sampler, prompt_of(config), layout=layout) for sampler in samplers
    )
    return Made(clips=[torch.cat(list(chunks), dim=1) for chunks in made], config=config)


def whole(run: Path) -> Made:
    """Made at once, in twelve steps."""
    model, config = load_model(run)
    first = config.codec.encode(HELD.video)[:, :1]
    samplers = [SamplerConfig(steps=12, shift=config.objective.shift, seed=seed) for seed in range(NOISES)]
    clips = [sample_latents(model, first, cameras_of(HELD), sampler, prompt_of(config)) for sampler in samplers]
    return Made(clips=clips, config=config)


def test_a_student_of_four_steps_stays_within_a_decibel_of_its_teacher(distilled: Path) -> None:
    """And is worth its training: as a distribution it is nearer to the truth than its teacher in as few steps.

    Measured: 0.47 dB below twelve steps of the teacher; energy score 0.2161 against 0.2252, 0.0091 apart with a
    standard error of 0.0021 over the 32 requests.
    """
    teacher, untaught = (streamed(distilled / "tiny-cpu-chunk", steps) for steps in (12, 4))
    student = streamed(distilled / "tiny-cpu-ode", 4)
    print(f"teacher {teacher}; its four steps {untaught}; student {student}")
    assert student.psnr_db > teacher.psnr_db - 1
    assert student.energy_score.mean() < untaught.energy_score.mean()


def test_the_self_forced_student_comes_nearer_to_its_teacher(distilled: Path) -> None:
    """Within a decibel of it, and nearer as a distribution than the student that it began as.

    Measured: 0.84 dB below; 0.0371 apart before and 0.0279 after, a quarter less, with a standard error of the
    difference of 0.0043. With the published least level and a slow critic it was 0.0440 after.
    """
    stage(distilled, "tiny-cpu-dmd", 200, before="tiny-cpu-ode", teacher="tiny-cpu-camera")
    teacher = whole(distilled / "tiny-cpu-camera")
    before, after = (streamed(distilled / f"tiny-cpu-{name}", 4) for name in ("ode", "dmd"))
    apart_before, apart_after = (student.energy_distance(teacher).mean().item() for student in (before, after))
    print(f"teacher {teacher}; before {before}, {apart_before:.4f} apart; after {after}, {apart_after:.4f} apart")
    assert after.psnr_db > teacher.psnr_db - 1
    assert apart_after < 0.9 * apart_before


def test_a_refiner_improves_on_its_first_stage(trained: Path) -> None:
    """By PSNR, and more than the first stage's own weights do in the same three steps: training is worth something."""
    stage(trained, "tiny-cpu-refiner", 200, before="tiny-cpu-camera")
    (first_stage, config), (second_stage, _) = (
        load_model(trained / f"tiny-cpu-{name}") for name in ("camera", "refiner")
    )
    first = config.codec.encode(HELD.video)[:, :1]
    sampler = SamplerConfig(steps=12, shift=config.objective.shift)
    latent = sample_latents(first_stage, first, cameras_of(HELD), sampler, prompt_of(config))
    task = RefineTask(latent=latent, cameras=cameras_of(HELD), caption=CAPTION, fps=4.0, seed=0)
    found = {"stage 1": psnr_db(latent, config)}
    for name, model in (("refined", second_stage), ("by stage 1 itself", first_stage)):
        refiner = DitRefiner(model=model, text=config.text_encoder, licence="none")
        found[name] = psnr_db(refiner.refine(task), config)
    print(found)
    assert found["refined"] > found["stage 1"] + 0.5
    assert found["refined"] > found["by stage 1 itself"]
