"""Distribution matching where the answer is known: clips of independent Gaussian values, scores in closed form."""

import dataclasses
import math

import pytest
import torch
from torch import Tensor, nn

from tests.train_doubles import batch_of, small_config
from wmkit.train.condition import conditions
from wmkit.train.dmd import critic_loss, dmd_loss
from wmkit.train.draws import normal
from wmkit.train.stage_config import DmdConfig

MEAN, DEVIATION = 0.5, 0.3  # of the data
CLIPS, SHAPE = 8, (3, 4, 4, 4)


class Gaussian(nn.Module):
    """The best velocity for values of one mean and deviation, E[eps - x0 | x]; and values of that distribution."""

    def __init__(self, mean: float, deviation: float) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.tensor(mean))
        self.log_deviation = nn.Parameter(torch.tensor(math.log(deviation)))

    def forward(self, latent: Tensor, sigma: Tensor, cameras: object, text: object) -> Tensor:
        level = sigma[:, :, None, None, None]
        variance = (2 * self.log_deviation).exp()
        gain = (1 - level) * variance / ((1 - level) ** 2 * variance + level**2)
        x0 = self.mean + gain * (latent - (1 - level) * self.mean)
        return (latent - x0) / level.clamp(min=1e-6)  # the first frame's level is 0, its velocity means nothing

    def made(self, step: int) -> Tensor:
        return self.mean + self.log_deviation.exp() * normal(0, step, "noise", range(CLIPS), SHAPE)

    def found(self) -> list[float]:
        return [self.mean.item(), self.log_deviation.exp().item()]


@pytest.mark.parametrize("begin", [(-0.5, 1.0), (0.8, 0.1)], ids=["too wide", "too narrow"])
def test_the_student_comes_to_its_teacher_s_distribution(begin: tuple[float, float]) -> None:
    """With the published betas, turns and levels, a critic that begins as the teacher and the loop's order of the two.

    By then both oscillate within some 0.03 of where they go: AdamW without momentum steps by its rate, 0.02.
    """
    config = small_config("objective.chunk_frames=1")
    config = dataclasses.replace(config, dmd=DmdConfig(guidance=0.0, score_shift=3.0))
    assert config.dmd is not None
    seen = conditions(batch_of(0), config, 0)
    real = Gaussian(MEAN, DEVIATION).requires_grad_(False)
    student, critic = Gaussian(*begin), Gaussian(MEAN, DEVIATION)
    optimizers = [torch.optim.AdamW(model.parameters(), lr=0.02, betas=(0.0, 0.999)) for model in (student, critic)]
    for step in range(900):
        made = student.made(step)
        losses = [critic_loss(made, critic, seen, config, step)]  # type: ignore[arg-type]
        if step % config.dmd.every == 0:
            losses.insert(0, dmd_loss(made, real, critic, seen, config, step))  # type: ignore[arg-type]
        for loss, optimizer in zip(losses, optimizers[-len(losses) :], strict=True):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    print(f"student {student.found()}, critic {critic.found()}")
    assert student.found() == pytest.approx([MEAN, DEVIATION], abs=0.05)
    assert critic.found() == pytest.approx(student.found(), abs=0.05)
