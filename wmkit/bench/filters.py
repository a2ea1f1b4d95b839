"""`wmkit bench filters`: defects planted into sound footage, annotated like any clip, held against the thresholds.

Every case is written to a video file and goes through `annotate_clip`; its row keeps every measured value, so that
other thresholds can be applied to the same rows. A case belongs to a sound twin: the same footage without the defect.
"""

import dataclasses
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import wmkit.annotate.filters
import wmkit.worlds
from wmkit.annotate.defaults import default_config
from wmkit.annotate.pipeline import AnnotateConfig, AnnotateResult, annotate_clip, config_dict
from wmkit.annotate.pose.given import given_config
from wmkit.atomic import json_bytes
from wmkit.bench.filters_material import SEEDS, Material, MaterialKey, fitted, material, missing_clips
from wmkit.bench.rows import Row, RowRun, run_rows
from wmkit.bench.worlds import engine_hash, judged
from wmkit.clip import rng_for
from wmkit.errors import ClipError, InputError
from wmkit.executor import ItemTask
from wmkit.formats.poses_json import write_poses_json
from wmkit.formats.track import CameraTrack
from wmkit.video import VideoConfig, discover, identify
from wmkit.worlds.defects import DEFECTS, Defect, Footage, Need
from wmkit.worlds.footage_file import write_footage

__all__ = ["NEEDS", "SOUND", "FilterCase", "FiltersOptions", "bench_filters", "run_case"]

