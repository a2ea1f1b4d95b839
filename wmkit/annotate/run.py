"""`run_annotate`: discover, plan, execute, record; the same call again resumes."""

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from wmkit.annotate.beside import beside_hash
from wmkit.annotate.inputs import find_inputs
from wmkit.annotate.pipeline import AnnotateConfig, config_dict, config_hash
from wmkit.annotate.progress import Progress
from wmkit.annotate.sources import SourcePlan, plan_sources
from wmkit.annotate.split import SplitConfig, split_found
from wmkit.annotate.worker import AnnotateTask, annotate_item, uses_gpu
from wmkit.atomic import no_room
from wmkit.clock import monotonic_s
from wmkit.corpus import Corpus, DeadLetter, LedgerRow, Status, config_hash_of_clip
from wmkit.errors import ConfigError, DiskFullError, InputError
from wmkit.executor import DISK_FULL, ExecutorOptions, Failure, Item, ItemTask, Outcome, gpus_there, run_items
from wmkit.video import ClipFile, Discovery, make_decoder
from wmkit.video.reference import with_span

__all__ = ["RunOptions", "RunSummary", "run_annotate"]

WAYS_SHOWN = 8  # in which clips failed, each with an example
FLUSH_ROWS, FLUSH_S = 64, 15.0  # rows of clips that ended may wait: folders and dead letters tell of them


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How to run; nothing here changes an annotation.

    executor  workers, per-clip time limit, attempts.
    gpu_device  of networks in workers with a GPU, as torch calls it: its last bits are not a CPU's.
    update    let this config replace another one of the same corpus.
    retry     attempt again what failed for good; else that stays as it ended.
    split     videos into clips by cuts and length; None: a video is a clip.
    rehash    read every source's bytes again, also where path, size and time are those of an earlier run.
    rerun     arguments after `wmkit annotate PATH --out CORPUS` in the command of a dead letter.
    """

    executor: ExecutorOptions = field(default_factory=ExecutorOptions)
    gpu_device: str = "cuda"
    update: bool = False
    retry: bool = False
    rehash: bool = False
    split: SplitConfig | None = None
    rerun: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """Where every source of this call stands now, whether this run or an earlier one brought it there.

    sources = clips + duplicates; clips = ok + no_trajectory + failed + unfinished.

    corpus             absolute path.
    sources            video files and image folders found.
    duplicates         sources whose content another one has too.
    skipped            things that look like footage and are none: reason -> count.
    resumed            clips that had ended in an earlier run, failed ones too.
    reasons            no_trajectory by reason.
    codes              failed by "stage/code".
    failures           a line for each of these, the most frequent first, with one clip's own message.
    unfinished         clips left without an outcome by an interrupt.
    frames             output frames of the ok and no_trajectory clips; posed_frames of them have a camera.
    metric             trajectories in metres; the other ok ones are up to scale.
    cues               clips by each scale cue that voted for their scale.
    cues_absent        clips by "cue: reason" of each cue that did not; details stay where one clip alone has it.
    seconds            wall time of this call; clips_per_s counts the clips it worked on.
    """

    corpus: str
    sources: int
    clips: int
    duplicates: int
    skipped: dict[str, int]
    resumed: int
    ok: int
    no_trajectory: int
    failed: int
    unfinished: int
    reasons: dict[str, int]
    codes: dict[str, int]
    failures: list[str]
    frames: int
    posed_frames: int
    metric: int
    cues: dict[str, int]
    cues_absent: dict[str, int]
    seconds: float
    clips_per_s: float
    interrupted: bool

    def to_json(self) -> dict[str, Any]:
        """Plain values under exactly the field names."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def exit_code(self, *, strict: bool) -> int:
        """0 done; 1 every clip failed, or any did and `strict`; 130 interrupted."""
        if self.interrupted:
            return 130
        return 1 if self.failed == self.clips or (strict and self.failed) else 0


