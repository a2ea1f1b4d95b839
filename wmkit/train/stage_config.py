"""Settings of the stages that learn from another model: the refiner, and the self-forced student."""

from dataclasses import dataclass

from wmkit.errors import ConfigError
from wmkit.model.refiner import REFINE_SIGMAS

__all__ = ["DmdConfig", "RefineConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RefineConfig:
    """A second stage learns to make a first stage's clips better; see `wmkit.train.refine`.

    sigma_start   noise level that it begins from. Published: 0.909375.
    stage1_steps  Euler steps of the first stage, whose clips are what is to be made better.
    degraded      share of clips that are made worse by shrinking and enlarging instead; `factor` times. Published:
                  pairs of both kinds, in shares that nobody told.
    """

    sigma_start: float = REFINE_SIGMAS[0]
    stage1_steps: int = 12
    degraded: float = 0.25
    factor: int = 2

    def __post_init__(self) -> None:
        if not 0 < self.sigma_start <= 1 or not 0 <= self.degraded <= 1:
            raise ConfigError(
                f"refine: expected sigma_start above 0 and at most 1 and degraded a share from 0 to 1, got "
                f"{self.sigma_start} and {self.degraded}"
            )
        if self.stage1_steps < 1 or self.factor < 2:
            raise ConfigError(
                f"refine: expected stage1_steps >= 1 and factor >= 2, got {self.stage1_steps} and {self.factor}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class DmdConfig:
    """A few-step student learns on clips it rolled out itself, chunk after chunk; see `wmkit.train.dmd`.

    student_steps    of every chunk, at the noise levels of `shifted_sigmas`. Published: 4.
    every            steps between the student's; the critic takes every one. Published: 5.
    critic_lr        of the critic's AdamW, which has the student's betas. Published: 2e-6, a fifth of the student's.
    guidance         w of v = v_text + w (v_text - v_empty) of the real score; 0 is none. Published: 3.
    least, most      noise levels at which the two scores are compared. Published: 0.02 and 0.98.
    score_shift      of the draw of those levels: evenly, then shifted. Published: 10.
    window           chunks that softmax blocks keep besides the first; None: all. Published: all, for minutes 1.
    """

    student_steps: int = 4
    every: int = 5
    critic_lr: float = 1e-4
    guidance: float = 3.0
    least: float = 0.02
    most: float = 0.98
    score_shift: float = 10.0
    window: int | None = None

    def __post_init__(self) -> None:
        if self.student_steps < 1 or self.every < 1:
            raise ConfigError(f"dmd: expected student_steps and every >= 1, got {self.student_steps}, {self.every}")
        if not (self.critic_lr > 0 and self.score_shift > 0 and 0 <= self.guidance < float("inf")):
            raise ConfigError(
                f"dmd: expected positive critic_lr and score_shift and guidance of at least 0, got {self.critic_lr}, "
                f"{self.score_shift} and {self.guidance}"
            )
        if not 0 < self.least < self.most < 1:
            raise ConfigError(f"dmd: expected 0 < least < most < 1, got {self.least} and {self.most}")
