"""The learning half of `make gpu`: what is rendered, what a GPU machine leaves behind, and how that is judged."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks import gpu_learn
from benchmarks.gpu_learn import CLIP_FRAMES, DRY, FPS, HELD, WAYS, Drift, judge, learn_rows, rendered
from wmkit.evaluate.scenes import read_scenes
from wmkit.formats.any import read_trajectory


def test_paths_stay_inside_the_room_and_repeat() -> None:
    starts = set()
    for seed in range(20):
        path = Drift(seed=seed).sample(CLIP_FRAMES, FPS).world_from_cam
        assert np.array_equal(path, Drift(seed=seed).sample(CLIP_FRAMES, FPS).world_from_cam)
        # x in [-2, 2], 0 to 2.6 m above the floor, z in [-1.5, 3]
        assert (np.abs(path[:, :3, 3] - (0.0, -1.3, 0.75)) < (1.0, 0.3, 1.0)).all()
        starts.add(tuple(path[0, :3, 3]))
    assert len(starts) == 20


def test_a_crop_is_frames_with_their_cameras() -> None:
    clips = rendered((0, HELD), 16, "cpu")
    again = rendered((0, HELD), 16, "cpu")
    assert torch.equal(clips.rgb, again.rgb)
    assert clips.rgb.shape == (2, CLIP_FRAMES, 16, 16, 3)
    assert clips.rgb.float().std() > 40, "a room of one grey would teach nothing"
    crops = clips.crops([1, 0], [0, 5], 4)
    assert torch.equal(((crops.video[1, 2].permute(1, 2, 0) + 1) * 127.5).round().byte(), clips.rgb[0, 7])
    assert torch.equal(crops.world_from_cam[:, 0], torch.eye(4).expand(2, 4, 4))
    wanted = np.linalg.inv(clips.world_from_cam[0, 5]) @ clips.world_from_cam[0, 8]
    np.testing.assert_allclose(crops.world_from_cam[1, 3].numpy(), wanted, atol=1e-6)  # float32 of at most 2 m


def test_what_is_left_behind_can_be_judged(tmp_path: Path) -> None:
    """With tiny numbers; a second call goes on from the run that is there."""
    first, second = list(learn_rows(DRY, tmp_path)), list(learn_rows(DRY, tmp_path))
    assert [row["figure"] for row in first] == ["learn train", "learn samples"]
    assert first[0]["steps"] == second[0]["steps"] == 3
    assert "step_ms" not in first[0], "no figure without a GPU"
    assert first[1] == second[1]
    scenes = read_scenes(tmp_path / "requested")
    assert [scene.id for scene in scenes] == ["held_0", "held_1"]
    path = Drift(seed=HELD).sample(CLIP_FRAMES, FPS).world_from_cam
    track = read_trajectory(scenes[0].cameras)
    np.testing.assert_allclose(track.world_from_cam, path[:5])
    arrays = {way: np.load(tmp_path / way / "held_0.npy", allow_pickle=False) for way in WAYS}
    assert {(video.shape, video.dtype.name) for video in arrays.values()} == {((5, 16, 16, 3), "uint8")}
    np.testing.assert_array_equal(arrays["true"][0], arrays["rendered"][0])


@pytest.mark.parametrize(
    ("true", "shuffled", "lost", "code"),
    [(0.2, 0.5, 0, 0), (0.3, 0.5, 0, 1), (0.2, 0.5, 1, 0), (0.1, 0.5, 2, 1), (0.1, 0.5, 4, 1)],
)
def test_half_of_the_errors_in_half_of_the_scenes_at_least(
    true: float,
    shuffled: float,
    lost: int,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    values = {"true": true, "shuffled": shuffled, "rendered": 0.01}

    def stand_in(videos: Path, folder: Path, note: object) -> SimpleNamespace:
        metric = SimpleNamespace(value=values[videos.name])
        reports = {
            f"held_{n}": SimpleNamespace(metrics=dict.fromkeys(gpu_learn.JUDGED, metric), problem="") for n in range(3)
        }
        if videos.name == "shuffled":
            reports |= {f"held_{n}": SimpleNamespace(metrics={}, problem="static") for n in range(min(lost, 3))}
        return SimpleNamespace(reports=reports, means=dict)

    monkeypatch.setattr("wmkit.evaluate.benchmark.eval_benchmark", stand_in)
    assert judge(tmp_path) == code
    verdict = json.loads(capsys.readouterr().out.splitlines()[3])
    assert (verdict["both"], verdict["passes"]) == (max(3 - lost, 0), code == 0)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_model_that_followed_its_cameras_exactly_would_pass(tmp_path: Path) -> None:
    """Rendered clips in the samples' place: those of the cameras asked for, and those of another clip's."""
    held = rendered(range(HELD, HELD + 4), 96, "cpu")
    own = held.world_from_cam[:, :17]
    relative = np.stack([np.linalg.inv(path[:1]) @ path for path in own])
    frames = []
    for first, cameras in zip(own[:, :1], np.roll(relative, 1, axis=0), strict=True):
        shown = gpu_learn.render(gpu_learn.BlockRoom().build(), held.camera, first @ cameras, "numpy")
        frames.append(np.stack([frame.rgb for frame in shown]))
    made = {"rendered": held.rgb[:, :17], "true": held.rgb[:, :17], "shuffled": torch.from_numpy(np.stack(frames))}
    gpu_learn.write_samples(tmp_path, held, made)
    assert judge(tmp_path) == 0
