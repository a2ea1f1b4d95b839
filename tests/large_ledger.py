"""A ledger of any size made column by column: what a corpus of 213,000 clips leaves, without annotating one."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from wmkit.corpus import Corpus, Status
from wmkit.corpus.ledger import LEDGER_SCHEMA, SOURCES_SCHEMA, VERDICT

__all__ = ["CONFIG_HASH", "write_large_corpus"]

CONFIG_HASH = "made by hand"
GROUPS = ("spatialvid", "miradata", "sekai")


def write_large_corpus(
    folder: Path,
    clips: int,
    filters: Mapping[str, str],
    parts: int = 8,
    config: Mapping[str, Any] = {},
    config_hash: str = CONFIG_HASH,
    ids: Sequence[str] = (),
) -> Corpus:
    """A corpus of `clips` rows in `parts` files; every filter (name -> unit) measured on nine clips in ten.

    One clip in fifty failed, one in ten has no trajectory; sources lie in three folders.
    """
    corpus = Corpus.create_or_open(folder, config, config_hash, update=False)
    rng = np.random.default_rng(0)
    fate = rng.random(clips)
    status = np.where(fate < 0.02, str(Status.FAILED), np.where(fate < 0.12, str(Status.NO_TRAJECTORY), str(Status.OK)))
    names = list(ids or (f"{number:032x}" for number in range(clips)))
    sources = [f"{GROUPS[number % 3]}/{number:06d}.mp4" for number in range(clips)]
    for number, rows in enumerate(np.array_split(np.arange(clips), parts)):
        table = _part(rng, [names[r] for r in rows], [sources[r] for r in rows], status[rows], filters)
        place = table.schema.get_field_index("config_hash")
        table = table.set_column(place, LEDGER_SCHEMA.field(place), pa.array([config_hash] * len(table)))
        pq.write_table(table, folder / "ledger" / f"part-{number:06d}.parquet")
    columns = {
        "path": [f"/nowhere/{source}" for source in sources],
        "name": sources,
        "size_bytes": np.full(clips, 10**7),
        "mtime_ns": np.zeros(clips, dtype=np.int64),
        "content_hash": names,
        "clip_id": names,
        "given": [""] * clips,
    }
    pq.write_table(pa.table(columns, schema=SOURCES_SCHEMA), folder / "sources.parquet")
    return corpus


def _part(
    rng: np.random.Generator, ids: Sequence[str], sources: Sequence[str], status: np.ndarray, filters: Mapping[str, str]
) -> pa.Table:
    count = len(ids)
    failed, none = status == str(Status.FAILED), status == str(Status.NO_TRAJECTORY)
    words = np.where(failed, "timeout", np.where(none, "static", ""))
    lengths = np.where(failed, 0, len(filters))
    total = int(lengths.sum())
    value = rng.lognormal(0.0, 0.5, total)
    unknown = rng.random(total) < 0.1
    fields = [
        pa.array(np.tile(np.array(list(filters)), total // len(filters))),
        pa.array(value, mask=unknown),
        pa.array(np.tile(np.array(list(filters.values())), total // len(filters))),
        pa.array(np.where(unknown, "unmeasured", "measured")),
        pa.array(np.where(unknown, "too_few_frames", "")),
    ]
    verdicts = pa.StructArray.from_arrays(fields, fields=list(VERDICT))
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    frames = pa.array(np.full(count, 160), mask=failed)
    metres = pa.array(rng.lognormal(1.0, 0.3, count), mask=(rng.random(count) < 0.5) | (status != str(Status.OK)))
    empty = pa.array([[]] * count, type=pa.list_(pa.string()))
    timings = pa.array([[("pose", 20.0), ("decode", 5.0)]] * count, type=pa.map_(pa.string(), pa.float64()))
    columns = {
        "clip_id": pa.array(ids),
        "source": pa.array(sources),
        "status": pa.array(status),
        "stage": pa.array(np.where(failed | none, "pose", "")),
        "code": pa.array(words),
        "message": pa.array(words),
        "frames": frames,
        "posed_frames": pa.array(np.where(none, 0, 150), mask=failed),
        "verdicts": pa.ListArray.from_arrays(offsets, verdicts),
        "scale_value": metres,
        "scale_low": metres,
        "scale_high": metres,
        "scale_cues": empty,
        "scale_absent": empty,
        "timings": timings,
        "config_hash": pa.array([CONFIG_HASH] * count),
        "attempt": pa.array(np.ones(count, dtype=np.int32)),
        "host": pa.array(["here"] * count),
        "finished_at": pa.array([0] * count, type=pa.timestamp("us", tz="UTC")),
    }
    return pa.table(columns).cast(LEDGER_SCHEMA)
