"""A corpus on disk to every format and back through independent readers; every source accounted for."""

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from wmkit.annotate.export import EXPORT_FORMATS, export_corpus
from wmkit.annotate.pipeline import config_dict
from wmkit.camera import Intrinsics, ScaleKind, Trajectory
from wmkit.clip import Annotation, DepthMap, DynamicMask, NoTrajectory, Points, Provenance
from wmkit.corpus import Corpus, LedgerRow, SourceRow, Status
from wmkit.errors import ClipError, InputError
from wmkit.formats.colmap import read_colmap
from wmkit.formats.kitti import read_kitti
from wmkit.formats.nerfstudio import read_nerfstudio
from wmkit.formats.re10k import read_re10k
from wmkit.formats.tum import read_tum
from wmkit.formats.vipe import read_vipe
from wmkit.video import ClipFile, VideoConfig, discover, identify, open_source
from wmkit.video.encode import write_mp4

CONFIG = VideoConfig()
FRAMES = 8
POSED = np.array([1, 1, 0, 1, 1, 1, 0, 1], np.bool_)
FORMATS_HERE = [name for name in EXPORT_FORMATS if name != "rerun"]  # rerun needs its extra; tested below


def pictures(width: int, height: int, seed: int) -> Iterator[np.ndarray]:
    """Smooth moving colours, so that lossy coding changes little."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    for index in range(FRAMES):
        waves = [np.sin((x + y * k + seed + 3 * index) / (6 + k)) for k in range(3)]
        yield (127 + 100 * np.stack(waves, axis=-1)).astype(np.uint8)


def annotate(file: ClipFile, trajectory: bool) -> Annotation:
    """What an annotator would have said of this file."""
    frames = open_source(file, CONFIG)
    view, rng = frames.view, np.random.default_rng(1)
    poses = np.tile(np.eye(4), (len(view), 1, 1))
    poses[:, :3, :3] = Rotation.from_rotvec(rng.normal(0, 0.3, (len(view), 3))).as_matrix()
    poses[:, :3, 3] = rng.normal(0, 1, (len(view), 3))
    poses[~POSED] = np.nan
    bare = Annotation(
        clip=frames.clip,
        view=view,
        verdicts=(),
        provenance=Provenance(tool_version="0", config_hash="c", input_hash=file.content_hash, seed=0, backends=()),
        no_trajectory=NoTrajectory(reason="static", detail="the camera does not move"),
    )
    if not trajectory:
        return bare
    return dataclasses.replace(
        bare,
        no_trajectory=None,
        trajectory=Trajectory(world_from_cam=poses, time_s=view.time_s, posed=POSED, scale=ScaleKind.UP_TO_SCALE),
        intrinsics=(Intrinsics.from_fov(60, view.width, view.height),) * len(view),
        points=Points(
            xyz=rng.normal(size=(3, 3)),
            rgb=np.full((3, 3), 9, np.uint8),
            error_px=np.ones(3, np.float32),
            track_length=np.full(3, 4, np.int32),
        ),
        depth=depth_of(view.height // 2, view.width // 2),
        dynamic=DynamicMask(frame=np.array([1, 2, 5]), mask=rng.random((3, 3, 4)) < 0.5),
    )


def depth_of(height: int, width: int) -> DepthMap:
    """Of a posed frame, one without a pose and another posed one; deeper than 65 units in one corner of the last."""
    z = np.random.default_rng(2).uniform(0.5, 4.0, (3, height, width)).astype(np.float32)
    valid = np.random.default_rng(3).random(z.shape) < 0.8
    z[2, :2, :2], valid[2, :2, :2] = 99.0, True
    return DepthMap(frame=np.array([1, 2, 5]), z=z, valid=valid, scale=ScaleKind.UP_TO_SCALE)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with `in/` (clips) and `corpus/`: posed video, its copy, an odd-sized image folder, static, broken."""
    root = tmp_path_factory.mktemp("export")
    (root / "in" / "walks").mkdir(parents=True)
    write_mp4(root / "in" / "walks" / "one.mp4", pictures(64, 48, 0), 16, (64, 48))
    shutil.copy(root / "in" / "walks" / "one.mp4", root / "in" / "walks" / "one.mov")
    write_mp4(root / "in" / "still.mp4", pictures(64, 48, 5), 16, (64, 48))
    (root / "in" / "broken.mp4").write_text("no video")
    (root / "in" / "images").mkdir()
    for index, picture in enumerate(pictures(33, 25, 9)):
        cv2.imwrite(str(root / "in" / "images" / f"{index:03d}.png"), picture[:, :, ::-1])
    config = {"video": cast("dict[str, Any]", config_dict(CONFIG))}
    corpus = Corpus.create_or_open(root / "corpus", config, "c", update=False)
    rows, ledger = [], {}
    with corpus.lock():
        for found in discover([root / "in"]).clips:
            file = identify(found)
            rows.append(
                SourceRow(
                    path=file.path,
                    name=file.name,
                    size_bytes=found.size_bytes,
                    mtime_ns=found.mtime_ns,
                    content_hash=file.content_hash,
                    clip_id=file.clip_id,
                )
            )
            try:
                annotation = annotate(file, trajectory="still" not in file.name)
                corpus.write(annotation)
                ledger[file.clip_id] = LedgerRow.of(annotation, {})
            except ClipError as error:
                ledger[file.clip_id] = LedgerRow(
                    clip_id=file.clip_id,
                    source=file.name,
                    status=Status.FAILED,
                    stage=error.stage,
                    code=error.code,
                    message=error.message,
                )
        later = dataclasses.replace(rows[0], path=f"{root}/in/later.mp4", name="later.mp4", clip_id="f" * 32)
        corpus.write_sources([*rows, later])
        corpus.append_ledger(list(ledger.values()))
    return root


