"""A small corpus whose sources exist: image folders of numbered pictures, annotated by hand."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from tests.video_clips import numbered_picture
from wmkit.annotate.pipeline import config_dict
from wmkit.camera import Intrinsics, ScaleEstimate, ScaleKind, ScaleVote, Trajectory
from wmkit.clip import Annotation, BackendRecord, DepthMap, NoTrajectory, Points, Provenance, Verdict
from wmkit.corpus import Corpus, DeadLetter, LedgerRow, SourceRow, Status
from wmkit.video import ClipFile, FrameSource, VideoConfig, discover, identify, open_source

CONFIG_HASH = "c0ffee"
VIDEO = VideoConfig(image_fps=10.0, max_side=64)


def write_pictures(folder: Path, count: int, size: tuple[int, int] = (96, 72), first: int = 0) -> ClipFile:
    """Picture k of the folder carries the number first + k; `size` is (width, height) px."""
    folder.mkdir(parents=True)
    for index in range(count):
        cv2.imwrite(str(folder / f"{index:03d}.png"), numbered_picture(first + index, *size)[:, :, ::-1])
    (found,) = discover([folder]).clips
    return identify(found)


def posed(frames: FrameSource, metric: bool = False) -> Annotation:
    """A quarter circle with one frame unposed, covariance, points and two depth maps that are half invalid."""
    count, view = len(frames.view), frames.view
    turn = np.linspace(0, np.pi / 2, count)
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, 0, 0] = poses[:, 2, 2] = np.cos(turn)
    poses[:, 0, 2], poses[:, 2, 0] = np.sin(turn), -np.sin(turn)
    poses[:, 0, 3], poses[:, 2, 3] = 1 - np.cos(turn), np.sin(turn)
    flags = np.ones(count, dtype=bool)
    flags[count // 2] = False
    poses[~flags] = np.nan
    covariance = np.tile(np.diag([1e-6] * 3 + [1e-4, 1e-6, 4e-4]), (count, 1, 1))
    covariance[0], covariance[~flags] = 0, np.nan
    depth = np.ones((2, 12, 16), dtype=np.float32)
    depth[:, :6] = 4
    valid = np.ones(depth.shape, dtype=bool)
    valid[:, :, 8:] = False
    annotation = Annotation(
        clip=frames.clip,
        view=view,
        verdicts=(
            Verdict.measured("posed_ratio", float(flags.mean()), ""),
            Verdict.unmeasured("reprojection_px", "px", "no_points"),
        ),
        provenance=provenance(),
        trajectory=Trajectory(
            world_from_cam=poses,
            time_s=view.time_s,
            posed=flags,
            scale=ScaleKind.UP_TO_SCALE,
            covariance=covariance,
        ),
        intrinsics=(Intrinsics.from_fov(60, view.width, view.height),) * count,
        points=Points(
            xyz=np.random.default_rng(0).normal(size=(40, 3)),
            rgb=np.zeros((40, 3), dtype=np.uint8),
            error_px=np.ones(40, dtype=np.float32),
            track_length=np.full(40, 2, dtype=np.int32),
        ),
        depth=DepthMap(frame=np.array([1, count - 1]), z=depth, valid=valid, scale=ScaleKind.UP_TO_SCALE),
    )
    if not metric:
        return annotation
    vote = ScaleVote(cue="camera_height", value=2.0, sigma_log=0.05)
    return annotation.to_metric(ScaleEstimate(value=2.0, low=1.8, high=2.2, votes=(vote,)))


def still(frames: FrameSource) -> Annotation:
    """No trajectory, one verdict."""
    return Annotation(
        clip=frames.clip,
        view=frames.view,
        verdicts=(Verdict.unmeasured("posed_ratio", "", "no_trajectory: static"),),
        provenance=provenance(),
        no_trajectory=NoTrajectory(reason="static", detail="the camera does not move"),
    )


def provenance() -> Provenance:
    record = BackendRecord(part="pose", name="by_hand", version="0", licence="Apache-2.0")
    return Provenance(tool_version="0", config_hash=CONFIG_HASH, input_hash="1f" * 32, seed=0, backends=(record,))


def new_corpus(path: Path) -> Corpus:
    """No clips yet; the config names the video settings of these samples."""
    config = {"video": config_dict(VIDEO), "note": "</script><script>alert(1)</script>"}
    return Corpus.create_or_open(path, config, CONFIG_HASH, update=False)


def add(corpus: Corpus, file: ClipFile, annotation: Annotation, core_s: float = 1.0) -> LedgerRow:
    """Write a clip and its ledger row."""
    annotation = dataclasses.replace(
        annotation, clip=dataclasses.replace(annotation.clip, source=file.name, id=file.clip_id)
    )
    corpus.write(annotation)
    row = LedgerRow.of(annotation, {"decode": core_s / 4, "filter.fov_x": core_s / 4, "pose": core_s / 2})
    corpus.append_ledger([row])
    return row


def failed_row(number: int, code: str = "timeout", source: str = "") -> LedgerRow:
    """A failure in the pose stage."""
    return LedgerRow(
        clip_id=f"{number:032x}",
        source=source or f"clip_{number}.mp4",
        status=Status.FAILED,
        stage="pose",
        code=code,
        message=f"expected an end, got {code}",
    )


def letter_of(row: LedgerRow, command: str = "wmkit annotate clip.mp4 --out corpus") -> DeadLetter:
    """Its dead letter."""
    return DeadLetter(
        clip_id=row.clip_id,
        source=row.source,
        path=f"/in/{row.source}",
        stage=row.stage,
        code=row.code,
        message=row.message,
        traceback="Traceback (most recent call last): <module>",
        command=command,
        attempt=2,
        config_hash=CONFIG_HASH,
    )


def sources_of(files: Sequence[ClipFile]) -> list[SourceRow]:
    """One row a file."""
    return [
        SourceRow(
            path=file.path,
            name=file.name,
            size_bytes=1,
            mtime_ns=1,
            content_hash=file.content_hash,
            clip_id=file.clip_id,
        )
        for file in files
    ]


def opened(file: ClipFile) -> FrameSource:
    """Its frames under the samples' video settings."""
    return open_source(file, VIDEO)
