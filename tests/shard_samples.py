"""A tiny corpus of real video files with exact cameras, made without the pose engine, and its shards."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wmkit.annotate.defaults import default_config
from wmkit.annotate.filters import TRAJECTORY_FILTERS
from wmkit.annotate.pipeline import AnnotateConfig, config_dict, config_hash
from wmkit.camera import Intrinsics, ScaleEstimate, ScaleKind, ScaleVote, Trajectory
from wmkit.clip import Annotation, Clip, DepthMap, NoTrajectory, Points, Provenance, Verdict
from wmkit.corpus import Corpus, LedgerRow, SourceRow
from wmkit.dataset.writer import BuildOptions, build_shards
from wmkit.video import ClipFile, FrameSource, discover, identify, open_source
from wmkit.video.encode import write_mp4

__all__ = [
    "CONFIG",
    "FOCAL_PX",
    "annotate_exactly",
    "annotate_folder",
    "bare",
    "depth_maps",
    "make_clip",
    "make_corpus",
    "make_shards",
    "record",
    "source_row",
]

CONFIG = default_config(depth=None)
FOCAL_PX = 60.0  # of frames 64 px wide; wider ones have the same field of view, 56 degrees


def make_clip(path: Path, number: int, frames: int = 24, size: tuple[int, int] = (64, 48), fps: float = 16.0) -> Path:
    """An mp4 whose frame k is brighter than frame k - 1 and slides left over a wall of soft blocks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_mp4(path, pictures(number, frames, size), Fraction(fps), size)
    return path


