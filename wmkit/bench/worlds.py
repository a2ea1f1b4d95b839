"""`wmkit bench worlds`: the default pose engine on random synthetic clips of every motion family, by their exact truth.

Each case is rendered in memory, given to the engine as frames alone, and scored; its row is appended to a JSON-lines
file as soon as it is there, so that a run that was ended goes on where it stopped. Rows come in the order cases end in;
whoever reads them sorts.
"""

import contextlib
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import wmkit.annotate.pose
from wmkit.annotate.confidence import ConfidenceConfig
from wmkit.annotate.defaults import default_config
from wmkit.annotate.pipeline import config_dict
from wmkit.annotate.protocols import PoseConfig, PoseEstimate
from wmkit.atomic import json_bytes
from wmkit.camera import Trajectory
from wmkit.clip import Confidence, NoTrajectory
from wmkit.errors import ClipError, ConfigError, InputError
from wmkit.executor import ExecutorOptions, Item, ItemTask, Outcome, run_items
from wmkit.metrics import absolute_trajectory_error, rotation_error
from wmkit.worlds.families import FAMILIES, SIZES, Film, MemorySource, WorldCase, film, survey
from wmkit.worlds.render import renderer_used

__all__ = [
    "ATE_LIMIT_PERCENT",
    "ROTATION_LIMIT_DEG",
    "WorldsOptions",
    "bench_worlds",
    "engine_hash",
    "judged",
    "read_rows",
    "run_case",
]

ROTATION_LIMIT_DEG, ATE_LIMIT_PERCENT = 1.5, 2.0
"""What makes a trajectory good; p_good is the probability of both."""

ENGINE_CODE = Path(wmkit.annotate.pose.__file__).parent
Row = dict[str, Any]


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
    rows = _resumed(options, engine)
    wanted = {case.name: case for case in options.cases}
    done = {row["case"]: row for row in rows if row["case"] in wanted}
    items = [Item(key=name, payload=case) for name, case in wanted.items() if name not in done]
    task = ItemTask(function=_work, config=_Task(pose=pose, renderer=renderer_used()))
    start_s = time.monotonic()
    with contextlib.ExitStack() as stack:
        stream = None if options.out is None else stack.enter_context(_appending(options.out))

        def record(outcome: Outcome) -> None:
            if not outcome.final:
                return
            row = outcome.result
            if row is None:
                failure = outcome.failure
                assert failure is not None
                row = _head(wanted[outcome.key]) | {"outcome": "failed", "reason": f"{failure.stage}/{failure.code}"}
                row["detail"] = failure.message
            row |= {"engine": engine}
            done[outcome.key] = row
            if stream is not None:
                stream.write(json.dumps(row, sort_keys=True, allow_nan=False) + "\n")
                stream.flush()
            if progress is not None:
                progress(
                    f"[{len(done)}/{len(wanted)}] {outcome.key}: {row['outcome']} {time.monotonic() - start_s:.0f} s"
                )

        executor = ExecutorOptions(kind="local", workers=options.workers, timeout_s=options.timeout_s, max_attempts=1)
        run_items(items, task, executor, record)
    order = list(FAMILIES)
    return sorted(done.values(), key=lambda row: (order.index(row["family"]), row["seed"]))


def read_rows(path: Path) -> list[Row]:
    """The rows of a JSON-lines file; a last line cut short by a kill is left out. InputError for anything else."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected a readable JSON-lines file, got {error}") from None
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except ValueError:
            if number == len(lines):
                break
            raise InputError(f"{path}:{number}: expected a JSON object a line, got {line[:60]!r}") from None
        if not isinstance(row, dict) or not {"case", "family", "seed", "outcome", "engine"} <= row.keys():
            raise InputError(f"{path}:{number}: expected a row that `wmkit bench worlds` wrote")
        rows.append(row)
    return rows


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


def _resumed(options: WorldsOptions, engine: str) -> list[Row]:
    if options.out is None or not options.out.exists():
        return []
    if not options.resume:
        raise InputError(f"--out {options.out}: expected a new file, it exists; pass --resume to go on with it")
    rows = read_rows(options.out)
    if any(row["engine"] != engine for row in rows):
        raise ConfigError(f"--out {options.out}: expected rows of engine {engine}, got another's; pass another --out")
    text = options.out.read_text(encoding="utf-8")
    if text and not text.endswith("\n"):  # a kill in mid-line
        options.out.write_text(text[: text.rfind("\n") + 1], encoding="utf-8")
    return rows


def _appending(path: Path) -> Any:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("a", encoding="utf-8")
    except OSError as error:
        raise InputError(f"--out {path}: expected a writable file, got: {error.strerror}") from error
