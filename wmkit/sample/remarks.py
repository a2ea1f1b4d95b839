"""What the user did not say and should know before a sample is made: a line each."""

from wmkit.camera import ScaleKind
from wmkit.sample.inputs import Inputs
from wmkit.sample.options import SampleOptions, SamplerName
from wmkit.sample.request import AskedPath
from wmkit.train.checkpoint import MotionFacts
from wmkit.train.motion import frame_motion

__all__ = ["UNITS", "remarks", "speed_remarks"]

UNITS = {
    ScaleKind.METRIC: "metres",
    ScaleKind.UP_TO_SCALE: "unknown: the file does not say metres; the model takes one unit for one of its training's",
}
CAUSAL = ("chunk", "stream")


def remarks(inputs: Inputs, options: SampleOptions, method: SamplerName) -> list[str]:
    """Assumptions, changes of size and length, units, speeds and what the model was not trained for."""
    path, config = inputs.path, inputs.parts.config
    lines = [f"intrinsics: {inputs.intrinsics.source}", f"trajectory: {path.meaning}"]
    lines += _size_remarks(inputs) + _length_remarks(inputs, options, method) + _unit_remarks(inputs)
    lines += speed_remarks(path, inputs.parts.facts.motion)
    if (method in CAUSAL) != bool(config.objective.chunk_frames):
        trained = "chunk by chunk" if config.objective.chunk_frames else "on whole clips"
        lines.append(f"sampler: {method}, of a model trained {trained}: expect less")
    if inputs.parts.text is not None and options.prompt is None:
        lines.append("prompt: none, taken as an empty one")
    return lines


def _size_remarks(inputs: Inputs) -> list[str]:
    data = inputs.parts.config.data
    width, height = inputs.picture.size
    factor = max(data.width / width, data.height / height)
    lost_px = max(width - data.width / factor, height - data.height / factor)
    if lost_px < 1:
        return []
    return [f"image: {width}x{height} px resized and cropped at its centre to {data.width}x{data.height}"]


def _length_remarks(inputs: Inputs, options: SampleOptions, method: SamplerName) -> list[str]:
    path, config = inputs.path, inputs.parts.config
    frames, lines = len(path.world_from_cam), []
    if path.cut:
        lines.append(f"length: {path.poses + path.cut} poses, cut to {path.poses} by --seconds {options.seconds:g}")
    if path.held:
        stride = inputs.parts.codec.spec().stride
        why = "" if options.seconds is None else f" for --seconds {options.seconds:g}"
        lines.append(
            f"length: {path.poses} poses, rounded up to {frames} = 1 + {stride} k frames{why} by holding the last pose"
        )
    if frames > config.data.frames and method != "stream":
        lines.append(
            f"length: {frames} frames in one go, of a model trained on {config.data.frames}; memory grows with their "
            "number"
        )
    return lines


def _unit_remarks(inputs: Inputs) -> list[str]:
    facts, path = inputs.parts.facts, inputs.path
    if path.scale is ScaleKind.METRIC and facts.up_to_scale:
        return [
            f"unit: the path is in metres, but {facts.up_to_scale} of {facts.metric + facts.up_to_scale} training "
            "samples were in units of their median depth: distances will not be exact"
        ]
    if path.scale is ScaleKind.UP_TO_SCALE and facts.metric and not facts.up_to_scale:
        return ["unit: the path's file does not say metres; it is taken to be in metres, as the training's was"]
    return []


def speed_remarks(path: AskedPath, motion: MotionFacts | None) -> list[str]:
    """A line for each of translation and rotation that goes beyond 99 % of what the training's cameras did."""
    if motion is None:
        return []
    lines = []
    step, turn_deg = frame_motion(path.world_from_cam)
    for name, fastest, known, unit in (
        ("moves", float(step.max()), motion.step[3], "units"),
        ("turns", float(turn_deg.max()), motion.turn_deg[3], "deg"),
    ):
        if fastest > known:
            lines.append(
                f"speed: the path {name} up to {fastest:.3g} {unit} a frame, 99 % of the training's frames at most "
                f"{known:.3g}: expect it to be followed less well"
            )
    return lines