def pictures(number: int, frames: int, size: tuple[int, int]) -> list[NDArray[np.uint8]]:
    """The frames of `make_clip` before they are encoded, (h, w, 3) RGB."""
    rng = np.random.default_rng(number)
    wall = np.kron(rng.integers(40, 160, (size[1] // 4 + 1, (size[0] + frames) // 4 + 1, 3)), np.ones((4, 4, 1)))
    brightness = np.linspace(0, 90, frames)
    return [(wall[: size[1], k : k + size[0]] + brightness[k]).clip(0, 255).astype(np.uint8) for k in range(frames)]


def depth_maps(frame: tuple[int, ...], size: tuple[int, int]) -> DepthMap:
    """Maps (height, width) of these frames, deeper to the right and with each frame, stripes of them unknown."""
    y, x = np.mgrid[0 : size[0], 0 : size[1]]
    z = np.stack([1 + index + x / size[1] + y / 10 / size[0] for index in frame]).astype(np.float32)
    valid = np.tile((x + y) % 5 > 0, (len(frame), 1, 1))
    sure = np.full(z.shape, 0.8, dtype=np.float32)
    return DepthMap(frame=np.array(frame), z=z, valid=valid, scale=ScaleKind.UP_TO_SCALE, confidence=sure)


def annotate_exactly(
    frames: FrameSource, file: ClipFile, unposed: tuple[int, ...] = (), *, metric: bool, depth: tuple[int, ...] = ()
) -> Annotation:
    """What annotate would write of a camera that slides right by 0.1 a frame and turns left by 1 degree a frame.

    `depth`: frames that have a map, of half the picture's size.
    """
    count, view = len(frames.view), frames.view
    angle = np.radians(-1.0) * np.arange(count)
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, 0, 0], poses[:, 0, 2], poses[:, 2, 0], poses[:, 2, 2] = (
        np.cos(angle), np.sin(angle), -np.sin(angle), np.cos(angle),
    )  # fmt: skip
    poses[:, 0, 3] = 0.1 * np.arange(count)
    posed = ~np.isin(np.arange(count), unposed)
    poses[~posed] = np.nan
    focal_px = FOCAL_PX * view.width / 64
    camera = Intrinsics(
        fx=focal_px, fy=focal_px, cx=view.width / 2, cy=view.height / 2, width=view.width, height=view.height
    )
    annotation = replace(
        bare(frames.clip, frames, file),
        no_trajectory=None,
        trajectory=Trajectory(world_from_cam=poses, time_s=view.time_s, posed=posed, scale=ScaleKind.UP_TO_SCALE),
        intrinsics=(camera,) * count,
        points=Points(
            xyz=np.array([[0.0, 0.0, 1.0], [0.3, 0.1, 1.2]]),
            rgb=np.zeros((2, 3), dtype=np.uint8),
            error_px=np.array([0.3, 0.5], dtype=np.float32),
            track_length=np.array([5, 9], dtype=np.int32),
        ),
        depth=depth_maps(depth, (view.height // 2, view.width // 2)) if depth else None,
    )
    if metric:
        vote = ScaleVote(cue="factor", value=2.0, sigma_log=0.0)
        annotation = annotation.to_metric(ScaleEstimate(value=2.0, low=2.0, high=2.0, votes=(vote,)))
    return judged(annotation)


def bare(clip: Clip, frames: FrameSource, file: ClipFile, reason: str = "static") -> Annotation:
    """The same without a trajectory."""
    return Annotation(
        clip=clip,
        view=frames.view,
        verdicts=(Verdict.measured("static_camera", 0.2, "diagonal/s"), Verdict.measured("hard_cut", 0.0, "cuts")),
        provenance=Provenance(
            tool_version="test", config_hash=config_hash(CONFIG), input_hash=file.content_hash, seed=0, backends=()
        ),
        no_trajectory=NoTrajectory(reason=reason, detail="made by hand"),
    )


def judged(annotation: Annotation) -> Annotation:
    """With the verdicts of the default trajectory filters."""
    measured = tuple(config.build("cpu").measure(annotation) for config in TRAJECTORY_FILTERS)
    return replace(annotation, verdicts=(*annotation.verdicts, *measured))


def make_corpus(
    folder: Path,
    *,
    clips: int = 3,
    frames: int = 24,
    size: tuple[int, int] = (64, 48),
    unposed: tuple[int, ...] = (),
    metric: bool = False,
    depth: tuple[int, ...] = (),
) -> Path:
    """`folder`/corpus of the clips in `folder`/clips, every one of them posed but for the frames `unposed`."""
    for number in range(clips):
        make_clip(folder / "clips" / f"clip{number}.mp4", number, frames, size)
    return annotate_folder(folder / "clips", folder / "corpus", unposed=unposed, metric=metric, depth=depth)


def annotate_folder(
    clips: Path,
    corpus: Path,
    *,
    unposed: tuple[int, ...] = (),
    metric: bool = False,
    config: AnnotateConfig = CONFIG,
    depth: tuple[int, ...] = (),
) -> Path:
    """A corpus of every clip below `clips`, as if the exact camera had been found."""
    store = Corpus.create_or_open(corpus, config_dict(config), config_hash(config), update=False)  # type: ignore[arg-type]
    for found in discover([clips]).clips:
        file = identify(found)
        annotation = annotate_exactly(open_source(file, config.video), file, unposed, metric=metric, depth=depth)
        provenance = replace(annotation.provenance, config_hash=config_hash(config))
        record(store, replace(annotation, provenance=provenance), file)
    return corpus


def record(store: Corpus, annotation: Annotation, file: ClipFile) -> None:
    """Put one annotation in the corpus as a run would."""
    store.write(annotation)
    store.append_ledger([LedgerRow.of(annotation, {})])
    store.write_sources([source_row(file)])


def source_row(file: ClipFile) -> SourceRow:
    """The sources.parquet row of an identified clip."""
    stat = Path(file.path).stat()
    return SourceRow(
        path=file.path,
        name=file.name,
        size_bytes=stat.st_size,
        mtime_ns=stat.st_mtime_ns,
        content_hash=file.content_hash,
        clip_id=file.clip_id,
    )


def make_shards(
    folder: Path,
    *,
    clips: int = 3,
    frames: int = 24,
    size: tuple[int, int] = (64, 48),
    unposed: tuple[int, ...] = (),
    metric: bool = False,
    depth: tuple[int, ...] = (),
    options: BuildOptions = BuildOptions(),
) -> Path:
    """`folder`/shards of `make_corpus`: a second or two, no pose engine, no network, no torch."""
    corpus = make_corpus(folder, clips=clips, frames=frames, size=size, unposed=unposed, metric=metric, depth=depth)
    summary = build_shards(corpus, folder / "shards", options)
    if summary.samples != clips:
        raise AssertionError(f"expected {clips} samples, got {summary}")
    return folder / "shards"
