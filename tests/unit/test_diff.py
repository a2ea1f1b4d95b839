"""Two corpora compared: what flipped, and deltas that are known because they were planted."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from tests.annotate_doubles import annotation_of, no_trajectory_of, path_of
from wmkit import cli
from wmkit.camera import Intrinsics
from wmkit.clip import Annotation
from wmkit.corpus import Corpus, LedgerRow, Status
from wmkit.corpus.diff import diff_corpora
from wmkit.errors import InputError

FOCAL = Intrinsics.from_fov(60.0, 64, 48)


def walk(turn_deg: float = 0.0, times: float = 1.0, dent: float = 0.0, camera: Intrinsics = FOCAL) -> Annotation:
    """Ten metric frames along a bent path; every other camera turned, all of it enlarged, the middle one moved."""
    position = np.stack([np.arange(10.0), np.zeros(10), 0.1 * np.arange(10.0) ** 2], axis=1) * times
    position[5, 1] += dent
    rotation = np.tile(np.eye(3), (10, 1, 1))
    c, s = np.cos(np.radians(turn_deg)), np.sin(np.radians(turn_deg))
    rotation[::2] = [[c, 0, s], [0, 1, 0], [-s, 0, c]]
    return annotation_of(path_of(position, rotation), camera=camera, metric=True)


def id_of(name: str) -> str:
    return name.encode().hex().ljust(32, "0")


def corpus_of(folder: Path, outcomes: dict[str, Annotation | str]) -> Path:
    corpus = Corpus.create_or_open(folder, {}, "0", update=False)
    for name, outcome in outcomes.items():
        clip_id = id_of(name)
        if isinstance(outcome, str):
            row = LedgerRow(clip_id=clip_id, source=name, status=Status.FAILED, stage="decode", code=outcome)
        else:
            clip = dataclasses.replace(outcome.clip, id=clip_id, source=name)
            annotation = dataclasses.replace(outcome, clip=clip)
            corpus.write(annotation)
            row = LedgerRow.of(annotation, {})
        corpus.append_ledger([row])
    return folder


def test_what_is_the_same_flipped_or_elsewhere_is_counted_once(tmp_path: Path) -> None:
    still, failed = no_trajectory_of("static"), "timeout"
    a = corpus_of(tmp_path / "a", {"a": walk(), "b": walk(), "c": still, "d": failed, "e": walk(), "f": still})
    b = corpus_of(tmp_path / "b", {"a": walk(), "b": still, "c": walk(), "d": failed, "e": failed, "g": walk()})
    found = diff_corpora(a, b)
    assert (found.clips, found.only_a, found.only_b, found.same, found.deltas) == (5, 1, 1, 2, ())
    assert found.flips == {
        "ok -> no_trajectory:static": ["b"],
        "no_trajectory:static -> ok": ["c"],
        "ok -> failed:decode/timeout": ["e"],
    }


def test_deltas_are_those_planted(tmp_path: Path) -> None:
    wide = Intrinsics.from_fov(90.0, 64, 48)
    a = corpus_of(tmp_path / "a", dict.fromkeys(("turned", "larger", "dented", "wider"), walk()))
    b = corpus_of(
        tmp_path / "b",
        {"turned": walk(turn_deg=4.0), "larger": walk(times=1.3), "dented": walk(dent=0.5), "wider": walk(camera=wide)},
    )
    delta = {item.source: item for item in diff_corpora(a, b).deltas}
    assert set(delta) == {"turned", "larger", "dented", "wider"}
    # half of the frames turned by 4 degrees: 2 from the best common rotation, whichever half one asks
    assert delta["turned"].rotation_deg == pytest.approx(2.0, abs=1e-3)
    assert delta["turned"].position == pytest.approx(0.0, abs=1e-9)
    assert delta["larger"].scale_ratio == pytest.approx(1.3)
    assert delta["larger"].position == pytest.approx(0.0, abs=1e-9)
    # one of ten frames 0.5 m off a path of 13.3 m, less what the alignment takes up of it
    assert 0.5 * delta_of_one(10) < (delta["dented"].position or 0) * path_m() < delta_of_one(10)
    assert delta["wider"].focal_ratio == pytest.approx(np.tan(np.radians(30)) / np.tan(np.radians(45)))
    assert delta["turned"].focal_ratio == 1.0
    assert all(item.posed == (10, 10) and not item.problem for item in delta.values())


def delta_of_one(frames: int) -> float:
    return 0.5 / np.sqrt(frames)


def path_m() -> float:
    trajectory = walk().trajectory
    assert trajectory is not None
    return float(np.linalg.norm(np.diff(trajectory.position, axis=0), axis=1).sum())


def test_what_cannot_be_compared_says_why(tmp_path: Path) -> None:
    short = annotation_of(path_of(np.eye(3)[[0, 1, 2, 0]]))
    a = corpus_of(tmp_path / "a", {"a": walk(), "b": walk()})
    b = corpus_of(tmp_path / "b", {"a": short, "b": walk(times=2)})
    (Corpus.open(b).folder(id_of("b")) / "trajectory.npz").write_bytes(b"PK")
    found = diff_corpora(a, b)
    assert [bool(item.problem) for item in found.deltas] == [True, True]
    assert found.deltas[0].rotation_deg is None
    with pytest.raises(InputError, match="share none"):
        diff_corpora(a, corpus_of(tmp_path / "c", {"z": walk()}))


def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = corpus_of(tmp_path / "a", {"a": walk(), "b": walk()})
    b = corpus_of(tmp_path / "b", {"a": walk(turn_deg=4.0), "b": no_trajectory_of("static")})
    assert cli.main(["diff", str(a), str(b)]) == 0
    out = capsys.readouterr().out
    assert "0 the same, 1 flipped, 1 with another trajectory" in out
    assert "ok -> no_trajectory:static: b" in out
    assert cli.main(["diff", str(a), str(b), "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {
        "a", "b", "only_a", "only_b", "clips", "same", "flips", "deltas",
    }  # fmt: skip