@pytest.fixture
def truth(made: Path) -> Annotation:
    (clip_id,) = {row.clip_id for row in Corpus.open(made / "corpus").sources() if row.name == "walks/one.mp4"}
    return Corpus.open(made / "corpus").read(clip_id)


def document(out: Path) -> dict[str, Any]:
    return json.loads((out / "export.json").read_text())


def poses_of(annotation: Annotation) -> np.ndarray:
    assert annotation.trajectory is not None
    return annotation.trajectory.world_from_cam[POSED]


def times_of(annotation: Annotation) -> np.ndarray:
    assert annotation.trajectory is not None
    return annotation.trajectory.time_s[POSED]


@pytest.mark.parametrize("file_format", FORMATS_HERE)
def test_every_source_is_accounted_for(made: Path, tmp_path: Path, file_format: str) -> None:
    summary = export_corpus(made / "corpus", file_format, tmp_path / "out")
    listed = {entry["source"]: entry for entry in document(tmp_path / "out")["sources"]}
    assert list(listed) == ["broken.mp4", "images", "later.mp4", "still.mp4", "walks/one.mov", "walks/one.mp4"]
    assert [listed[name]["name"] for name in ("images", "walks/one.mov", "walks/one.mp4")] == [
        "images",
        "walks__one.mov",
        "walks__one.mp4",
    ]
    for source in ("broken.mp4", "later.mp4", "still.mp4"):
        assert listed[source]["files"] == []
    assert listed["still.mp4"]["left_out"][0]["reason"] == "no trajectory: static"
    assert listed["later.mp4"]["status"] == "unfinished"
    assert listed["broken.mp4"]["left_out"][0]["reason"].startswith("failed: decode/")
    assert (summary.sources, summary.exported, sum(summary.left_out.values())) == (6, 3, 3)
    good = listed["walks/one.mp4"]
    assert (good["frames"], good["posed_frames"], good["scale"]) == (8, 6, "up_to_scale")
    assert good["left_out"][0] == {"what": "2 frames", "reason": "they have no pose", "detail": ""}
    assert good["id"] == listed["walks/one.mov"]["id"]
    written = {path for entry in listed.values() for path in entry["files"]}
    for path in (tmp_path / "out").rglob("*"):
        if path.is_file() and path.name != "export.json":
            relative = path.relative_to(tmp_path / "out").as_posix()
            assert relative in written or any(relative.startswith(f) for f in written if f.endswith("/"))
    for name in written:
        assert (tmp_path / "out" / name).exists()


