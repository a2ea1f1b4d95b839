"""`wmkit sample --benchmark DIR`: a video for every scene of a folder shaped as SANA-WM-Bench; a scene is an item.

    OUT/<id>.mp4, .trajectory.npz, .json   as of one sample, see `wmkit.sample.run`

A scene's bytes are a function of scene, weights and options alone, whoever makes it. Run again, scenes are left alone
whose sidecar tells of the same request, the same weights and the very bytes of the video beside it; `wmkit eval OUT
--benchmark DIR` judges the folder.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from wmkit.atomic import make_folder
from wmkit.dataset.output import hold
from wmkit.errors import InputError, WmkitError
from wmkit.evaluate.scenes import BenchScene, read_scenes
from wmkit.executor import ExecutorOptions, Item, ItemTask, Outcome, gpus_there, run_items
from wmkit.json_object import read_json
from wmkit.sample.identity import Digests, is_made, weight_digests
from wmkit.sample.options import SampleOptions
from wmkit.sample.parts import load_parts
from wmkit.sample.scene import SceneTask, make_scene
from wmkit.train.checkpoint import find_checkpoint, read_config

__all__ = ["BenchSummary", "sample_benchmark"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchSummary:
    """What became of every scene.

    made    ids of the videos that this run made, `kept` of those that were there already.
    failed  id -> why there is none.
    told    by id, what was assumed, cut or held.
    """

    out: str
    scenes: int
    made: tuple[str, ...]
    kept: tuple[str, ...]
    failed: Mapping[str, str]
    told: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """1 when a scene has no video, else 0."""
        return 1 if self.failed else 0

    def to_json(self) -> dict[str, object]:
        """Plain JSON values; the keys are frozen by a test."""
        told = {name: list(lines) for name, lines in self.told.items()}
        lists = {"made": list(self.made), "kept": list(self.kept), "failed": dict(self.failed), "told": told}
        return {**asdict(self), **lists, "exit_code": self.exit_code}

    def lines(self) -> list[str]:
        """For people: what was told of every scene once, a line a failure, and the count."""
        common = [line for line in next(iter(self.told.values()), ()) if all(line in own for own in self.told.values())]
        failed = [f"{name}: {why}" for name, why in self.failed.items()]
        counts = f"{len(self.made)} made, {len(self.kept)} as before, {len(self.failed)} failed"
        again = "; the same command tries those again" if self.failed else ""
        return [*common, *failed, f"{self.out}: {self.scenes} scenes, {counts}{again}"]


def sample_benchmark(
    folder: Path,
    out: Path,
    options: SampleOptions,
    executor: ExecutorOptions,
    progress: Callable[[int, int], None] | None = None,
) -> BenchSummary:
    """Make what is not there yet; `options` are every scene's but for image, trajectory, intrinsics, prompt and out.

    progress  called with (scenes done, scenes), from this thread.

    What one scene lacks is in the summary. Raises InputError or ConfigError, before any scene, for a folder of another
    shape, models that cannot be used, and an output folder that cannot be written or is being written by another run.
    """
    scenes = read_scenes(folder)
    try:
        make_folder(out)
        with hold(out):
            return _make(scenes, out, options, executor, progress)
    except OSError as error:
        raise InputError(f"--out: expected a folder that can be written at {out}, got: {error.strerror}") from error


def _make(
    scenes: tuple[BenchScene, ...],
    out: Path,
    options: SampleOptions,
    executor: ExecutorOptions,
    progress: Callable[[int, int], None] | None,
) -> BenchSummary:
    has_text = read_config(find_checkpoint(options.checkpoint)).model.text is not None
    task = SceneTask(out=out, options=options, has_text=has_text)
    weights = weight_digests(options)
    kept = tuple(scene.id for scene in scenes if _is_there(task, scene, weights))
    items = [Item(key=scene.id, payload=scene) for scene in scenes if scene.id not in kept]
    told: dict[str, tuple[str, ...]] = {}
    failed: dict[str, str] = {}

    def record(outcome: Outcome) -> None:
        if not outcome.final:
            return
        if outcome.failure is None:
            told[outcome.key] = outcome.result
        else:
            failed[outcome.key] = outcome.failure.message
        if progress is not None:
            progress(len(kept) + len(told) + len(failed), len(scenes))

    if items:
        # What is wrong with them is said once, before any work; this process may have no GPU.
        load_parts(replace(options, device="cpu", offload="none", precision="float32"), weights)
        work = ItemTask(function=make_scene, config=task, gpu=options.device == "cuda")
        run_items(items, work, _with_gpus(executor) if work.gpu else executor, record)
    order = [scene.id for scene in scenes]
    return BenchSummary(
        out=str(out),
        scenes=len(scenes),
        made=tuple(name for name in order if name in told),
        kept=kept,
        failed={name: failed[name] for name in order if name in failed},
        told={name: told[name] for name in order if name in told},
    )


def _with_gpus(executor: ExecutorOptions) -> ExecutorOptions:
    """A worker for every GPU there is, if not told how many."""
    gpus = gpus_there(executor)
    if not gpus:
        raise InputError("--device cuda: expected a GPU for every worker, found none; use --device cpu")
    return replace(executor, gpu_workers=gpus)


def _is_there(task: SceneTask, scene: BenchScene, weights: Digests) -> bool:
    try:
        asked = task.asked(scene)
        return is_made(read_json(asked.out.with_suffix(".json")), asked, weights)
    except WmkitError:
        return False
