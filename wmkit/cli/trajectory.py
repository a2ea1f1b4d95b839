"""`wmkit trajectory`: a camera path looked at before it is sampled, or typed."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from wmkit.cli.sample import ActionMapName, ConventionName
from wmkit.cli.shared import JsonFlag, stdout_for, tell

__all__ = ["verbs"]

verbs = typer.Typer(help="Camera paths.", rich_markup_mode=None)


@verbs.callback()
def _top() -> None:
    """Camera paths."""


@verbs.command()
def preview(
    trajectory: Annotated[str, typer.Argument(metavar="TRAJECTORY", help="As `wmkit sample --trajectory` takes it.")],
    out: Annotated[Path, typer.Option(help="Picture to write.")] = Path("trajectory.png"),
    convention: Annotated[ConventionName, typer.Option(help="Of a file that holds poses alone.")] = "as-format",
    action_map: Annotated[ActionMapName, typer.Option(help="What the keys of actions mean.")] = "sana-v2",
    checkpoint: Annotated[Path | None, typer.Option(help="Hold speeds against this run's training data.")] = None,
    rrd: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a rerun recording too.")] = None,
    json_output: JsonFlag = False,
) -> None:
    """A path from above, its height, pitch and speeds, as a picture."""
    from wmkit.sample.preview import path_facts, write_preview, write_recording
    from wmkit.sample.request import asked_path
    from wmkit.train.checkpoint import find_checkpoint, read_state

    with stdout_for(json_output):
        path = asked_path(trajectory, (1, 1), convention=convention, keys=action_map)
        motion = None if checkpoint is None else read_state(find_checkpoint(checkpoint)).data.motion
        write_preview(path, out, motion)
        if rrd is not None:
            write_recording(path, rrd)
    facts = path_facts(path, motion)
    tell(facts.to_json(), [*facts.lines(), f"picture: {out}"], json_output)


@verbs.command()
def record(
    out: Annotated[Path, typer.Option(help="Cameras to write, .npz.")] = Path("recorded.npz"),
    action_map: Annotated[ActionMapName, typer.Option(help="What the keys mean.")] = "sana-v2",
    frames: Annotated[int, typer.Option(help="Frames that a press lasts.")] = 4,
    json_output: JsonFlag = False,
) -> None:
    """A path typed in this terminal, key by key."""
    from wmkit import camera_actions
    from wmkit.sample.record import HELP, record_actions, write_recorded

    config = camera_actions.action_map(action_map)
    sys.stderr.write(f"{HELP}\n{config.describe()}\n")

    def told(actions: str) -> None:
        sys.stderr.write(f"\r\x1b[K{actions}")  # the line is wiped: undoing makes it shorter
        sys.stderr.flush()

    try:
        actions = record_actions(sys.stdin.fileno(), frames, told)
    finally:
        sys.stderr.write("\n")
    poses = write_recorded(actions, out, config)
    facts = {"actions": actions, "action_map": action_map, "poses": poses, "out": str(out)}
    tell(facts, [f"{actions} ({action_map}, {poses} poses)", f"cameras: {out}"], json_output)