def test_tum_times_are_the_clips_own(made: Path, tmp_path: Path, truth: Annotation) -> None:
    from evo.tools import file_interface

    export_corpus(made / "corpus", "tum", tmp_path)
    theirs = file_interface.read_tum_trajectory_file(str(tmp_path / "walks__one.mp4.txt"))
    np.testing.assert_array_equal(theirs.timestamps, times_of(truth))
    np.testing.assert_allclose(np.array(theirs.poses_se3), poses_of(truth), atol=1e-12)
    assert (tmp_path / "walks__one.mp4.txt").read_text() == (tmp_path / "walks__one.mov.txt").read_text()
    np.testing.assert_array_equal(read_tum(tmp_path / "images.txt").time_s, np.flatnonzero(POSED) / 16)


def test_kitti_keeps_the_frame_of_every_line(made: Path, tmp_path: Path, truth: Annotation) -> None:
    from evo.tools import file_interface

    export_corpus(made / "corpus", "kitti", tmp_path)
    theirs = file_interface.read_kitti_poses_file(str(tmp_path / "walks__one.mp4.txt"))
    np.testing.assert_array_equal(np.array(theirs.poses_se3), poses_of(truth))
    ours = read_kitti(tmp_path / "walks__one.mp4.txt")
    assert ours.frame is not None
    np.testing.assert_array_equal(ours.frame, np.flatnonzero(POSED))


def test_re10k_says_where_the_clip_came_from(made: Path, tmp_path: Path, truth: Annotation) -> None:
    export_corpus(made / "corpus", "re10k", tmp_path)
    path = tmp_path / "walks__one.mp4.txt"
    assert path.read_text().splitlines()[0] == "walks/one.mp4"
    ours = read_re10k(path, 64, 48)
    np.testing.assert_allclose(ours.world_from_cam, poses_of(truth), atol=1e-12)
    assert ours.intrinsics_px is not None
    np.testing.assert_allclose(ours.intrinsics_px, truth.intrinsics_rows[POSED], rtol=1e-14)


def assert_pictures(folder: Path, names: tuple[str, ...] | None, expected: list[np.ndarray]) -> None:
    """JPEGs, in name order, show the posed frames of the source."""
    assert names is not None
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    for name, index in zip(sorted(names), np.flatnonzero(POSED), strict=True):
        picture = cv2.imread(str(folder / name))
        assert picture is not None
        assert picture.shape == expected[index].shape
        # H.264 and JPEG of smooth colours: a few levels; the next frame over differs by more than 15 on average
        assert np.abs(picture[:, :, ::-1].astype(int) - expected[index]).mean() < 6


def test_colmap_in_pycolmap_with_its_pictures(made: Path, tmp_path: Path, truth: Annotation) -> None:
    import zlib  # noqa: F401  # before pycolmap: some import orders crash

    import pycolmap

    export_corpus(made / "corpus", "colmap", tmp_path)
    folder = tmp_path / "walks__one.mp4"
    model = pycolmap.Reconstruction(str(folder / "sparse" / "0"))
    assert (model.num_reg_images(), model.num_points3D(), model.num_cameras()) == (6, 3, 1)
    centres = [image.projection_center() for image in sorted(model.images.values(), key=lambda image: image.name)]
    np.testing.assert_allclose(centres, poses_of(truth)[:, :3, 3], atol=1e-12)
    assert_pictures(folder / "images", read_colmap(folder / "sparse" / "0").names, list(pictures(64, 48, 0)))


def test_nerfstudio_with_its_pictures(made: Path, tmp_path: Path) -> None:
    export_corpus(made / "corpus", "nerfstudio", tmp_path)
    track = read_nerfstudio(tmp_path / "images" / "transforms.json")
    assert track.metric is False
    assert_pictures(tmp_path / "images" / "images", track.names, list(pictures(33, 25, 9)))
    for frame in json.loads((tmp_path / "images" / "transforms.json").read_text())["frames"]:
        assert (tmp_path / "images" / frame["file_path"]).exists()


