"""The subprocess contract: what the program is told, and every way in which its answer is not believed."""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.unit.annotate.pose.test_given import ORBIT, World, world  # noqa: F401 - a fixture
from wmkit.annotate.pose.command import Command, CommandConfig
from wmkit.annotate.protocols import PoseEstimate
from wmkit.camera import CameraPrior, invert_rigid
from wmkit.clip import NoTrajectory
from wmkit.errors import ClipError, InputError

N = ORBIT.frames
K = ORBIT.intrinsics.row.tolist()


def program(folder: Path, body: str) -> CommandConfig:
    """A program with `folder`, `out`, `request`, `poses` (the exact ones) and `np` at hand."""
    path = folder / "program.py"
    head = (
        "import json, sys, pathlib, numpy as np\n"
        "folder, out = pathlib.Path(sys.argv[1]), sys.argv[2]\n"
        "request = json.loads((folder / 'request.json').read_text())\n"
        f"poses = np.load({str(folder / 'poses.npy')!r})\nK = {K}\n"
    )
    path.write_text(head + body)
    return CommandConfig(argv=(sys.executable, str(path)), timeout_s=60)


@pytest.fixture
def folder(world: World, tmp_path: Path) -> Path:  # noqa: F811
    np.save(tmp_path / "poses.npy", world.truth.world_from_cam)
    return tmp_path


def run(world: World, config: CommandConfig, prior: CameraPrior | None = None):  # noqa: F811
    return Command(config).estimate(world.frames, 3, prior)


def test_the_program_is_told_what_the_contract_says(world: World, folder: Path) -> None:  # noqa: F811
    body = (
        "from PIL import Image\n"
        "names = sorted(p.name for p in (folder / 'frames').iterdir())\n"
        "size = Image.open(folder / 'frames' / names[0]).size\n"
        f"pathlib.Path({str(folder / 'seen.json')!r}).write_text(json.dumps([request, names, size]))\n"
        "np.savez(out, world_from_cam=poses, intrinsics=np.array(K))\n"
    )
    prior = CameraPrior(fx=300, fy=300, cx=None, cy=None, sigma_log=0.1, source="test")
    found = run(world, program(folder, body), prior)
    request, names, size = json.loads((folder / "seen.json").read_text())
    assert set(request) == {"version", "frames", "width", "height", "time_s", "seed", "prior", "weights"}
    assert (request["frames"], request["seed"], request["weights"]) == (N, 3, None)
    assert request["prior"]["fx"] == 300
    assert names == [f"{index:06d}.png" for index in range(N)]
    assert size == [ORBIT.intrinsics.width, ORBIT.intrinsics.height]
    assert isinstance(found, PoseEstimate)
    # the true motion in another world and unit: first camera at the origin, median depth of the points 1
    true = invert_rigid(world.truth.world_from_cam[:1]) @ world.truth.world_from_cam
    unit = np.linalg.norm(true[-1, :3, 3]) / np.linalg.norm(found.trajectory.position[-1])
    np.testing.assert_allclose(found.trajectory.position * unit, true[:, :3, 3], atol=1e-9)
    assert 0.9 < unit < 4.0  # a room of 4 m
    assert found.metric_hint_sigma_log is None


def test_metres_depth_and_confidence_are_taken(world: World, folder: Path) -> None:  # noqa: F811
    body = (
        "confidence = np.ones(len(poses)); confidence[4] = 0\n"
        "depth = np.full((2, 9, 15), 2.5, np.float32); depth[0, 0, 0] = np.nan; depth[1, 0, 0] = 0\n"
        "np.savez(out, world_from_cam=poses, intrinsics=np.tile(K, (len(poses), 1)), metric=np.array(True),\n"
        "         confidence=confidence, depth=depth, depth_frame=np.array([0, 5]))\n"
    )
    found = run(world, program(folder, body))
    assert isinstance(found, PoseEstimate)
    assert found.metric_hint_sigma_log == 0.02
    assert np.flatnonzero(~found.trajectory.posed).tolist() == [4]
    assert found.depth is not None
    assert found.depth.frame.tolist() == [0, 5]
    assert found.depth.valid.sum() == 2 * 9 * 15 - 2
    assert found.depth.z.max() == 2.5  # metres stay metres
    step = np.linalg.norm(np.diff(world.truth.world_from_cam[:2, :3, 3], axis=0))
    assert np.linalg.norm(found.trajectory.position[1]) == pytest.approx(step)


