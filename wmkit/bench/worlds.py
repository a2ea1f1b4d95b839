"""`wmkit bench worlds`: the default pose engine on random synthetic clips of every motion family, by their exact truth.

Each case is rendered in memory, given to the engine as frames alone, and scored; its row is appended to a JSON-lines
file as soon as it is there, so that a run that was ended goes on where it stopped. Rows come in the order cases end in;
whoever reads them sorts.
"""

import contextlib
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import wmkit.annotate.pose
from wmkit.annotate.confidence import ConfidenceConfig
from wmkit.annotate.confidence.fit import ATE_LIMIT_PERCENT, ROTATION_LIMIT_DEG
from wmkit.annotate.defaults import default_config
from wmkit.annotate.pipeline import config_dict
from wmkit.annotate.protocols import PoseConfig, PoseEstimate
from wmkit.atomic import json_bytes
from wmkit.bench.rows import Row, RowRun, run_rows
from wmkit.camera import Trajectory
from wmkit.clip import Confidence, NoTrajectory
from wmkit.errors import ClipError, InputError
from wmkit.executor import ItemTask
from wmkit.metrics import absolute_trajectory_error, rotation_error
from wmkit.worlds.families import FAMILIES, SIZES, Film, MemorySource, WorldCase, film, survey
from wmkit.worlds.render import renderer_used

__all__ = [
    "WorldsOptions",
    "bench_worlds",
    "engine_hash",
    "judged",
    "run_case",
]