def test_colmap_depth_by_its_own_readers_rules(made: Path, tmp_path: Path, truth: Annotation) -> None:
    export_corpus(made / "corpus", "colmap", tmp_path)
    folder = tmp_path / "walks__one.mp4"
    maps = sorted((folder / "stereo" / "depth_maps").iterdir())
    assert [path.name for path in maps] == ["frame_000001.jpg.geometric.bin", "frame_000005.jpg.geometric.bin"]
    assert truth.depth is not None
    for path, place in zip(maps, (0, 2), strict=True):
        width, height, channels, body = path.read_bytes().split(b"&", 3)  # scripts/python/read_write_dense.py
        shape = (int(width), int(height), int(channels))
        z = np.transpose(np.frombuffer(body, np.float32).reshape(shape, order="F"), (1, 0, 2)).squeeze()
        np.testing.assert_array_equal(z, truth.depth.z[place])
    assert truth.dynamic is not None
    masks = sorted((folder / "masks").iterdir())
    assert [path.name for path in masks] == ["frame_000001.jpg.png", "frame_000005.jpg.png"]
    shown = cv2.imread(str(masks[1]), cv2.IMREAD_UNCHANGED)
    assert shown is not None
    np.testing.assert_array_equal(shown == 0, np.kron(truth.dynamic.mask[2], np.ones((16, 16), bool)))


def test_nerfstudio_depth_has_a_file_for_every_frame(made: Path, tmp_path: Path, truth: Annotation) -> None:
    export_corpus(made / "corpus", "nerfstudio", tmp_path)
    folder = tmp_path / "walks__one.mp4"
    frames = json.loads((folder / "transforms.json").read_text())["frames"]
    assert len(frames) == POSED.sum()
    assert truth.depth is not None
    for frame in frames:
        picture = cv2.imread(str(folder / frame["depth_file_path"]), cv2.IMREAD_UNCHANGED)
        mask = cv2.imread(str(folder / frame["mask_path"]), cv2.IMREAD_UNCHANGED)
        assert picture is not None
        assert mask is not None
        assert picture.dtype == np.uint16
        assert picture.shape == mask.shape == (48, 64)
        index = int(frame["file_path"][-10:-4])
        place = {1: 0, 5: 2}.get(index)
        assert (place is None) == (not picture.any()) == bool(mask.all())
        if place is not None:
            z = np.kron(truth.depth.z[place], np.ones((2, 2), np.float32))
            kept = z < 65.535
            assert (~kept).sum() == (16 if place else 0)
            assert not picture[~kept].any()
            np.testing.assert_allclose(picture[kept] * 1e-3, z[kept], atol=0.5001e-3)
    listed = {entry["name"]: entry for entry in document(tmp_path)["sources"]}
    left_out = listed["walks__one.mp4"]["left_out"]
    assert {"what": "depth of 16 pixels", "reason": "beyond 65.535 units", "detail": ""} in left_out


def test_vipe_indices_count_the_frames_of_its_video(made: Path, tmp_path: Path, truth: Annotation) -> None:
    import av

    export_corpus(made / "corpus", "vipe", tmp_path)
    track = read_vipe(tmp_path, "walks__one.mp4", 64, 48)
    np.testing.assert_array_equal(track.world_from_cam, poses_of(truth))
    for name, size, expected in (
        ("walks__one.mp4", (48, 64), pictures(64, 48, 0)),
        ("images", (26, 34), pictures(33, 25, 9)),
    ):
        with av.open(str(tmp_path / "rgb" / f"{name}.mp4")) as container:
            shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert len(shown) == FRAMES
        for got, want in zip(shown, expected, strict=True):
            assert got.shape == (*size, 3)
            assert np.abs(got[: want.shape[0], : want.shape[1]].astype(int) - want).mean() < 8
    assert track.frame is not None
    np.testing.assert_array_equal(track.frame, np.flatnonzero(POSED))
    (odd,) = [entry for entry in document(tmp_path)["sources"] if entry["source"] == "images"]
    assert {
        "what": "odd image size",
        "reason": "H.264 needs even sizes",
        "detail": "last row or column repeated to 34x26",
    } in odd["left_out"]


