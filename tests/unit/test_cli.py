"""The command line: its frozen surface, its exit codes and its one-line errors.

After a wanted change: `python tests/unit/test_cli.py >tests/unit/cli_surface.json`, and a line in the CHANGELOG.
"""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import typer.main

from wmkit import __version__, cli
from wmkit.annotate.defaults import default_config
from wmkit.annotate.export import EXPORT_FORMATS
from wmkit.annotate.pipeline import config_hash
from wmkit.annotate.run import RunSummary
from wmkit.bench.peer import PEERS
from wmkit.cli import bench, corpus, model
from wmkit.errors import ClipError, ConfigError, CorruptShardError, InputError
from wmkit.executor import EXECUTORS
from wmkit.model.convert import LAYOUTS
from wmkit.model.presets import PRESETS
from wmkit.model.vae import VAE_KINDS
from wmkit.video import DECODERS, VideoConfig

SURFACE = Path(__file__).with_name("cli_surface.json")


def surface(command: Any, name: str = "wmkit") -> dict[str, dict[str, dict[str, object]]]:
    """Verb -> parameter -> its flags, type, default and whether it must be given; help texts are free to change."""
    table = {name: {parameter.name: described(parameter) for parameter in command.params}}
    for child_name, child in getattr(command, "commands", {}).items():
        table |= surface(child, f"{name} {child_name}")
    return table


def described(parameter: Any) -> dict[str, object]:
    default = parameter.default
    return {
        "flags": [flag for flag in (*parameter.opts, *parameter.secondary_opts) if flag.startswith("-")],
        "type": type_word(parameter.type_descriptor.annotation),
        "default": default if isinstance(default, int | float | None) else str(default),
        "required": parameter.required,
    }


