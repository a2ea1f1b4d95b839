"""A corpus of 213,000 clips with the real driver, executor, ledger and report, the work on a clip stubbed here.

`python benchmarks/simulate_corpus.py [--clips N] [--ended]`. Sources are sparse files of 10 MB whose hashes are in
sources.parquet already: hashing 2 TB is no part of it. A worker makes the clip's folder and its row; one clip in fifty
fails. One JSON line: the driver's CPU time a clip, its peak memory, wall time of the resume of the finished corpus and
of its report. With `--ended` nothing is run: the corpus is made as such a run leaves it, ledger, folders, dead letters
and all, and then resumed and reported.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import resource
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import pyarrow.parquet as pq

from tests.large_ledger import write_large_corpus
from wmkit.annotate import run as annotate_run
from wmkit.annotate.defaults import default_config
from wmkit.annotate.pipeline import config_dict, config_hash
from wmkit.annotate.progress import SilentProgress
from wmkit.annotate.report import write_report
from wmkit.annotate.run import FLUSH_ROWS, RunOptions, run_annotate
from wmkit.annotate.worker import AnnotateTask
from wmkit.atomic import json_bytes
from wmkit.clip import Verdict
from wmkit.corpus import Corpus, DeadLetter, LedgerRow, SourceRow, Status
from wmkit.corpus.store import MERGED_PARTS
from wmkit.errors import ClipError
from wmkit.executor import ExecutorOptions
from wmkit.video import ClipFile, clip_id_of

SOURCE_BYTES = 10_000_000
FAILS_EVERY = 50
FILTERS = [f"filter_{number:02d}" for number in range(36)]  # as many verdicts as annotate has


def stubbed(task: AnnotateTask, file: ClipFile) -> LedgerRow:
    """What a worker does with one clip here: fail, or make its folder and a row as large as a real one."""
    number = int(file.content_hash[:8], 16)
    if number % FAILS_EVERY == 0:
        raise ClipError("decode", "zero_frames", f"{file.name}: expected frames, none decodes; copy it again")
    Corpus(Path(task.corpus)).folder(file.clip_id).mkdir(parents=True)
    verdicts = tuple(Verdict.measured(name, number % 97 / 97, "") for name in FILTERS)
    return LedgerRow(
        clip_id=file.clip_id,
        source=file.name,
        status=Status.OK,
        frames=161,
        posed_frames=161,
        verdicts=verdicts,
        timings={"pose": 1.0, "decode": 0.1},
        config_hash=config_hash(task.config),
    )


def content_of(number: int) -> str:
    """The hash that a source is said to have."""
    return hashlib.sha256(str(number).encode()).hexdigest()


def write_sources(folder: Path, corpus: Corpus, clips: int) -> None:
    """Sparse files, a thousand a folder, and the rows of a run that has hashed them."""
    rows = []
    for number in range(clips):
        path = folder / f"{number // 1000:04d}" / f"{number:06d}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb") as file:
            file.truncate(SOURCE_BYTES)
        content = content_of(number)
        name, changed = path.relative_to(folder).as_posix(), path.stat().st_mtime_ns
        rows.append(
            SourceRow(
                path=str(path),
                name=name,
                size_bytes=SOURCE_BYTES,
                mtime_ns=changed,
                content_hash=content,
                clip_id=clip_id_of(content),
            )
        )
    corpus.write_sources(rows)


def write_ended(folder: Path, out: Path, clips: int) -> None:
    """What a run over `clips` sources leaves: merged parts of the ledger and the most that are not merged yet."""
    config = default_config()
    plain = cast("dict[str, Any]", config_dict(config))
    ids = [clip_id_of(content_of(number)) for number in range(clips)]
    merged = -(-clips // (MERGED_PARTS * FLUSH_ROWS))
    corpus = write_large_corpus(out, clips, dict.fromkeys(FILTERS, ""), merged, plain, config_hash(config), ids)
    *full, last = sorted((out / "ledger").iterdir())
    for number, part in enumerate(full):
        first = number * MERGED_PARTS
        part.rename(out / "ledger" / f"part-{first:06d}-{first + MERGED_PARTS - 1:06d}.parquet")
    table = pq.read_table(last)
    last.unlink()
    for number, start in enumerate(range(0, len(table), FLUSH_ROWS), start=len(full) * MERGED_PARTS):
        pq.write_table(table.slice(start, FLUSH_ROWS), out / "ledger" / f"part-{number:06d}.parquet")
    write_sources(folder, corpus, clips)
    for row in corpus.outcomes():
        if row.done:
            corpus.folder(row.clip_id).mkdir(parents=True)
            continue
        letter = DeadLetter(
            clip_id=row.clip_id, source=row.source, path=row.source, stage=row.stage, code=row.code, message="",
            traceback="", command="", attempt=1, config_hash=row.config_hash,
        )  # fmt: skip
        (out / "dead-letter" / f"{row.clip_id}.json").write_bytes(json_bytes(asdict(letter)))


def main() -> None:
    """Simulate and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=213_000)
    parser.add_argument("--ended", action="store_true")
    parser.add_argument("--folder", type=Path, default=None)
    arguments = parser.parse_args()
    config = default_config()
    told: dict[str, Any] = {"clips": arguments.clips}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder, out = Path(name) / "in", Path(name) / "corpus"
        if arguments.ended:
            # In a process of its own: what the making holds is not what the driver of a resume does.
            maker = multiprocessing.get_context("spawn").Process(
                target=write_ended, args=(folder, out, arguments.clips)
            )
            maker.start()
            maker.join()
            if maker.exitcode:
                raise SystemExit(f"expected the corpus to be made, its process ended with {maker.exitcode}")
        else:
            plain = cast("dict[str, Any]", config_dict(config))
            write_sources(folder, Corpus.create_or_open(out, plain, config_hash(config), update=False), arguments.clips)
        annotate_run.annotate_item = stubbed  # the one stub; workers import this module to find it
        options = RunOptions(executor=ExecutorOptions(kind="local", workers=2, timeout_s=600.0))
        if not arguments.ended:
            start_s, used_s = time.monotonic(), time.process_time()
            run_annotate([folder], out, config, options, SilentProgress())
            told["run_s"] = time.monotonic() - start_s
            told["driver_core_ms_a_clip"] = 1e3 * (time.process_time() - used_s) / arguments.clips
        told["ledger_parts"] = len(os.listdir(out / "ledger"))
        start_s, used_s = time.monotonic(), time.process_time()
        summary = run_annotate([folder], out, config, options, SilentProgress())
        told["resume_s"], told["resume_core_s"] = time.monotonic() - start_s, time.process_time() - used_s
        told["failed"] = summary.failed
        if summary.resumed != arguments.clips:
            raise SystemExit(f"expected {arguments.clips} clips to be done, {summary.resumed} were")
        told["driver_rss_gib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        start_s, used_s = time.monotonic(), time.process_time()
        write_report(out)
        told["report_s"], told["report_core_s"] = time.monotonic() - start_s, time.process_time() - used_s
        print(json.dumps({key: round(value, 3) for key, value in told.items()}), flush=True)


if __name__ == "__main__":
    # Under its own name, so that workers find `stubbed` where the driver says it is.
    from benchmarks.simulate_corpus import main as simulate

    simulate()