def run_annotate(
    paths: Sequence[str | Path], out: str | Path, config: AnnotateConfig, options: RunOptions, progress: Progress
) -> RunSummary:
    """Annotate every clip that `paths` (files, folders, patterns, URLs, manifests) lead to into the corpus `out`.

    Clips that have ended under this config are skipped, however they ended: ok, without a trajectory, or failed for
    good, unless `options.retry`. An interrupt (Ctrl-C) ends the workers, records what is finished and returns with
    `interrupted`.

    Raises InputError when nothing is found, a path is missing, the corpus cannot be written or another run has it;
    ConfigError when the corpus is of another schema version, or of another config without `update`; DiskFullError
    when there is no room: no clip has failed for it, and the same call goes on.
    """
    try:
        return _annotate(paths, out, config, options, progress)
    except OSError as error:
        if not no_room(error):
            raise
        raise _full(out, str(error)) from error


def _full(out: str | Path, message: str) -> DiskFullError:
    return DiskFullError(f"{out}: expected room on disk, got: {message}; make room and run the same command again")


def _annotate(
    paths: Sequence[str | Path], out: str | Path, config: AnnotateConfig, options: RunOptions, progress: Progress
) -> RunSummary:
    start_s = monotonic_s()
    discovery = find_inputs(paths, progress.note)
    digest = config_hash(config)
    corpus = Corpus.create_or_open(
        Path(out), cast("dict[str, Any]", config_dict(config)), digest, update=options.update
    )
    with corpus.lock():
        if corpus.config_hash != digest:
            raise ConfigError(f"{corpus.path}: expected this run's config, another run just changed it; run again")
        progress.note(f"sources found: {len(discovery.clips)}; reading those that are new")
        known = corpus.sources()
        plan = plan_sources(discovery.clips, known, rehash=options.rehash, beside=beside_hash(config))
        _check_decoder(plan, config)
        if options.split is not None:
            workforce = replace(options.executor, gpu_workers=0)
            parts = split_found(discovery.clips, plan, corpus, options.split, workforce, progress)
            discovery = replace(discovery, clips=parts)
            plan = plan_sources(parts, [*known, *plan.rows], beside=beside_hash(config))
        corpus.write_sources(plan.rows, known)
        run = _Run(corpus, plan, options, progress)
        interrupted = run.execute(config)
        return _summary(run, discovery, monotonic_s() - start_s, interrupted)


