"""Sources behind URLs: found, fetched once into a bounded cache, and never taken for other bytes."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from tests.http_folder import Served, http_folder
from tests.video_clips import write_clip
from wmkit.errors import ClipError, InputError
from wmkit.video import VideoConfig, discover, identify, open_source, remote
from wmkit.video.frames import ClipFile
from wmkit.video.remote import fetched_hash, local_copy, pinned_copy


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WMKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(remote, "WAITS_S", (0.0, 0.0))
    return tmp_path / "cache" / "sources"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    (tmp_path / "www").mkdir()
    with http_folder(tmp_path / "www") as found:
        yield found


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


def copies(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.glob("??/*"))


def test_a_bucket_is_searched_like_a_folder(memory: fsspec.AbstractFileSystem) -> None:
    for name in ("b/walks/a.mp4", "b/walks/deep/c.MOV", "b/walks/notes.txt", "b/other.mp4"):
        memory.pipe(f"/{name}", name.encode())

    def found(*paths: str) -> list[tuple[str, str, int]]:
        return [(clip.path, clip.name, clip.size_bytes) for clip in discover(paths).clips]

    a, c = "memory://b/walks/a.mp4", "memory://b/walks/deep/c.MOV"
    assert found("memory://b/walks") == [(a, "a.mp4", 13), (c, "deep/c.MOV", 18)]
    assert found("memory://b/*/*.mp4") == [(a, "walks/a.mp4", 13)]
    assert found(a, c) == [(a, "a.mp4", 13), (c, "c.MOV", 18)]
    assert found(f"{a}#t=1,2.5", f"{a}#t=4") == [(f"{a}#t=1,2.5", "a.mp4#t=1,2.5", 13), (f"{a}#t=4", "a.mp4#t=4", 13)]
    with pytest.raises(InputError, match="expected one clip to take a span of, got 2"):
        discover(["memory://b/walks#t=1,2"])


def test_the_hash_is_the_contents_and_a_clip_is_fetched_once(served: Served, cache: Path) -> None:
    """The clip has the id of the same file on disk; workers get the copy that hashing made."""
    local = write_clip(served.folder / "a.mp4", range(20), (64, 48))
    file = identify(discover([f"{served.url}/a.mp4"]).clips[0])
    assert (file.path, file.clip_id) == (f"{served.url}/a.mp4", identify(discover([local]).clips[0]).clip_id)
    sent = served.bytes_sent
    assert sent == local.stat().st_size
    with local_copy(file) as here:
        assert Path(here.path).read_bytes() == local.read_bytes()
        assert len(open_source(here, VideoConfig(fps=None)).view) == 20
    assert served.bytes_sent == sent
    assert copies(cache) == [f"{file.content_hash}.mp4"]
    assert not list(cache.glob(".*.part"))


def test_a_server_that_fails_twice_is_asked_again(served: Served) -> None:
    (served.folder / "a.mp4").write_bytes(b"a" * 1000)
    served.failing = 2
    assert fetched_hash(f"{served.url}/a.mp4", "a.mp4") == hashlib.sha256(b"a" * 1000).hexdigest()


def test_what_cannot_be_fetched_is_this_clips_failure(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def code(url: str) -> str:
        with pytest.raises(ClipError) as caught:
            fetched_hash(url, "x.mp4")
        assert caught.value.stage == "fetch"
        return caught.value.code

    (served.folder / "a.mp4").write_bytes(b"a" * 1000)
    assert code(f"{served.url}/gone.mp4") == "unreachable"
    served.failing = 99
    assert code(f"{served.url}/a.mp4") == "unreachable"
    served.failing = 0
    monkeypatch.setenv("WMKIT_CACHE_GIB", str(999 / 2**30))
    assert code(f"{served.url}/a.mp4") == "too_large"
    monkeypatch.setenv("WMKIT_CACHE", "/proc/nowhere")
    monkeypatch.setenv("WMKIT_CACHE_GIB", "1")
    assert code(f"{served.url}/a.mp4") == "cache_unwritable"


def test_other_bytes_at_the_url_are_never_annotated(served: Served, cache: Path) -> None:
    (served.folder / "a.mp4").write_bytes(b"first")
    file = identify(discover([f"{served.url}/a.mp4"]).clips[0])
    (served.folder / "a.mp4").write_bytes(b"other")
    with local_copy(file) as here:
        assert Path(here.path).read_bytes() == b"first"
    os.remove(next(cache.glob("??/*")))
    with pytest.raises(ClipError) as caught, local_copy(file):
        pass
    assert caught.value.code == "source_changed"
    assert not copies(cache)


def test_the_cache_is_bounded_and_what_is_in_use_stays(
    served: Served, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WMKIT_CACHE_GIB", str(2500 / 2**30))
    names = ("a", "b", "c", "d")
    for name in names:
        (served.folder / f"{name}.mp4").write_bytes(name.encode() * 1000)
    digests = {name: hashlib.sha256(name.encode() * 1000).hexdigest() for name in names}

    def file(name: str) -> ClipFile:
        url = f"{served.url}/{name}.mp4"
        return ClipFile(path=url, name=name, content_hash=digests[name], clip_id=digests[name][:32])

    with local_copy(file("a")) as here:
        for name in "bcd":
            fetched_hash(f"{served.url}/{name}.mp4", name)
        assert Path(here.path).read_bytes() == b"a" * 1000
        assert copies(cache) == sorted(f"{digests[name]}.mp4" for name in "ad")
    pinned = pinned_copy(file("b"))
    for name in "cd":
        fetched_hash(f"{served.url}/{name}.mp4", name)
    assert Path(pinned.path).read_bytes() == b"b" * 1000


def test_a_url_that_nothing_reads_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="expected a protocol that fsspec knows, got 'gopher'"):
        discover(["gopher://host/a.mp4"])
    with pytest.raises(InputError, match="got a chain"):
        discover(["zip://a.mp4::http://host/a.zip"])
    monkeypatch.setenv("WMKIT_CACHE_GIB", "much")
    with pytest.raises(InputError, match="WMKIT_CACHE_GIB: expected a number"):
        fetched_hash("memory://a.mp4", "a")


def test_versions_tell_a_changed_file(served: Served, memory: fsspec.AbstractFileSystem) -> None:
    (served.folder / "a.mp4").write_bytes(b"first")
    memory.pipe("/a.mp4", b"first")
    urls = [f"{served.url}/a.mp4", "memory://a.mp4"]
    before = [clip.mtime_ns for clip in discover(urls).clips]
    assert before == [clip.mtime_ns for clip in discover(urls).clips]
    assert 0 not in before
    (served.folder / "a.mp4").write_bytes(b"other")
    memory.pipe("/a.mp4", b"other")
    after = [clip.mtime_ns for clip in discover(urls).clips]
    assert all(a != b for a, b in zip(before, after, strict=True))
