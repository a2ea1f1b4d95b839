"""What is known of a clip's camera before its pixels: by flag, by sidecar, by the container's own metadata.

In order of authority, the first that speaks wins:

    --intrinsics FILE|fx,fy,cx,cy@WxH   px of the upright source picture
    --fov-deg DEG                       horizontal, of the upright source picture
    --priors FILE                       json, see `read_priors`
    EXIF of stills, QuickTime keys of videos (`wmkit.video.camera_metadata`), without being asked

What was used is in each clip's annotation.json under `prior`: focal lengths and principal point in px of the output
frames, sigma_log and the source's name; null when nothing was known.
"""

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from wmkit.camera import CameraPrior, Intrinsics
from wmkit.errors import ClipError, InputError
from wmkit.formats.intrinsics import intrinsics_of_file
from wmkit.json_object import read_json
from wmkit.video import FrameSource
from wmkit.video.camera_metadata import lens_metadata
from wmkit.video.reference import split_reference

__all__ = ["KnownCamera", "PriorConfig", "clip_prior", "prior_config", "read_priors"]

SIGMA_CALIBRATED = 0.01  # a calibration's focal length, autofocus and a stabiliser's crop left out
SIGMA_FOV = 0.05  # a field of view told in whole degrees, perhaps of the lens and not of the crop
SHAPE = 0.01  # pictures whose width over height differ by less have one shape: sizes are whole px
FOV_DEG = (2.0, 170.0)
FIELDS = {"clip", "fx", "fy", "cx", "cy", "width", "height", "fov_deg", "sigma_log"}


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownCamera:
    """The camera of the clips whose name matches `clip` (a shell pattern): fx fy cx cy in px, or a field of view.

    row      fx, fy, cx, cy in px of the upright source picture, or None.
    size     (width, height) px of the picture that `row` belongs to; None: the source's own.
    fov_deg  horizontal field of view of the upright source picture, or None.

    Raises InputError unless exactly one of row and fov_deg is given and plausible.
    """

    clip: str
    source: str
    sigma_log: float
    row: tuple[float, float, float, float] | None = None
    size: tuple[int, int] | None = None
    fov_deg: float | None = None

    def __post_init__(self) -> None:
        if (self.row is None) == (self.fov_deg is None):
            raise InputError(f"{self.source}: expected fx fy cx cy or fov_deg, one of the two")
        if self.fov_deg is not None and not FOV_DEG[0] <= self.fov_deg <= FOV_DEG[1]:
            raise InputError(
                f"{self.source}: expected a horizontal field of view of {FOV_DEG[0]:g} to {FOV_DEG[1]:g} degrees, "
                f"got {self.fov_deg:g}"
            )
        if self.row is not None and not (np.isfinite(self.row).all() and min(self.row[:2]) > 0):
            raise InputError(f"{self.source}: expected finite fx fy cx cy with positive focal lengths, got {self.row}")
        if self.size is not None and min(self.size) < 2:
            raise InputError(f"{self.source}: expected a picture size of at least 2x2 px, got {self.size}")
        if not (np.isfinite(self.sigma_log) and self.sigma_log > 0):
            raise InputError(f"{self.source}: expected sigma_log > 0, got {self.sigma_log}")

    def intrinsics(self, width: int, height: int) -> Intrinsics:
        """The camera of the upright source picture of `width` x `height` px.

        Raises ClipError("prior", code) when they do not belong to it: `wrong_shape`, `off_centre`, `wrong_size`.
        """
        if self.fov_deg is not None:
            return Intrinsics.from_fov(self.fov_deg, width, height)
        fx, fy, cx, cy = self.row or (0.0, 0.0, 0.0, 0.0)
        of_width, of_height = self.size or (width, height)
        if abs(of_width * height / (of_height * width) - 1) > SHAPE:
            message = (
                f"expected intrinsics of a picture shaped as {width}x{height}, got those of {of_width}x{of_height}"
            )
            raise ClipError("prior", "wrong_shape", f"{self.source}: {message}; is it turned or cropped?")
        camera = Intrinsics(fx=fx, fy=fy, cx=cx, cy=cy, width=of_width, height=of_height)
        if abs(cx / of_width - 0.5) > 0.25 or abs(cy / of_height - 0.5) > 0.25:
            message = f"expected a principal point near the middle of {of_width}x{of_height} px, got ({cx:g}, {cy:g})"
            theirs = f"are they of a picture of {2 * cx:.0f}x{2 * cy:.0f} px?"
            raise ClipError("prior", "off_centre", f"{self.source}: {message}; {theirs}")
        if not FOV_DEG[0] <= camera.fov_x_deg <= FOV_DEG[1]:
            message = f"expected a field of view of {FOV_DEG[0]:g} to {FOV_DEG[1]:g} deg, got {camera.fov_x_deg:.3g}"
            raise ClipError("prior", "wrong_size", f"{self.source}: {message} on {of_width}x{of_height} px")
        return camera.resized(width, height)


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorConfig:
    """Cameras known beforehand, most authoritative first, and whether the container's metadata may speak after them."""

    known: tuple[KnownCamera, ...] = ()
    metadata: bool = True