class _Run:
    """One run's bookkeeping: the driver's side of every outcome."""

    def __init__(self, corpus: Corpus, plan: SourcePlan, options: RunOptions, progress: Progress) -> None:
        self.corpus, self.plan, self.options, self.progress = corpus, plan, options, progress
        self.digest = corpus.config_hash
        history = corpus.outcomes()
        done = corpus.done_ids(self.digest, history) & plan.files.keys()
        self.attempts = Counter(row.clip_id for row in history)
        told = _recover_failures(corpus, plan, self.attempts)
        self.attempts.update(row.clip_id for row in told)
        recovered = _recover(corpus, plan, done, self.attempts)
        history += told + recovered
        done |= {row.clip_id for row in recovered}
        given_up = set() if options.retry else corpus.dead_letter_ids() & (plan.files.keys() | plan.unreadable.keys())
        self.done = {
            key: row
            for key, row in corpus.latest(history).items()
            if key in done or (key in given_up and not row.done and row.config_hash == self.digest_of(key))
        }
        self.attempts.update(row.clip_id for row in recovered)
        self.final: dict[str, LedgerRow] = {}
        self._waiting: list[LedgerRow] = []
        self._flushed_s = monotonic_s()

    def digest_of(self, clip_id: str) -> str:
        """The config hash that this run's result of a clip has."""
        return _digest(self.digest, self.plan, clip_id)

    def execute(self, config: AnnotateConfig) -> bool:
        """Work on all clips that need it; True when interrupted. Everything finished is on disk when it returns."""
        clips = len(self.plan.files) + len(self.plan.unreadable)
        self.progress.start(clips, Counter(row.status for row in self.done.values()))
        try:
            for clip_id, (row, error) in self.plan.unreadable.items():
                if clip_id in self.done:
                    continue
                failure = Failure(stage=error.stage, code=error.code, message=error.message)
                self.record(Outcome(key=clip_id, attempt=1, final=True, failure=failure), row.name, row.path)
            todo = [Item(key=key, payload=file) for key, file in self.plan.files.items() if key not in self.done]
            gpus = gpus_there(self.options.executor) if todo and uses_gpu(config) else 0
            device = self.options.gpu_device if gpus else None
            task = AnnotateTask(corpus=str(self.corpus.path), config=config, gpu_device=device)
            workforce = replace(self.options.executor, gpu_workers=gpus)
            run_items(todo, ItemTask(function=annotate_item, config=task), workforce, self.record_item)
        except KeyboardInterrupt:
            return True
        finally:
            self.progress.stop()
            self.flush()
        return False

    def record_item(self, outcome: Outcome) -> None:
        """Record one attempt at a readable clip. DiskFullError when that had no room: it counts for nothing."""
        if outcome.failure is not None and outcome.failure.code == DISK_FULL:
            raise _full(self.corpus.path, outcome.failure.message)
        file: ClipFile = self.plan.files[outcome.key]
        self.record(outcome, file.name, with_span(file.path, file.span_s))

    def record(self, outcome: Outcome, name: str, path: str) -> None:
        """Ledger row, dead letter, progress. A failure that is tried again reaches the disk at once: nothing else on it
        would tell of the attempt."""
        attempt = self.attempts[outcome.key] + outcome.attempt
        failure = outcome.failure
        if failure is None:
            row = replace(cast("LedgerRow", outcome.result), attempt=attempt)
            self.corpus.remove_dead_letter(row.clip_id)
        else:
            row = LedgerRow(
                clip_id=outcome.key,
                source=name,
                status=Status.FAILED,
                stage=failure.stage,
                code=failure.code,
                message=failure.message,
                config_hash=self.digest_of(outcome.key),
                attempt=attempt,
            )
            if outcome.final:
                self.corpus.write_dead_letter(self._letter(row, failure, path))
        self._waiting.append(row)
        late = len(self._waiting) >= FLUSH_ROWS or monotonic_s() - self._flushed_s >= FLUSH_S
        if late or not outcome.final:
            self.flush()
        if outcome.final:
            self.final[outcome.key] = row.outcome
            self.progress.advance(row)

    def flush(self) -> None:
        """Put the waiting rows on disk."""
        try:
            self.corpus.append_ledger(self._waiting)
        except OSError as error:
            if no_room(error):
                raise
            raise InputError(
                f"{self.corpus.path}: expected to write the ledger, got {error.strerror}; "
                "mend that and run the same command again"
            ) from error
        self._waiting.clear()
        self._flushed_s = monotonic_s()

    def _letter(self, row: LedgerRow, failure: Failure, path: str) -> DeadLetter:
        command = ["wmkit", "annotate", path, "--out", str(self.corpus.path), "--retry", *self.options.rerun]
        return DeadLetter(
            clip_id=row.clip_id,
            source=row.source,
            path=path,
            stage=row.stage,
            code=row.code,
            message=row.message,
            traceback=failure.traceback,
            command=shlex.join(command),
            attempt=row.attempt,
            config_hash=row.config_hash,
        )


def _check_decoder(plan: SourcePlan, config: AnnotateConfig) -> None:
    """InputError now and once, rather than from every clip, when the decoder's package is not installed."""
    video = next((file for file in plan.files.values() if not file.images), None)
    if video is not None:
        make_decoder(config.video.decoder, video)


def _digest(config_hash: str, plan: SourcePlan, clip_id: str) -> str:
    unreadable = plan.unreadable.get(clip_id)
    return config_hash_of_clip(config_hash, plan.files[clip_id].given if unreadable is None else unreadable[0].given)


def _recover(corpus: Corpus, plan: SourcePlan, done: set[str], attempts: Counter[str]) -> list[LedgerRow]:
    """Give folders that a killed run wrote but did not record their ledger row; throw damaged ones away."""
    digest = corpus.config_hash
    rows = []
    for clip_id in plan.files:
        if clip_id in done:
            continue
        try:
            if corpus.clip_config_hash(clip_id) == _digest(digest, plan, clip_id):
                rows.append(LedgerRow.of(corpus.read(clip_id), {}, attempts[clip_id] + 1))
                corpus.remove_dead_letter(clip_id)
        except InputError:
            corpus.discard(clip_id)
    corpus.append_ledger(rows)
    return rows