def type_word(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return "|".join(get_args(annotation))
    return annotation.__name__ if isinstance(annotation, type) and not get_args(annotation) else str(annotation)


def test_surface_is_the_frozen_one() -> None:
    assert surface(typer.main.get_command(cli.app)) == json.loads(SURFACE.read_text())


def test_choices_are_those_of_the_parts_behind_them() -> None:
    assert get_args(corpus.DecoderName) == DECODERS
    assert set(get_args(corpus.ExecutorName)) == set(EXECUTORS)
    assert set(get_args(corpus.ExportFormat)) == set(EXPORT_FORMATS)
    assert set(get_args(bench.PeerName)) == set(PEERS)
    assert get_args(model.LayoutName) == LAYOUTS
    assert get_args(model.PresetName) == tuple(PRESETS)
    assert get_args(model.VaeName) == tuple(VAE_KINDS)
    assert set(surface(typer.main.get_command(cli.app))["wmkit annotate"]) >= corpus.RERUN_FLAGS


SUMMARY = RunSummary(
    corpus="/c", sources=3, clips=2, duplicates=1, skipped={"mask": 1}, resumed=0, ok=1, no_trajectory=0, failed=1,
    unfinished=0, reasons={}, codes={"decode/empty": 1}, frames=5, posed_frames=5, metric=0,
    failures=["failed: 1 decode/empty, a: b"],
    cues={}, cues_absent={}, seconds=1.0,
    clips_per_s=2.0, interrupted=False,
)  # fmt: skip


def replace_run(monkeypatch: pytest.MonkeyPatch, outcome: RunSummary | BaseException) -> list[tuple[Any, ...]]:
    """Stand in for the work behind `annotate`; returns the calls it got."""
    calls: list[tuple[Any, ...]] = []

    def run(*arguments: Any) -> RunSummary:
        calls.append(arguments)
        print("noise from somewhere below")
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    monkeypatch.setattr("wmkit.annotate.run.run_annotate", run)
    return calls


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("a: expected b, got c; do d"), 2),
        (ConfigError("of two\nlines"), 2),
        (CorruptShardError("bytes"), 1),
        (ClipError("decode", "empty", "no frame"), 1),
    ],
)
def test_an_error_on_purpose_is_one_line(
    error: Exception, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    replace_run(monkeypatch, error)
    assert cli.main(["annotate", "x", "--json"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1] == "error: " + str(error).replace("\n", " ")


def test_a_bug_is_not_dressed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    replace_run(monkeypatch, ZeroDivisionError("a bug"))
    with pytest.raises(ZeroDivisionError):
        cli.main(["annotate", "x"])


def test_an_interrupt_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    replace_run(monkeypatch, KeyboardInterrupt())
    assert cli.main(["annotate", "x"]) == 130
    assert capsys.readouterr().err == "interrupted: the same command resumes where it stopped\n"
    replace_run(monkeypatch, dataclasses.replace(SUMMARY, interrupted=True, unfinished=1, failed=0))
    assert cli.main(["annotate", "x"]) == 130
    assert "the same command resumes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["annotate"], "PATH"),
        (["annotate", "x", "--decoder", "gstreamer"], "gstreamer"),
        (["annotate", "x", "--fps", "fast"], "fast"),
        (["annotate", "x", "--fps", "0"], "--fps"),
        (["annotate", "x", "--max-side", "1"], "--max-side"),
        (["annotate", "x", "--workers", "0"], "--workers"),
        (["annotate", "x", "--clip-timeout-s", "0"], "--clip-timeout-s"),
        (["annotate", "x", "--camera-height", "-1"], "--camera-height"),
        (["annotate", "x", "--scale", "0"], "--scale"),
        (["annotate", "/nowhere/at/all"], "/nowhere/at/all"),
        (["annotate", "x", "--no-such-flag"], "--no-such-flag"),
        (["anotate"], "annotate"),
        (["bench"], "command"),
        (["bench", "pose"], "DIR"),
        (["bench", "pose", "/nowhere/at/all"], "/nowhere/at/all"),
        (["export", "--out", "x"], "--format"),
        (["export", "--out", "x", "--format", "bvh"], "bvh"),
        (["report", "/nowhere/at/all"], "/nowhere/at/all"),
        (["retry", "/nowhere/at/all"], "/nowhere/at/all"),
        (["build-shards", "/nowhere/at/all"], "/nowhere/at/all"),
        (["build-shards", "x", "--scale", "huge"], "huge"),
        (["build-shards", "x", "--video", "gif"], "gif"),
        (["build-shards", "x", "--workers", "0"], "--workers"),
        (["verify", "/nowhere/at/all"], "/nowhere/at/all"),
        (["repair", "/nowhere/at/all"], "/nowhere/at/all"),
        (["export", "/nowhere/at/all", "--format", "tum", "--out", "/tmp/never"], "/nowhere/at/all"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrong_usage_is_one_line_and_exit_2(
    arguments: list[str],
    word: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert word in err
    assert list(tmp_path.iterdir()) == [], "nothing is written before the arguments are known to be right"


def test_annotate_passes_its_flags_on(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = replace_run(monkeypatch, SUMMARY)
    flags = (
        "--decoder opencv --fps native --max-side 640 --image-fps 10 --depth none --camera-height 1.5±0.03 --scale 2"
    )
    run = "--executor local --workers 3 --clip-timeout-s 7 --seed 5 --update --out o"
    assert cli.main(["annotate", "a", "b", *flags.split(), *run.split()]) == 0
    ((paths, out, config, options, _),) = calls
    assert (paths, out) == (["a", "b"], Path("o"))
    assert config.video == VideoConfig(decoder="opencv", fps=None, max_side=640, image_fps=10.0)
    assert config.depth is None
    assert config.seed == 5
    assert [cue.name for cue in config.scale] == ["camera_height", "factor"]
    assert (options.executor.kind, options.executor.workers, options.executor.timeout_s) == ("local", 3, 7.0)
    assert options.update
    rerun = " ".join(options.rerun)
    assert rerun == "--decoder opencv --fps native --max-side 640 --image-fps 10.0 --depth none " + (
        "--camera-height 1.5±0.03 --scale 2.0 --executor local --clip-timeout-s 7.0 --seed 5"
    )


def test_annotate_without_flags_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = replace_run(monkeypatch, SUMMARY)
    cli.main(["annotate", "a"])
    ((_, out, config, options, _),) = calls
    assert (out, options.rerun, options.update) == (Path("corpus"), (), False)
    assert config_hash(config) == config_hash(default_config())
    assert (options.executor.kind, options.executor.workers, options.executor.timeout_s) == ("ray", None, 900.0)


def test_exit_code_follows_strict(monkeypatch: pytest.MonkeyPatch) -> None:
    replace_run(monkeypatch, SUMMARY)
    assert cli.main(["annotate", "x"]) == 0
    assert cli.main(["annotate", "x", "--strict"]) == 1
    replace_run(monkeypatch, dataclasses.replace(SUMMARY, ok=0, failed=2))
    assert cli.main(["annotate", "x"]) == 1


def test_json_is_the_one_thing_on_stdout(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    replace_run(monkeypatch, SUMMARY)
    assert cli.main(["annotate", "x", "--json"]) == 0
    out, err = capsys.readouterr()
    assert "noise" in err
    # Programs read these keys: a change is a breaking one.
    assert list(json.loads(out)) == [
        "corpus", "sources", "clips", "duplicates", "skipped", "resumed", "ok", "no_trajectory", "failed", "unfinished",
        "reasons", "codes", "failures", "frames", "posed_frames", "metric", "cues", "cues_absent",
            "seconds", "clips_per_s", "interrupted",
    ]  # fmt: skip


def test_summary_accounts_for_everything(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    replace_run(monkeypatch, SUMMARY)
    cli.main(["annotate", "x"])
    out = capsys.readouterr().out
    for told in ("2 clips", "1 with a trajectory", "1 failed", "duplicates", "1 decode/empty", "1 mask", "corpus: /c"):
        assert told in out


@pytest.mark.parametrize(
    "module", [["-m", "wmkit"], ["-c", "import sys; from wmkit.cli import main; sys.exit(main())"]]
)
def test_version_and_exit_code_leave_the_process(module: list[str]) -> None:
    done = subprocess.run([sys.executable, *module, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"wmkit {__version__}\n"
    done = subprocess.run([sys.executable, *module, "anotate"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def test_without_a_verb_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    out = capsys.readouterr().out
    assert all(verb in out for verb in ("annotate", "report", "export", "bench", "demo"))


if __name__ == "__main__":
    print(json.dumps(surface(typer.main.get_command(cli.app)), indent=2))
