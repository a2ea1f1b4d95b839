"""`wmkit sample --benchmark`: every scene a sample, by whoever makes it; again only what has changed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.integration.test_train_sample import call
from tests.precompute_doubles import in_this_process
from tests.sample_doubles import random_run, write_bench
from wmkit import cli
from wmkit.evaluate.benchmark import eval_benchmark
from wmkit.executor import ExecutorOptions
from wmkit.sample import SampleOptions, benchmark, sample_benchmark, scene

PROMPTS = {"game_001": "a red room", "city_001": "a street", "indoor_001": "a hall"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_run(tmp_path_factory.mktemp("run"))


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    return write_bench(tmp_path / "bench", PROMPTS)


@pytest.fixture
def at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """No processes, which take seconds to start."""
    monkeypatch.setattr(benchmark, "run_items", in_this_process)
    scene._loaded.cache_clear()


def made(
    capsys: pytest.CaptureFixture[str], run: Path, bench: Path, out: Path, *flags: object
) -> tuple[int, dict[str, Any], str]:
    flags = ("--checkpoint", run, "--steps", 2, "--executor", "local", "--workers", 2, *flags)
    return call(capsys, "sample", "--benchmark", bench, "--out", out, *flags)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.usefixtures("at_home")
def test_scenes_are_made_once_and_again_where_something_changed(
    run: Path, bench: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "videos"
    code, told, _ = made(capsys, run, bench, out)
    assert code == 0
    assert sorted(told) == ["exit_code", "failed", "kept", "made", "out", "scenes", "told"]
    assert (told["made"], told["kept"], told["failed"]) == (list(PROMPTS), [], {})
    assert any("intrinsics: file" in line for line in told["told"]["game_001"])
    ends = (".json", ".mp4", ".trajectory.npz")
    first = contents(out)
    assert sorted(first) == sorted(f"{name}{end}" for name in PROMPTS for end in ends)

    # One scene by itself is the same sample, byte for byte.
    own = bench / "cameras" / "game_001.npz"
    asked = ("--image", bench / "images" / "game_001.png", "--trajectory", own, "--intrinsics", own, "--prompt",
             "a red room", "--steps", 2, "--out", tmp_path / "game_001.mp4")  # fmt: skip
    assert call(capsys, "sample", "--checkpoint", run, *asked)[0] == 0
    assert all((tmp_path / f"game_001{end}").read_bytes() == first[f"game_001{end}"] for end in ends)

    times = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    code, told, _ = made(capsys, run, bench, out, "--workers", 1)
    assert (code, told["made"], told["kept"]) == (0, [], list(PROMPTS))
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == times

    # An edited prompt, a damaged video, other cameras, a sidecar that is gone: each of them alone.
    edits = {
        "city_001": lambda: write_bench(bench, {**PROMPTS, "city_001": "a street at night"}),
        "game_001": lambda: (out / "game_001.mp4").write_bytes(first["game_001.mp4"][:-1]),
        "indoor_001": (out / "indoor_001.json").unlink,
    }
    for name, edit in edits.items():
        edit()
        code, told, _ = made(capsys, run, bench, out)
        assert (code, told["made"]) == (0, [name])
        assert (contents(out)[f"{name}.mp4"] != first[f"{name}.mp4"]) == (name == "city_001")
    np.savez(bench / "cameras" / "indoor_001.npz", c2w=np.load(bench / "cameras" / "game_001.npz")["c2w"], fps=16)
    assert made(capsys, run, bench, out)[1]["made"] == ["indoor_001"]

    # Another request, and other weights under the same name: all of them.
    assert made(capsys, run, bench, out, "--seed", 1)[1]["made"] == list(PROMPTS)
    random_run(tmp_path / "run", seed=0)
    assert made(capsys, tmp_path / "run", bench, out, "--seed", 1)[1]["kept"] == list(PROMPTS), "the same bytes"
    scene._loaded.cache_clear()
    random_run(tmp_path / "run", seed=1)
    assert made(capsys, tmp_path / "run", bench, out, "--seed", 1)[1]["made"] == list(PROMPTS)


@pytest.mark.usefixtures("at_home")
def test_a_bad_scene_fails_alone(run: Path, bench: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "videos"
    (bench / "images" / "city_001.png").write_bytes(b"no picture")
    code, told, _ = made(capsys, run, bench, out)
    assert (code, told["exit_code"], told["made"]) == (1, 1, ["game_001", "indoor_001"])
    assert list(told["failed"]) == ["city_001"]
    assert "does not decode" in told["failed"]["city_001"]
    assert not (out / "city_001.mp4").exists()
    flags = ("--checkpoint", run, "--steps", 2, "--executor", "local")
    command = ["sample", "--benchmark", bench, "--out", out, *flags]
    assert cli.main([str(word) for word in command]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert sum("city_001" in line for line in lines) == 1
    assert lines[-1] == f"{out}: 3 scenes, 0 made, 2 as before, 1 failed; the same command tries those again"
    write_bench(bench, PROMPTS)
    assert made(capsys, run, bench, out)[1]["made"] == ["city_001"]


@pytest.mark.usefixtures("at_home")
def test_a_scene_without_a_picture_is_not_given_another(
    run: Path, bench: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [json.loads(line) for line in (bench / "run_manifest.jsonl").read_text().splitlines()]
    del rows[0]["image_path"]
    (bench / "run_manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, told, _ = made(capsys, run, bench, tmp_path / "videos")
    assert (code, list(told["failed"])) == (1, ["game_001"])
    assert "expected an image_path" in told["failed"]["game_001"]


@pytest.mark.faults
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("executor", "workers"), [("local", 2), ("ray", 2)])
def test_any_number_of_workers_makes_the_same_bytes(
    executor: str, workers: int, run: Path, bench: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert made(capsys, run, bench, tmp_path / "many", "--executor", executor, "--workers", workers)[0] == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(benchmark, "run_items", in_this_process)
        scene._loaded.cache_clear()
        assert made(capsys, run, bench, tmp_path / "one")[0] == 0
    assert contents(tmp_path / "many") == contents(tmp_path / "one")


@pytest.mark.usefixtures("at_home")
def test_models_are_loaded_once_a_worker(
    run: Path, bench: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[Path] = []
    real = scene.load_parts
    monkeypatch.setattr(scene, "load_parts", lambda options: (loads.append(options.checkpoint), real(options))[1])
    options = SampleOptions(checkpoint=run, steps=1)
    done = sample_benchmark(bench, tmp_path / "videos", options, ExecutorOptions())
    assert (len(done.made), loads) == (3, [run])


@pytest.mark.usefixtures("at_home")
@pytest.mark.parametrize(
    ("flags", "word"),
    [
        (["--image", "a.png"], "expected no --image"),
        (["--trajectory", "w-9"], "expected no --trajectory"),
        (["--prompt", "a"], "expected no --prompt"),
        (["--repeat", "a.json"], "expected no --repeat"),
        (["--out", "a.mp4"], "expected --out to be a folder"),
        (["--checkpoint", "nowhere"], "nowhere: expected a run"),
        (["--refiner", "nowhere"], "nowhere"),
        (["--steps", "0"], "--steps"),
        (["--workers", "0"], "--workers"),
    ],
)
def test_bad_flags_are_one_line(
    run: Path, bench: Path, tmp_path: Path, flags: list[str], word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, told, err = made(capsys, run, bench, tmp_path / "videos", *flags)
    assert (code, told) == (2, {})
    assert word in err.splitlines()[-1]
    assert not list(tmp_path.glob("videos/*.mp4"))


@pytest.mark.usefixtures("at_home")
def test_the_folder_is_what_eval_judges(
    run: Path, bench: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Noise has no cameras, so nothing can be measured; but every video is found, and each against its own path."""
    out = tmp_path / "videos"
    assert made(capsys, run, bench, out)[0] == 0
    report = eval_benchmark(out, bench)
    assert (list(report.reports), report.absent, report.exit_code) == (list(PROMPTS), (), 1)
    assert {(own.frames, own.judged) for own in report.reports.values()} == {(13, 13)}