@pytest.fixture
def moved(made: Path, tmp_path: Path) -> Path:
    """A copy whose sources may be harmed: corpus rows point into it."""
    root = tmp_path / "copy"
    shutil.copytree(made, root)
    corpus = Corpus.open(root / "corpus")
    rows = [dataclasses.replace(row, path=row.path.replace(str(made), str(root))) for row in corpus.sources()]
    (root / "corpus" / "sources.parquet").unlink()
    with corpus.lock():
        corpus.write_sources(rows)
    return root


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda path: path.unlink(), "source cannot be read"),
        (lambda path: path.write_text("other bytes"), "source has changed since it was annotated"),
    ],
)
def test_cameras_survive_a_lost_source(moved: Path, tmp_path: Path, harm, reason: str) -> None:
    harm(moved / "in" / "walks" / "one.mp4")
    summary = export_corpus(moved / "corpus", "colmap", tmp_path / "out")
    listed = {entry["source"]: entry for entry in document(tmp_path / "out")["sources"]}
    entry = listed["walks/one.mp4"]
    kept = ["sparse/0/", "stereo/depth_maps/", "masks/"]
    assert entry["files"] == [f"walks__one.mp4/{name}" for name in kept]
    assert [item["reason"] for item in entry["left_out"] if item["what"] == "images"] == [reason]
    assert len(listed["walks/one.mov"]["files"]) == 4  # its twin has the pictures still
    assert summary.exported == 3


def test_other_sampling_gives_no_pictures(moved: Path, tmp_path: Path) -> None:
    head = json.loads((moved / "corpus" / "corpus.json").read_text())
    head["config"]["video"]["max_side"] = 32
    (moved / "corpus" / "corpus.json").write_text(json.dumps(head))
    export_corpus(moved / "corpus", "nerfstudio", tmp_path / "out")
    (entry,) = [entry for entry in document(tmp_path / "out")["sources"] if entry["source"] == "walks/one.mp4"]
    assert entry["left_out"][-1]["reason"] == "source gives other frames than were annotated"


def test_a_damaged_clip_costs_itself_alone(moved: Path, tmp_path: Path) -> None:
    corpus = Corpus.open(moved / "corpus")
    (row,) = [row for row in corpus.sources() if row.name == "images"]
    (corpus.folder(row.clip_id) / "trajectory.npz").write_bytes(b"half a fi")
    summary = export_corpus(moved / "corpus", "tum", tmp_path / "out")
    assert (summary.exported, summary.left_out["damaged"]) == (2, 1)
    (entry,) = [entry for entry in document(tmp_path / "out")["sources"] if entry["source"] == "images"]
    assert entry["status"] == "damaged"


@pytest.mark.parametrize("file_format", ["tum", "colmap", "nerfstudio", "vipe"])
def test_two_exports_are_the_same_bytes(made: Path, tmp_path: Path, file_format: str) -> None:
    contents = []
    for name in ("a", "b"):
        export_corpus(made / "corpus", file_format, tmp_path / name)
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        contents.append([(path.relative_to(tmp_path / name), path.read_bytes()) for path in files])
    assert contents[0] == contents[1]


def test_bad_requests(made: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected one of tum, kitti"):
        export_corpus(made / "corpus", "bvh", tmp_path / "out")
    with pytest.raises(InputError):
        export_corpus(tmp_path / "nothing", "tum", tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("precious")
    with pytest.raises(InputError, match=r"empty or new folder, it holds mine\.txt"):
        export_corpus(made / "corpus", "tum", tmp_path / "full")
    with pytest.raises(InputError, match="a folder that can be written"):
        export_corpus(made / "corpus", "tum", tmp_path / "full" / "mine.txt")
    assert (tmp_path / "full" / "mine.txt").read_text() == "precious"
    assert not (tmp_path / "out").exists()  # nothing is made for a request that cannot be met


def test_rerun(made: Path, tmp_path: Path) -> None:
    pytest.importorskip("rerun", reason="needs the extra wmkit[rerun]")
    summary = export_corpus(made / "corpus", "rerun", tmp_path)
    assert summary.exported == 3
    assert (tmp_path / "walks__one.mp4.rrd").stat().st_size > 1000
