"""What a run shows while it goes changes none of its weights: event files, videos of training clips."""

import dataclasses
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from tests.train_doubles import FACTS, batch_of, small_config
from wmkit.dataset.batch import TextStates
from wmkit.errors import ConfigError, InputError
from wmkit.train.condition import clean_latents
from wmkit.train.loop import TrainResult, train
from wmkit.train.metrics_log import read_metrics
from wmkit.train.progress import SilentProgress
from wmkit.train.sample_videos import sample_videos
from wmkit.train.step_logs import EventFiles, WandbRun
from wmkit.train.watch import LoggedProgress, Watch
from wmkit.video import VideoConfig, discover, identify, open_source


def go(out: Path, watch: Watch, *settings: str) -> TrainResult:
    return train(small_config(*settings), batch_of, FACTS, out, watch=watch)


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="needs the extra wmkit[tensorboard]"
    )
    events = accumulator.EventAccumulator(str(folder))
    events.Reload()
    return {name: [(event.step, event.value) for event in events.Scalars(name)] for name in events.Tags()["scalars"]}


def test_every_step_is_an_event_and_a_resumed_run_goes_on(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="needs the extra wmkit[tensorboard]")
    events = tmp_path / "events"
    for steps in ("steps=2", "steps=3"):
        go(tmp_path / "run", Watch(progress=LoggedProgress(EventFiles(events), SilentProgress())), steps)
    found = scalars(events)
    assert [step for step, _ in found["loss"]] == [1, 2, 3]
    assert {"grad_norm", "lr", "seconds", "pace/tokens_s", "pace/flop_s", "pace/wait", "pace/peak_gib"} <= set(found)
    assert "pace/mfu" not in found, "a CPU's peak is not known"
    assert found["lr"][0][1] == pytest.approx(1e-3)  # a third of 3e-3: warm-up over two steps


def test_without_the_package_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wmkit.train.step_logs.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'wmkit\[tensorboard\]'"):
        EventFiles(tmp_path)