SOUND = "sound"
NEEDS: tuple[Need, ...] = ("footage", "cameras", "labels")
REAL_EVERY: dict[Need, int] = {"footage": 2, "cameras": 4, "labels": 4}  # one case in so many is of a real clip
MOST = 500
TABLE = {defect.name: defect for defect in DEFECTS}


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterCase:
    """One clip: a defect's name or "sound", what has to run, and the footage it is planted into."""

    defect: str
    needs: Need
    key: MaterialKey

    @property
    def name(self) -> str:
        """Unique among all cases."""
        return f"{self.defect}-{self.needs}-{self.key.kind}-{self.key.index:04d}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FiltersOptions:
    """Which cases to run, and how.

    per_defect  cases of each defect, and sound clips of each need that a defect has.
    sound       sound clips for the footage filters; none fewer than `per_defect`.
    only        names of defects, and "sound"; () is all. The sound twins of a defect always run.
    first       number of the first case: another run, or another machine, takes others.
    use         "evaluation", or "tuning" to look for better filters and limits.
    real        data folder with the real clips; None is worlds alone.
    workers     processes.
    out         JSON-lines file of the rows; None keeps them in memory.
    resume      go on with the rows that are in `out` already.
    """

    per_defect: int = 50
    sound: int = 200
    only: tuple[str, ...] = ()
    first: int = 0
    use: str = "evaluation"
    real: Path | None = None
    workers: int = 2
    out: Path | None = None
    resume: bool = False
    timeout_s: float = 600.0

    def __post_init__(self) -> None:
        known = (*TABLE, SOUND)
        unknown = [name for name in self.only if name not in known]
        if unknown:
            raise InputError(f"--only: expected some of {', '.join(known)}, got {', '.join(unknown)}")
        if self.first < 0 or self.per_defect < 1 or self.sound < 0:
            got = f"{self.first}, {self.per_defect} and {self.sound}"
            raise InputError(f"--first, --per-defect, --sound: expected at least 0, 1 and 0, got {got}")
        if self.first + max(self.per_defect, self.sound) > MOST:
            raise InputError(f"--first, --per-defect, --sound: expected numbers below {MOST}, the seeds end there")
        if self.use not in SEEDS:
            raise InputError(f"--seeds: expected one of {', '.join(SEEDS)}, got {self.use!r}")
        missing = missing_clips(self.real, self.use) if self.real is not None else []
        if missing:
            raise InputError(f"--real {self.real}: expected the real clips below it, {missing[0]} is not there")

    @property
    def defects(self) -> tuple[Defect, ...]:
        """Those of the table that were asked for."""
        return tuple(defect for defect in DEFECTS if not self.only or defect.name in self.only)

    @property
    def cases(self) -> tuple[FilterCase, ...]:
        """Number by number, so that a run that was cut short has all defects alike, and footage is made once."""
        twins = {defect.needs for defect in self.defects if not defect.family}
        counts: dict[Need, int] = {need: self.per_defect for need in NEEDS if need in twins}
        if not self.only or SOUND in self.only:
            counts["footage"] = max(counts.get("footage", 0), self.sound)
        found: list[FilterCase] = []
        for number in range(max(self.per_defect, self.sound)):
            index = self.first + number
            for need, count in counts.items():
                if number < count:
                    found.append(FilterCase(defect=SOUND, needs=need, key=self._key(index, need, "")))
            if number < self.per_defect:
                found += [
                    FilterCase(defect=d.name, needs=d.needs, key=self._key(index, d.needs, d.family))
                    for d in self.defects
                ]
        return tuple(found)

    def _key(self, index: int, needs: Need, family: str) -> MaterialKey:
        every = REAL_EVERY[needs]
        real = self.real is not None and index % every == every - 1 and family != "pure_rotation"
        return MaterialKey(
            kind="real" if real else "world",
            use=self.use,
            index=index,
            needs=needs,
            family=family,
            real=str(self.real) if real else "",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """The config every worker is sent once: of cases that need cameras; the others leave parts out."""

    config: AnnotateConfig


def bench_filters(options: FiltersOptions, progress: Callable[[str], None] | None = None) -> list[Row]:
    """Run what `out` does not hold yet; all rows of these options, in the order of `options.cases`.

    Raises InputError for an `out` that exists (without resume) or cannot be written, ConfigError when its rows are of
    other filters, settings or defects.
    """
    cases = {case.name: case for case in options.cases}
    config = default_config(video=VideoConfig(fps=None), depth=False)
    run = RowRun(
        engine=_hash(config),
        out=options.out,
        resume=options.resume,
        workers=options.workers,
        timeout_s=options.timeout_s,
    )
    heads = {name: _head(case) for name, case in cases.items()}
    done = run_rows(heads, cases, ItemTask(function=_work, config=_Task(config=config)), run, progress)
    return [done[name] for name in cases]


def run_case(case: FilterCase, config: AnnotateConfig) -> Row:
    """Plant, write, annotate. A ClipError is an outcome: that clip reaches no shard."""
    defect = TABLE.get(case.defect)
    start_s = time.process_time()
    sound = material(case.key)
    footage = sound.footage
    rng = rng_for(case.key.index, case.name, "bench.filters.plant")
    if defect is not None and not defect.family:
        footage = _planted(defect, case.key, footage, rng)
    row = _head(case) | {"material": sound.name}
    with TemporaryDirectory(prefix="wmkit-filters-") as folder:
        path = Path(folder) / "clip.mp4"
        write_footage(path, footage, rng)
        config = _config_of(case, config, footage, Path(folder))
        made_s = time.process_time()
        try:
            result = annotate_clip(identify(discover([path]).clips[0]), config)
        except ClipError as error:
            return row | {"outcome": "failed", "reason": f"{error.stage}/{error.code}", "detail": error.message}
    ended_s = time.process_time()
    row["core_s"] = {"plant": made_s - start_s, "annotate": ended_s - made_s}
    return row | _measured(case, sound, result)


def _planted(defect: Defect, key: MaterialKey, footage: Footage, rng: np.random.Generator) -> Footage:
    """With the defect; whatever is cut, faded or pasted in is the next footage of its kind."""
    every = REAL_EVERY[key.needs]
    near = range(key.index + 1, key.index + every + 1)
    wanted = key.kind == "real"
    index = next(n for n in near if (n % every == every - 1) == wanted or (not key.real and not wanted))
    other = fitted(material(dataclasses.replace(key, index=index)).footage, footage)
    count = len(other.rgb)
    labels = None if footage.world_from_cam is None else footage.world_from_cam[:count]
    rows = None if footage.intrinsics is None else footage.intrinsics[:count]
    short = dataclasses.replace(
        footage, rgb=footage.rgb[:count], time_s=footage.time_s[:count], world_from_cam=labels, intrinsics=rows
    )
    return defect.plant(short, other, rng)


def _config_of(case: FilterCase, config: AnnotateConfig, footage: Footage, folder: Path) -> AnnotateConfig:
    """Only what the case needs: footage filters, the pose engine, or given labels, written beside the clip."""
    if case.needs == "footage":
        return dataclasses.replace(config, stop_after="footage")
    if case.needs == "cameras":
        return config
    assert footage.world_from_cam is not None
    track = CameraTrack(
        world_from_cam=footage.world_from_cam,
        time_s=footage.time_s,
        intrinsics_px=footage.intrinsics,
        names=tuple(f"{index:06d}" for index in range(len(footage.rgb))),
        metric=False,
    )
    write_poses_json(track, folder / "poses.json")
    return dataclasses.replace(config, pose=given_config(str(folder / "poses.json")))


def _measured(case: FilterCase, sound: Material, result: AnnotateResult) -> Row:
    """Outcome, every value (None where unmeasured) and, of a sound world that was posed, whether it is right."""
    annotation = result.annotation
    row: Row = {"verdicts": {verdict.name: verdict.value for verdict in annotation.verdicts}, "good": None}
    if case.needs == "footage":
        return row | {"outcome": "measured"}
    if annotation.trajectory is None:
        assert annotation.no_trajectory is not None
        return row | {"outcome": "no_trajectory", "reason": annotation.no_trajectory.reason}
    if case.needs == "cameras" and case.defect == SOUND and sound.film is not None:
        row["good"] = judged(annotation.trajectory, sound.film.trajectory, None)["good"]
    return row | {"outcome": "measured"}


def _work(task: _Task, case: FilterCase) -> Row:
    return run_case(case, task.config)


def _head(case: FilterCase) -> Row:
    return {"case": case.name, "defect": case.defect, "needs": case.needs, "kind": case.key.kind, "use": case.key.use}


def _hash(config: AnnotateConfig) -> str:
    """Of the settings and of the code of engine, filters, defects and this bench."""
    digest = hashlib.sha256(json_bytes([config_dict(config), engine_hash(config.pose)]))
    packages = [Path(str(module.__file__)).parent for module in (wmkit.annotate.filters, wmkit.worlds)]
    files = [file for package in packages for file in sorted(package.glob("**/*.py"))]
    for file in [*files, *sorted(Path(__file__).parent.glob("filters*.py"))]:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
