"""Captions and cameras that are left out now and then, by draws that are a pure function of seed and step."""

import pytest
import torch

from tests.train_doubles import batch_of, run, small_config
from wmkit.errors import ConfigError
from wmkit.train.condition import conditions

TEXT = 'model.text={"channels": 8, "tokens": 4}'


def test_without_text_or_dropout_there_are_cameras_alone() -> None:
    seen = conditions(batch_of(0), small_config(), 0)
    assert seen.text is None
    assert seen.cameras is not None


def test_a_dropped_caption_is_an_empty_one() -> None:
    all_kept = conditions(batch_of(0), small_config(TEXT, "condition.text_dropout=0"), 0).text
    none_kept = conditions(batch_of(0), small_config(TEXT, "condition.text_dropout=1"), 0).text
    assert all_kept is not None
    assert none_kept is not None
    assert all_kept.mask.sum(dim=1).tolist() == [4, 3]
    assert none_kept.mask.sum(dim=1).tolist() == [1, 1]


@pytest.mark.parametrize(("key", "of"), [("text_dropout", 2), ("camera_dropout", 1)])
def test_shares_are_kept_and_repeat(key: str, of: int) -> None:
    config = small_config(TEXT, f"condition.{key}=0.25")

    def dropped(step: int) -> int:
        seen = conditions(batch_of(0), config, step)
        assert seen.text is not None
        return int((seen.text.mask.sum(dim=1) == 1).sum()) if key == "text_dropout" else int(seen.cameras is None)

    counts = [dropped(step) for step in range(400)]
    assert counts == [dropped(step) for step in range(400)]
    # 400 to 800 draws of probability 1/4: the standard error of the share is 0.022 at most, tolerance 4 of them
    assert sum(counts) / (400 * of) == pytest.approx(0.25, abs=0.09 if of == 1 else 0.065)


@pytest.mark.parametrize("setting", ["condition.text_dropout=1.5", "condition.camera_dropout=-0.1",
                                     "objective.first_clean=2", "objective.mixture=[0.5,0.5,0.5,0]",
                                     "objective.chunk_frames=-1", "optimizer.ema_decay=1"])  # fmt: skip
def test_shares_out_of_range(setting: str) -> None:
    with pytest.raises(ConfigError, match=setting.partition("=")[0].partition(".")[2]):
        small_config(setting)


def test_a_run_with_everything_resumes_bit_for_bit(tmp_path) -> None:
    """Text, both dropouts, chunks, a picture that is not always given, running mean: four steps, and two plus two."""
    settings = (TEXT, "condition.text_dropout=0.5", "condition.camera_dropout=0.3", "objective.chunk_frames=1",
                "objective.first_clean=0.5", "optimizer.ema_decay=0.9")  # fmt: skip
    whole = run(tmp_path / "a", *settings, "steps=4")
    run(tmp_path / "b", *settings, "steps=2")
    resumed = run(tmp_path / "b", *settings, "steps=4", resume=True)
    assert resumed.resumed == 2
    names = sorted(path.name for path in whole.checkpoint.iterdir())
    assert "ema.safetensors" in names
    for name in names:
        assert (whole.checkpoint / name).read_bytes() == (resumed.checkpoint / name).read_bytes(), name


def test_the_running_mean_is_what_it_says(tmp_path) -> None:
    """At step n its weight of the past is (1 + n) / (10 + n) until that exceeds the decay."""
    from safetensors.torch import load_file

    from wmkit.train.checkpoint import build_model, load_model

    config = small_config("optimizer.ema_decay=0.15", "steps=3", "save_every=1", "keep=3")
    done = run(tmp_path / "run", "optimizer.ema_decay=0.15", "steps=3", "save_every=1", "keep=3")
    name = "final_layer.linear.weight"
    mean = build_model(config.model, config.seed).state_dict()[name].clone()
    for step, decay in enumerate((0.1, 0.15, 0.15)):
        folder = done.checkpoint.with_name(f"step-{step + 1:06d}")
        mean = decay * mean + (1 - decay) * load_file(folder / "model.safetensors")[name]
    stored = load_file(done.checkpoint / "ema.safetensors")[name]
    torch.testing.assert_close(stored, mean)  # float32: lerp and the two products round apart
    assert torch.equal(load_model(done.checkpoint)[0].state_dict()[name], stored)