def _recover_failures(corpus: Corpus, plan: SourcePlan, attempts: Counter[str]) -> list[LedgerRow]:
    """Give dead letters that a killed run wrote but did not record their ledger row."""
    rows = [
        LedgerRow(
            clip_id=letter.clip_id,
            source=letter.source,
            status=Status.FAILED,
            stage=letter.stage,
            code=letter.code,
            message=letter.message,
            config_hash=letter.config_hash,
            attempt=letter.attempt,
        )
        for letter in corpus.dead_letters()
        if (letter.clip_id in plan.files or letter.clip_id in plan.unreadable)
        and letter.attempt > attempts[letter.clip_id]
    ]
    corpus.append_ledger(rows)
    return rows


def _summary(run: _Run, discovery: Discovery, seconds: float, interrupted: bool) -> RunSummary:
    plan = run.plan
    final = run.done | run.final
    by_status = Counter(row.status for row in final.values())
    clips = len(plan.files) + len(plan.unreadable)
    unfinished = clips - len(final)
    if len(plan.rows) != len(discovery.clips) or (unfinished and not interrupted):
        raise AssertionError(f"{len(discovery.clips)} sources, {len(plan.rows)} rows, {unfinished} clips unaccounted")
    return RunSummary(
        corpus=str(run.corpus.path),
        sources=len(plan.rows),
        clips=clips,
        duplicates=len(plan.rows) - clips,
        skipped=dict(sorted(Counter(item.reason for item in discovery.skipped).items())),
        resumed=len(run.done),
        ok=by_status[Status.OK],
        no_trajectory=by_status[Status.NO_TRAJECTORY],
        failed=by_status[Status.FAILED],
        unfinished=unfinished,
        reasons=_count(row.code for row in final.values() if row.status is Status.NO_TRAJECTORY),
        codes=_count(f"{row.stage}/{row.code}" for row in final.values() if row.status is Status.FAILED),
        failures=_failure_lines(run.corpus, [row for row in final.values() if row.status is Status.FAILED]),
        frames=sum(row.frames or 0 for row in final.values()),
        posed_frames=sum(row.posed_frames or 0 for row in final.values()),
        metric=sum(row.scale_value is not None for row in final.values()),
        cues=_count(cue for row in final.values() for cue in set(row.scale_cues)),
        cues_absent=_absent([text for row in final.values() for text in set(row.scale_absent)]),
        seconds=round(seconds, 3),
        clips_per_s=round(len(run.final) / seconds, 4) if seconds > 0 else 0.0,
        interrupted=interrupted,
    )


def _failure_lines(corpus: Corpus, rows: Sequence[LedgerRow]) -> list[str]:
    """A line for each way in which clips failed, the most frequent first: how many did, and one's own message.

    Of more than eight ways the others are counted alone.
    """
    by_way: dict[str, list[LedgerRow]] = {}
    for row in sorted(rows, key=lambda row: row.source):
        by_way.setdefault(f"{row.stage}/{row.code}", []).append(row)
    ways = sorted(by_way, key=lambda way: (-len(by_way[way]), way))
    lines = []
    for way in ways[:WAYS_SHOWN]:
        first, count = by_way[way][0], len(by_way[way])
        letter = corpus.dead_letter(first.clip_id)
        said = "" if letter is None else f": {' '.join(letter.message.split())}"
        lines.append(f"failed: {count} {way}, {'such as ' if count > 1 else ''}{first.source}{said}")
    if len(ways) > WAYS_SHOWN:
        lines.append("failed: " + ", ".join(f"{len(by_way[way])} {way}" for way in ways[WAYS_SHOWN:]))
    return lines


def _absent(texts: list[str]) -> dict[str, int]:
    """Clips by "cue: reason"; what one clip alone has keeps its details."""
    short = [": ".join(text.split(": ")[:2]) for text in texts]
    often = Counter(short)
    return _count(text if often[brief] == 1 else brief for text, brief in zip(texts, short, strict=True))


def _count(words: Any) -> dict[str, int]:
    return dict(sorted(Counter(words).items()))
