"""Every stage is a part of `make gpu`, begun as it wants; one that fails fails the command and not the others.

That each takes its step, shrunk, is in `test_gpu_figures.py` with every other part.
"""

import dataclasses

import pytest

from benchmarks import gpu_figures, gpu_stages
from wmkit.errors import ConfigError
from wmkit.train.recipes import recipe
from wmkit.train.small_gpu import SMALL_GPU_STAGES


def test_every_stage_is_a_part_of_make_gpu_at_its_own_size() -> None:
    assert [part for part in gpu_figures.PARTS if part.startswith("stage")] == [f"stage {n}" for n in SMALL_GPU_STAGES]
    for name in SMALL_GPU_STAGES:
        asked = gpu_stages.stage_config(name, ())
        assert dataclasses.replace(asked, steps=1000, start=None, teacher=None) == recipe(name)
        assert asked.steps == 1


def test_a_stage_begins_with_the_one_before() -> None:
    assert [name for name in SMALL_GPU_STAGES if gpu_stages.stage_start(name, gpu_stages.TINY) is None] == [
        "small-gpu-vae"
    ]
    start = gpu_stages.stage_start("small-gpu-dmd", gpu_stages.TINY)
    assert start is not None
    assert start.teacher is not None


def test_a_stage_that_fails_fails_its_part_and_no_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise ConfigError("step 1: expected a finite loss and gradient, got nan and nan on random 0")

    def codes(*names: str) -> list[int]:
        found = []
        for name in names:
            monkeypatch.setattr("sys.argv", ["gpu_figures.py", "--dry-run", "--part", f"stage {name}", "--here"])
            found.append(gpu_figures.main())
        return found

    with monkeypatch.context() as patch:
        patch.setattr(gpu_stages, "train", refused)
        assert codes("small-gpu-vae") == [gpu_figures.CHECK_FAILED]
    assert codes("small-gpu-gdn") == [0]
    lost, ran = capsys.readouterr().out.splitlines()
    assert "expected a finite loss" in lost
    assert '"passes": true' in ran


def test_one_failed_part_fails_the_command_after_the_others_ran(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[str] = []

    def apart(arguments: list[str], part: str, limit_s: float | None) -> int:
        ran.append(part)
        return gpu_figures.CHECK_FAILED if part == "stage small-gpu-vae" else 0

    monkeypatch.setattr(gpu_figures, "apart", apart)
    parts = ["stage small-gpu-vae", "stage small-gpu-gdn"]
    monkeypatch.setattr("sys.argv", ["gpu_figures.py", "--dry-run", "--part", *parts])
    assert gpu_figures.main() == 1
    assert ran == parts
    assert '"failed_checks": ["stage small-gpu-vae"], "lost_parts": []' in capsys.readouterr().out
