"""Footage as a video file: its own times and tags, and damage done to the coded bytes."""

import os
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import numpy as np

from wmkit.errors import InputError
from wmkit.video.encode import write_mp4
from wmkit.worlds.defects import Footage

__all__ = ["write_footage"]

TIME_BASE = Fraction(1, 16000)
EVEN = 0.01  # of the usual interval: less is rounding
DAMAGE = (0.5, 0.75)  # of a coded frame, from where to where its bytes are overwritten


def write_footage(path: Path, footage: Footage, rng: np.random.Generator) -> None:
    """H.264 in MP4; frames at `footage.time_s`, tags in the container, and `footage.damaged` coded frames overwritten.

    `rng` says which frames are damaged and with what. Raises InputError as `write_mp4` does.
    """
    height, width = footage.rgb.shape[1:3]
    write_mp4(path, footage.rgb, Fraction(footage.fps).limit_denominator(1001), (width, height))
    step_s = np.diff(footage.time_s)
    if footage.tags or np.abs(step_s / step_s.mean() - 1).max() > EVEN:
        _retimed(path, footage)
    if footage.damaged:
        _damage(path, footage.damaged, rng)


def _retimed(path: Path, footage: Footage) -> None:
    """The same coded frames shown at other times, and the tags."""
    import av

    ticks = np.rint(footage.time_s / float(TIME_BASE)).astype(int)
    step = int(np.diff(ticks).min())
    scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    flags = {"movflags": "use_metadata_tags+faststart"}
    with av.open(str(path)) as source, av.open(str(scratch), "w", format="mp4", options=flags) as target:
        target.metadata.update(dict(footage.tags))
        stream = target.add_stream_from_template(source.streams.video[0])
        stream.time_base = TIME_BASE
        packets = [packet for packet in source.demux(video=0) if packet.size and packet.pts is not None]
        shown = np.argsort(np.argsort([cast("int", packet.pts) for packet in packets]))
        late = int(max(np.arange(len(packets)) - shown))  # frames that are coded later than they are shown
        for index, packet in enumerate(packets):
            coded = index - late
            packet.time_base = TIME_BASE
            packet.pts = int(ticks[shown[index]])
            packet.dts = int(ticks[coded]) if coded >= 0 else int(ticks[0]) + coded * step
            packet.stream = cast("Any", stream)
            target.mux(packet)
    os.replace(scratch, path)


def _damage(path: Path, count: int, rng: np.random.Generator) -> None:
    import av

    with av.open(str(path)) as container:
        places = [(p.pos, p.size) for p in container.demux(video=0) if p.size and p.pos is not None]
    if len(places) < count:
        raise InputError(f"{path}: expected at least {count} coded frames to damage, got {len(places)}")
    data = bytearray(path.read_bytes())
    for place in rng.choice(len(places), size=count, replace=False).tolist():
        start, size = places[place]
        first, last = (start + round(share * size) for share in DAMAGE)
        data[first:last] = rng.bytes(last - first)
    path.write_bytes(data)