ENGINE_CODE = Path(wmkit.annotate.pose.__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldsOptions:
    """Which cases to run, and how.

    families    names of `FAMILIES`.
    per_family  cases of each; their seeds are seed0, seed0 + 1, ...
    size        one of `SIZES`.
    workers     processes.
    out         JSON-lines file of the rows; None keeps them in memory.
    resume      go on with the rows that are in `out` already; otherwise `out` must not exist.
    pose        the engine; None is the default annotator's.
    timeout_s   a case that takes longer is a failure of its own.
    """

    families: tuple[str, ...] = tuple(FAMILIES)
    per_family: int = 10
    size: str = "small"
    seed0: int = 0
    workers: int = 2
    out: Path | None = None
    resume: bool = False
    pose: PoseConfig | None = None
    timeout_s: float = 600.0

    def __post_init__(self) -> None:
        unknown = sorted(set(self.families) - set(FAMILIES))
        if unknown or not self.families:
            raise InputError(f"--families: expected some of {', '.join(FAMILIES)}, got {', '.join(unknown) or 'none'}")
        if self.size not in SIZES:
            raise InputError(f"--size: expected one of {', '.join(SIZES)}, got {self.size!r}")
        if self.per_family < 1 or self.seed0 < 0:
            raise InputError(f"--per-family, --seed0: expected >= 1 and >= 0, got {self.per_family} and {self.seed0}")

    @property
    def cases(self) -> tuple[WorldCase, ...]:
        """Family by family within each seed, so that a run that was cut short has all families alike."""
        seeds = range(self.seed0, self.seed0 + self.per_family)
        return tuple(WorldCase(family=name, seed=seed, size=self.size) for seed in seeds for name in self.families)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """The config every worker is sent once."""

    pose: PoseConfig
    renderer: str


def bench_worlds(options: WorldsOptions, progress: Callable[[str], None] | None = None) -> list[Row]:
    """Run what `out` does not hold yet; all rows of these options, sorted by family and seed.

    Raises InputError for an `out` that exists (without resume) or cannot be written, ConfigError when its rows are of
    another engine's settings.
    """
    pose = options.pose or default_config(depth=None).pose
    engine = engine_hash(pose)
    wanted = {case.name: case for case in options.cases}
    task = ItemTask(function=_work, config=_Task(pose=pose, renderer=renderer_used()))
    run = RowRun(
        engine=engine, out=options.out, resume=options.resume, workers=options.workers, timeout_s=options.timeout_s
    )
    done = run_rows({name: _head(case) for name, case in wanted.items()}, wanted, task, run, progress)
    order = list(FAMILIES)
    return sorted(done.values(), key=lambda row: (order.index(row["family"]), row["seed"]))


def run_case(case: WorldCase, pose: PoseConfig, renderer: str = "auto") -> Row:
    """Film, solve and score one case. ClipError of the engine is a `failed` outcome, not an error."""
    clock = [time.process_time()]
    shot = film(case, renderer)
    clock.append(time.process_time())
    truth = survey(shot).to_json()
    clock.append(time.process_time())
    source = MemorySource(shot.rgb, 1 / float(np.diff(shot.trajectory.time_s).mean()))
    try:
        outcome: PoseEstimate | NoTrajectory | ClipError = pose.build("cpu").estimate(source, case.seed)
    except ClipError as error:
        outcome = error
    clock.append(time.process_time())
    film_s, survey_s, engine_s = np.diff(clock).tolist()
    row = _head(case) | {"truth": truth, "core_s": {"film": film_s, "survey": survey_s, "engine": engine_s}}
    if isinstance(outcome, ClipError):
        return row | {"outcome": "failed", "reason": f"{outcome.stage}/{outcome.code}", "detail": outcome.message}
    if isinstance(outcome, NoTrajectory):
        return row | {"outcome": "no_trajectory", "reason": outcome.reason, "detail": outcome.detail}
    confidence = ConfidenceConfig().build("cpu").judge(outcome.quality, pose.name)
    row["focal_error_log"] = _focal_error_log(outcome, shot)
    return row | {"outcome": "posed"} | judged(outcome.trajectory, shot.trajectory, confidence)


def judged(estimate: Trajectory, truth: Trajectory, confidence: Confidence | None) -> Row:
    """Errors over the posed frames, evidence and p_good. A trajectory of a camera that stood still is never good."""
    row: Row = {"posed_share": float(estimate.posed.mean()), "rotation_deg": None, "ate_percent": None, "good": False}
    with contextlib.suppress(InputError):  # one frame, or a camera that stands still on either side
        row["rotation_deg"] = rotation_error(estimate, truth).value
        row["ate_percent"] = 100 * _ate_share(estimate, truth)
        row["good"] = row["rotation_deg"] < ROTATION_LIMIT_DEG and row["ate_percent"] < ATE_LIMIT_PERCENT
    if confidence is not None:
        features = confidence.quality.features
        row["features"] = {name: None if np.isnan(value) else value for name, value in features}
        row["p_good"] = confidence.p_good
    return row


def _ate_share(estimate: Trajectory, truth: Trajectory) -> float:
    """ATE after Sim(3) over the true path *through the posed frames*: posing a short piece alone is no excuse."""
    both = estimate.posed & truth.posed
    path_m = float(np.linalg.norm(np.diff(truth.position[both], axis=0), axis=1).sum())
    if path_m <= 0:
        raise InputError("ate: expected a moving camera")
    return absolute_trajectory_error(estimate, truth, with_scale=True).value / path_m


def _focal_error_log(estimate: PoseEstimate, shot: Film) -> float:
    """Median over the frames of |ln(focal length / true one)|."""
    ratio = [np.log(found.fx / true.fx) for found, true in zip(estimate.intrinsics, shot.intrinsics, strict=True)]
    return float(np.median(np.abs(ratio)))


def _work(task: _Task, case: WorldCase) -> Row:
    return run_case(case, task.pose, task.renderer)


def _head(case: WorldCase) -> Row:
    return {"case": case.name, "family": case.family, "seed": case.seed, "size": case.size}


def engine_hash(pose: PoseConfig) -> str:
    """Hash of the engine's settings and of the code of its package: rows of two engines must not be mixed."""
    digest = hashlib.sha256(json_bytes(config_dict(pose)))
    for file in sorted(ENGINE_CODE.glob("**/*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