class FakeWandb(ModuleType):
    """What we call of the package: runs by their id, each with its settings and rows; a project that is refused."""

    class Error(Exception):
        """As wandb's."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.runs: dict[str, list[dict[str, float]]] = {}
        self.asked: list[dict[str, Any]] = []
        self.finished = 0

    def init(self, *, id: str | None, project: str, **more: object) -> SimpleNamespace:  # noqa: A002 - theirs
        if project == "refused":
            raise self.Error("api_key not configured\n(no-tty)")
        self.asked.append({"id": id, "project": project, **more})
        name = id or f"run{len(self.runs)}"
        rows = self.runs.setdefault(name, [])
        return SimpleNamespace(
            id=name, log=lambda values, step: rows.append({**values, "step": step}), finish=self.finish
        )

    def finish(self) -> None:
        self.finished += 1


def test_a_wandb_run_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake, out = FakeWandb(), tmp_path / "first-try"
    monkeypatch.setitem(sys.modules, "wandb", fake)
    for steps in ("steps=2", "steps=3"):
        log = WandbRun("rooms", out, small_config(steps).to_json())
        go(out, Watch(progress=LoggedProgress(log, SilentProgress())), steps)
    assert list(fake.runs) == ["run0"]
    assert (out / "wandb-id").read_text() == "run0\n"
    assert [row["step"] for row in fake.runs["run0"]] == [1, 2, 3]
    assert [row["loss"] for row in fake.runs["run0"]] == [row.loss for row in read_metrics(out / "metrics.jsonl")]
    assert {"grad_norm", "lr", "seconds", "pace/tokens_s", "pace/wait"} <= fake.runs["run0"][0].keys()
    assert [asked["id"] for asked in fake.asked] == [None, "run0"]
    assert fake.asked[0]["project"] == "rooms"
    assert (fake.asked[0]["name"], fake.asked[0]["dir"]) == ("first-try", str(out))
    assert fake.asked[0]["config"] == small_config("steps=2").to_json()
    assert fake.finished == 2


def test_wandb_that_is_not_there_or_refuses_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for stand_in in (None, ModuleType("wandb")):  # not installed; a folder of that name
        monkeypatch.setitem(sys.modules, "wandb", stand_in)
        with pytest.raises(InputError, match=r"--wandb: expected the package wandb; run: pip install 'wmkit\[wandb\]'"):
            WandbRun("rooms", tmp_path, {})
    monkeypatch.setitem(sys.modules, "wandb", FakeWandb())
    progress = LoggedProgress(WandbRun("refused", tmp_path / "run", {}), SilentProgress())
    with pytest.raises(InputError, match=r"got: api_key not configured \(no-tty\); log in, or set WANDB_MODE=offline"):
        go(tmp_path / "run", Watch(progress=progress))


@pytest.mark.parametrize("more", [(), ("optimizer.ema_decay=0.9",), ("objective.chunk_frames=1",)])
def test_videos_are_made_now_and_then_and_change_nothing(tmp_path: Path, more: tuple[str, ...]) -> None:
    config = small_config("steps=4", *more)
    videos = tmp_path / "samples"
    watch = Watch(look=sample_videos(videos, config, batch_of(0)), look_every=2)
    watched, plain = go(tmp_path / "a", watch, "steps=4", *more), go(tmp_path / "b", Watch(), "steps=4", *more)
    for name in ("model.safetensors", "optimizer.safetensors"):
        assert (watched.checkpoint / name).read_bytes() == (plain.checkpoint / name).read_bytes()
    assert sorted(path.name for path in videos.iterdir()) == ["step-000002.mp4", "step-000004.mp4"]
    (found,) = discover([videos / "step-000004.mp4"]).clips
    view = open_source(identify(found), VideoConfig()).view
    # 24 x 16 px, eight times: two columns, two clips; five frames.
    assert (view.width, view.height, len(view)) == (2 * 24 * 8, 2 * 16 * 8, 5)


def test_what_is_precomputed_is_shown_as_what_is_decoded(tmp_path: Path) -> None:
    """Pixel-unshuffle in float32 loses nothing, and neither do hashed words: the same file, to the byte."""
    config = small_config("steps=1", 'model.text={"channels": 8, "tokens": 4}')
    decoded, encoder = batch_of(0), config.text_encoder
    assert encoder is not None
    words, none = encoder.encode(list(decoded.captions)), encoder.encode([""] * 2)
    stored = dataclasses.replace(
        decoded,
        video=decoded.video[:, :0],
        latent=clean_latents(decoded, config, torch.device("cpu")),
        captions=(),
        text=TextStates(states=words.states, mask=words.mask, empty_states=none.states, empty_mask=none.mask),
    )
    for name, batch in (("decoded", decoded), ("stored", stored)):
        watch = Watch(look=sample_videos(tmp_path / name, config, batch), look_every=1)
        train(config, batch_of, FACTS, tmp_path / f"run-{name}", watch=watch)
    files = [(tmp_path / name / "step-000001.mp4").read_bytes() for name in ("decoded", "stored")]
    assert files[0] == files[1]


def test_what_is_shown_is_the_running_mean(tmp_path: Path) -> None:
    seen: list[torch.Tensor] = []

    def look(step: int, trained) -> None:
        before = [parameter.detach().clone() for parameter in trained.model.parameters()]
        with trained.averaged():
            seen.extend(parameter.detach().clone() for parameter in trained.model.parameters())
        means = list(trained.mean.tensors.values())
        assert all(torch.equal(shown, mean) for shown, mean in zip(seen, means, strict=True))
        assert all(torch.equal(old, new) for old, new in zip(before, trained.model.parameters(), strict=True))
        assert not all(torch.equal(old, shown) for old, shown in zip(before, seen, strict=True))

    go(tmp_path / "run", Watch(look=look, look_every=3), "steps=3", "optimizer.ema_decay=0.9")
    assert seen


def test_how_often_is_a_number_of_steps() -> None:
    with pytest.raises(ConfigError, match="--sample-every: expected a number of steps, 0 for none, got -1"):
        Watch(look_every=-1)
    assert dataclasses.replace(Watch(), look_every=3).look is None