SAVE = "np.savez(out, world_from_cam={poses}, intrinsics={k})\n"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("", "found none"),
        ("open(out, 'wb').write(b'x')\n", "readable .npz"),
        ("np.savez(out, world_from_cam=np.array([{}], dtype=object), intrinsics=np.array(K))\n", "pickled"),
        ("np.savez(out, poses=poses)\n", "expected an array world_from_cam"),
        (SAVE.format(poses="poses[:-1]", k="np.array(K)"), "shape"),
        (SAVE.format(poses="poses * 2", k="np.array(K)"), "0 0 0 1"),
        (SAVE.format(poses="poses * np.array([[1.01] * 3 + [1]] * 3 + [[1] * 4])", k="np.array(K)"), "rotations"),
        (SAVE.format(poses="np.where(np.eye(4) > 0, np.nan, poses)", k="np.array(K)"), "NaN as a whole"),
        (SAVE.format(poses="poses", k="-np.array(K)"), "positive focal"),
        (SAVE.format(poses="poses", k="np.array(K[:3])"), "intrinsics of shape"),
        ("np.savez(out, world_from_cam=poses, intrinsics=np.array(K), depth=np.ones((2, 3, 3)))\n", "depth_frame"),
        (
            "np.savez(out, world_from_cam=poses, intrinsics=np.array(K), depth=np.ones((1, 3, 3)), "
            "depth_frame=np.array([99]))\n",
            "depth_frame increasing",
        ),
        (
            "np.savez(out, world_from_cam=poses, intrinsics=np.array(K), confidence=np.full(len(poses), 2.0))\n",
            "between 0 and 1",
        ),
    ],
    ids=range(13),
)
def test_a_bad_reply_is_one_line(world: World, folder: Path, body: str, words: str) -> None:  # noqa: F811
    with pytest.raises(ClipError) as caught:
        run(world, program(folder, body))
    assert (caught.value.stage, caught.value.code) == ("pose", "bad_reply")
    assert words in caught.value.message
    assert "\n" not in caught.value.message


def test_the_images_judge_the_convention(world: World, folder: Path) -> None:  # noqa: F811
    inverted = SAVE.format(poses="np.linalg.inv(poses)", k="np.array(K)")
    with pytest.raises(ClipError) as caught:
        run(world, program(folder, inverted))
    assert caught.value.code == "wrong_direction"
    still = run(world, program(folder, SAVE.format(poses="np.tile(np.eye(4), (len(poses), 1, 1))", k="np.array(K)")))
    assert isinstance(still, NoTrajectory)
    assert still.reason == "poses_do_not_fit"
    nothing = run(world, program(folder, SAVE.format(poses="np.full_like(poses, np.nan)", k="np.array(K)")))
    assert isinstance(nothing, NoTrajectory)


def test_failures_and_limits(world: World, folder: Path) -> None:  # noqa: F811
    def code(config: CommandConfig) -> tuple[str, str]:
        with pytest.raises(ClipError) as caught:
            run(world, config)
        assert caught.value.stage == "pose"
        return caught.value.code, caught.value.message

    failed = code(program(folder, "sys.exit('out of CUDA memory')\n"))
    assert failed[0] == "command_failed"
    assert "out of CUDA memory" in failed[1]
    assert code(CommandConfig(argv=("/nowhere/program",)))[0] == "command_not_started"
    hog = program(folder, "x = np.ones(60_000_000); import time; time.sleep(60)\n")
    assert code(CommandConfig(argv=hog.argv, memory_gib=0.3))[0] == "command_memory"


def test_a_late_program_dies_with_its_children(world: World, folder: Path) -> None:  # noqa: F811
    note = folder / "pid"
    body = (
        "import subprocess, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"pathlib.Path({str(note)!r}).write_text(str(child.pid))\ntime.sleep(60)\n"
    )
    config = program(folder, body)
    with pytest.raises(ClipError) as caught:
        run(world, CommandConfig(argv=config.argv, timeout_s=3))
    assert caught.value.code == "command_timeout"
    for _ in range(100):  # a killed orphan is reaped by init a moment later
        state = Path(f"/proc/{note.read_text()}/stat")
        if not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z":
            break
        time.sleep(0.05)
    else:
        os.kill(int(note.read_text()), 9)
        pytest.fail("the child lives on")


def test_an_empty_command_is_the_users_mistake() -> None:
    with pytest.raises(InputError, match="--pose-command"):
        CommandConfig(argv=())
