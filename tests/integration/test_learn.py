"""`make learn`: the judge tells a model that uses its cameras from one that does not."""

from pathlib import Path

import cv2
import numpy as np
import torch

from tests.shard_samples import make_shards
from wmkit.demo.learn import Grade, LearnOptions, Wander, grade, learn_config
from wmkit.train.checkpoint import build_model


def test_the_path_wanders_inside_the_room_and_repeats() -> None:
    starts = []
    for seed in range(20):
        path = Wander(seed=seed).sample(33, 4.0).trajectory()
        assert np.array_equal(path.world_from_cam, Wander(seed=seed).sample(33, 4.0).world_from_cam)
        # The room is 4 x 2.6 x 4.5 m; from its middle, walls are 2, 1 and 2.25 m away.
        assert (np.abs(path.position) < [1.5, 0.5, 1.5]).all()
        assert np.linalg.norm(np.diff(path.position, axis=0), axis=1).max() <= 2.0 / 4
        starts.append(path.position[0])
    assert len({tuple(start) for start in starts}) == 20


def test_a_model_that_saw_nothing_is_no_proof(tmp_path: Path) -> None:
    """Its camera branches begin as none, so that all cameras are the same to it."""
    shards = make_shards(tmp_path, clips=2)
    config = learn_config().with_settings(["model.width=16", "model.heads=2", "model.depth=2"])
    model = build_model(config.model, 0).eval()
    verdict = grade(model, config, shards, LearnOptions(judged=4, sample_steps=2))
    assert verdict.loss["true"] == verdict.loss["shuffled"] == verdict.loss["static"]
    assert verdict.psnr_db["true"] == verdict.psnr_db["static"]
    assert len(verdict.misses) == 3
    assert verdict.lines()[-3:] == verdict.misses

    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    moved = grade(model, config, shards, LearnOptions(judged=4, sample_steps=2))
    assert len(set(moved.loss.values())) == 3, "a model that does read them answers each otherwise"


def test_what_is_a_proof() -> None:
    loss, psnr_db = {"true": 0.1, "shuffled": 0.3, "static": 0.2}, {"true": 15.0, "shuffled": 11.0, "static": 11.0}
    good = Grade(steps=1, loss=loss, psnr_db=psnr_db | {"repeat": 12.0})
    assert good.misses == []
    assert len(Grade(steps=1, loss=loss | {"static": 0.16}, psnr_db=psnr_db | {"repeat": 13.5}).misses) == 2


def test_what_was_before_is_told_first() -> None:
    loss = {"true": 0.1, "shuffled": 0.3, "static": 0.2}
    told = Grade(steps=300, loss=loss, psnr_db=loss | {"repeat": 0.05}, curve={200: loss, 100: loss}).lines()
    assert [line.split()[:3] for line in told[:2]] == [["loss", "after", "100"], ["loss", "after", "200"]]
    assert told[2].split()[:2] == ["300", "steps"]


def test_the_room_is_told_apart_at_the_size_it_is_learnt_at() -> None:
    """Shrunk to 16 px, a frame and the one a second later differ, or standing still would be a good guess."""
    from wmkit.demo.learn import _clip

    clip = _clip(0)
    frames = [cv2.resize(frame.rgb, (16, 16), interpolation=cv2.INTER_AREA) for frame in clip.render("numpy")]
    video = np.stack(frames).astype(np.float64) / 255
    assert video.std() > 0.18  # a third of what black and white halves have, at the least
    later = np.square(video[4:] - video[:-4]).mean()
    assert -10 * np.log10(later) < 13