def clip_prior(frames: FrameSource, config: PriorConfig) -> CameraPrior | None:
    """The prior of one clip in px of its output frames; None when nobody knows.

    Raises ClipError("prior", code) when what the user named does not fit the clip.
    """
    clip, view = frames.clip, frames.view
    for known in config.known:
        if fnmatchcase(split_reference(clip.source)[0], known.clip):
            camera = known.intrinsics(clip.width, clip.height).resized(view.width, view.height)
            centred = known.row is None
            return CameraPrior(
                fx=camera.fx,
                fy=camera.fy,
                cx=None if centred else camera.cx,
                cy=None if centred else camera.cy,
                sigma_log=known.sigma_log,
                source=known.source,
            )
    lens = lens_metadata(frames.file, frames.facts) if config.metadata else None
    if lens is None:
        return None
    fx, fy = lens.fx * view.width / clip.width, lens.fy * view.height / clip.height
    return CameraPrior(fx=fx, fy=fy, cx=None, cy=None, sigma_log=lens.sigma_log, source=lens.source)


def prior_config(*, intrinsics: str | None, fov_deg: float | None, priors: Path | None) -> PriorConfig:
    """What the three flags say together; InputError, one line, for what cannot be read."""
    known: list[KnownCamera] = []
    if intrinsics is not None and fov_deg is not None:
        raise InputError("--intrinsics and --fov-deg: expected one of the two, got both")
    if intrinsics is not None:
        known.append(_flag_intrinsics(intrinsics))
    if fov_deg is not None:
        source = f"--fov-deg {fov_deg:g}"
        known.append(KnownCamera(clip="*", source=source, sigma_log=SIGMA_FOV, fov_deg=fov_deg))
    if priors is not None:
        known += read_priors(priors)
    return PriorConfig(known=tuple(known))


def _flag_intrinsics(text: str) -> KnownCamera:
    """`fx,fy,cx,cy@WxH` or a file that `intrinsics_of_file` reads, of one row."""
    typed = re.fullmatch(r"([^,@]+),([^,@]+),([^,@]+),([^,@]+)@(\d+)x(\d+)", text.replace(" ", ""))
    if typed is not None:
        try:
            fx, fy, cx, cy = (float(word) for word in typed.groups()[:4])
        except ValueError:
            raise InputError(f"--intrinsics: expected numbers fx,fy,cx,cy@WxH, got {text!r}") from None
        size = (int(typed[5]), int(typed[6]))
        source = f"--intrinsics {text}"
        return KnownCamera(clip="*", source=source, sigma_log=SIGMA_CALIBRATED, row=(fx, fy, cx, cy), size=size)
    if re.fullmatch(r"[-+.\deE]+(,[-+.\deE]+){3}", text.replace(" ", "")):
        raise InputError(f"--intrinsics: expected the size of their picture too, fx,fy,cx,cy@WxH, got {text!r}")
    if not Path(text).exists():
        raise InputError(f"--intrinsics: expected a file or fx,fy,cx,cy@WxH in px, found no file {text!r}")
    rows, size = intrinsics_of_file(Path(text))
    if len(rows) > 1 and not np.allclose(rows, rows[:1], rtol=1e-6):
        raise InputError(
            f"--intrinsics {text}: expected one camera, got {len(rows)} that differ; use --priors or --poses"
        )
    fx, fy, cx, cy = (float(value) for value in rows[0])
    source = f"--intrinsics {Path(text).name}"
    return KnownCamera(clip="*", source=source, sigma_log=SIGMA_CALIBRATED, row=(fx, fy, cx, cy), size=size)


def read_priors(path: Path) -> tuple[KnownCamera, ...]:
    """Cameras of a sidecar, the first that matches a clip counts; InputError naming file and entry.

    ::

        {"cameras": [
          {"clip": "walks/*.mp4", "fov_deg": 78, "sigma_log": 0.1},
          {"clip": "*", "fx": 1052.1, "fy": 1050.7, "cx": 958.2, "cy": 541.0, "width": 1920, "height": 1080}
        ]}

    `clip` is a shell pattern over the clip's path below the input root; all numbers are those of the upright source
    picture. `sigma_log` defaults to 0.01 for intrinsics and 0.05 for a field of view.
    """
    entries = read_json(path).get("cameras")
    if not isinstance(entries, list) or not entries:
        raise InputError(f'{path}: expected {{"cameras": [...]}} with at least one entry')
    return tuple(_entry(f"{path.name} entry {index}", entry) for index, entry in enumerate(entries))


def _entry(source: str, entry: Any) -> KnownCamera:
    if not isinstance(entry, dict) or not isinstance(entry.get("clip"), str):
        raise InputError(f"--priors: {source}: expected an object with a 'clip' pattern")
    unknown = sorted(set(entry) - FIELDS)
    if unknown:
        raise InputError(f"--priors: {source}: expected only {', '.join(sorted(FIELDS))}, got {unknown[0]!r}")
    numbers = {key: value for key, value in entry.items() if key != "clip"}
    wrong = [key for key, value in numbers.items() if isinstance(value, bool) or not isinstance(value, int | float)]
    if wrong:
        raise InputError(f"--priors: {source}: expected a number in {wrong[0]!r}, got {entry[wrong[0]]!r}")
    whole = {"fx", "fy", "cx", "cy", "width", "height"}
    if numbers.keys() & whole and not whole <= numbers.keys():
        missing = sorted(whole - numbers.keys())
        raise InputError(f"--priors: {source}: expected fx fy cx cy width height, {missing[0]!r} is missing")
    row = tuple(float(numbers[key]) for key in ("fx", "fy", "cx", "cy")) if "fx" in numbers else None
    return KnownCamera(
        clip=entry["clip"],
        source=f"--priors {source}",
        sigma_log=float(numbers.get("sigma_log", SIGMA_FOV if row is None else SIGMA_CALIBRATED)),
        row=row,  # pyright: ignore[reportArgumentType]
        size=(int(numbers["width"]), int(numbers["height"])) if row is not None else None,
        fov_deg=numbers.get("fov_deg"),
    )
