"""What is a clip, what it is called, and what is skipped."""

import hashlib
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from wmkit.errors import ClipError, InputError
from wmkit.video import Discovery, clip_id_of, discover, identify


def write(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def png(path: Path, dtype: type = np.uint8) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.zeros((4, 4), dtype=dtype))
    return path


def names(found: Discovery) -> list[str]:
    return [clip.name for clip in found.clips]


def skips(found: Discovery, root: Path) -> dict[str, str]:
    return {os.path.relpath(item.path, root): item.reason for item in found.skipped}


def test_videos_and_folders_recursively_in_one_order(tmp_path: Path) -> None:
    for name in ("b.mp4", "a/c.MOV", "a/b/d.webm", "z.gif", "UPPER.MP4"):
        write(tmp_path / name)
    for name in ("seq/1.jpg", "seq/2.jpg", "a/two/x10.png", "a/two/x9.png"):
        write(tmp_path / name)
    found = discover([tmp_path])
    assert names(found) == ["UPPER.MP4", "a/b/d.webm", "a/c.MOV", "a/two", "b.mp4", "seq", "z.gif"]
    assert found.skipped == ()
    assert dict(zip(names(found), [clip.images for clip in found.clips], strict=True))["a/two"] == ("x9.png", "x10.png")


def test_what_is_ignored(tmp_path: Path) -> None:
    for name in (
        *("clip.mp4", "SOURCE.txt", "poses.json", "gps.csv", "points.ply", "song.mp3", "noextension", "cover.jpg"),
        *(".hidden.mp4", ".cache/clip.mp4", "one_image/1.jpg", "unnumbered/left.jpg", "unnumbered/right.jpg"),
        *("empty/notes.md", "video.mp4.part"),
    ):
        write(tmp_path / name)
    assert names(discover([tmp_path])) == ["clip.mp4"]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["1.jpg", "10.jpg", "11.jpg", "2.jpg", "3.jpg"], ["1.jpg", "2.jpg", "3.jpg", "10.jpg", "11.jpg"]),
        (["frame-000009.color.jpg", "frame-000010.color.jpg"], ["frame-000009.color.jpg", "frame-000010.color.jpg"]),
        (["1305031102.175304.png", "1305031101.9.png"], ["1305031101.9.png", "1305031102.175304.png"]),
        (
            ["1403636579763555584.png", "1403636579813555456.png"],
            ["1403636579763555584.png", "1403636579813555456.png"],
        ),
        (["IMG_2.JPG", "IMG_1.jpeg"], ["IMG_1.jpeg", "IMG_2.JPG"]),
        (["a1.jpg", "a2.jpg", "cover.jpg", "b7.png"], ["a1.jpg", "a2.jpg"]),
        (["scan3_0002.png", "scan3_0001.png"], ["scan3_0001.png", "scan3_0002.png"]),
    ],
)
def test_sequences(tmp_path: Path, files: list[str], expected: list[str]) -> None:
    for name in files:
        write(tmp_path / "seq" / name)
    (clip,) = discover([tmp_path]).clips
    assert (clip.name, clip.images) == ("seq", tuple(expected))


def test_depth_masks_and_16_bit_are_skipped_and_counted(tmp_path: Path) -> None:
    for folder in ("images", "depth", "Mask", "masks", "deep/depth"):
        for number in range(3):
            png(tmp_path / folder / f"{number}.png")
    for number in range(3):
        png(tmp_path / "sixteen" / f"{number}.png", np.uint16)
        png(tmp_path / "kinect" / f"frame-{number:03d}.depth.png", np.uint16)
        png(tmp_path / "kinect" / f"frame-{number:03d}.color.png")
        png(tmp_path / "stereo" / f"left_{number}.png")
        png(tmp_path / "stereo" / f"right_{number}.png")
    found = discover([tmp_path])
    assert names(found) == ["images", "kinect"]
    assert found.clips[1].images == tuple(f"frame-{number:03d}.color.png" for number in range(3))
    assert skips(found, tmp_path) == {
        "Mask": "depth_or_mask_folder",
        "deep/depth": "depth_or_mask_folder",
        "depth": "depth_or_mask_folder",
        "kinect": "sixteen_bit_images",
        "masks": "depth_or_mask_folder",
        "sixteen": "sixteen_bit_images",
        "stereo": "several_patterns",
    }


def test_equal_numbers_in_two_formats_are_two_sequences(tmp_path: Path) -> None:
    for name in ("1.jpg", "2.jpg", "1.png", "2.png"):
        write(tmp_path / "both" / name)
    for name in ("1.jpg", "2.jpg", "3.png"):
        write(tmp_path / "mixed" / name)
    found = discover([tmp_path])
    assert names(found) == ["mixed"]
    assert found.clips[0].images == ("1.jpg", "2.jpg", "3.png")
    assert skips(found, tmp_path) == {"both": "several_patterns"}


def test_extensions_that_mean_two_things(tmp_path: Path) -> None:
    """Program text named .ts and still pictures named .webp are no videos; animations are."""
    write(tmp_path / "app.ts", b"export const x = 1;\n")
    write(tmp_path / "stream.ts", b"\x47\x40\x11\x10" + bytes(200))
    still = cv2.imencode(".webp", np.zeros((4, 4, 3), np.uint8))[1].tobytes()
    write(tmp_path / "still.webp", still)
    write(tmp_path / "stills" / "1.webp", still)
    write(tmp_path / "stills" / "2.webp", still)
    write(tmp_path / "moving.webp", b"RIFF\x00\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x02" + bytes(9))
    assert names(discover([tmp_path])) == ["moving.webp", "stills", "stream.ts"]


def test_named_files_and_folders(tmp_path: Path) -> None:
    named = write(tmp_path / "recording.dat")
    write(tmp_path / "seq" / "1.jpg")
    write(tmp_path / "seq" / "2.jpg")
    write(tmp_path / "seq" / "below" / "x.mp4")
    assert names(discover([named])) == ["recording.dat"]
    assert names(discover([tmp_path / "seq"])) == ["below/x.mp4", "seq"]
    assert names(discover([str(tmp_path / "seq") + "/"])) == ["below/x.mp4", "seq"]


def test_relative_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.mp4")
    monkeypatch.chdir(tmp_path)
    (clip,) = discover(["."]).clips
    assert (clip.path, clip.name) == (str(tmp_path / "a.mp4"), "a.mp4")


def test_a_clip_reached_twice_counts_once(tmp_path: Path) -> None:
    write(tmp_path / "a" / "x.mp4")
    assert names(discover([tmp_path, tmp_path / "a", tmp_path / "a" / "x.mp4"])) == ["a/x.mp4"]
    assert names(discover([tmp_path / "a", tmp_path])) == ["x.mp4"]


def test_equal_names_are_told_apart_by_the_folders_above(tmp_path: Path) -> None:
    for name in ("one/data/x.mp4", "two/data/x.mp4", "three/y.mp4", "one/data/only.mp4"):
        write(tmp_path / name)
    found = discover([tmp_path / "one" / "data", tmp_path / "two" / "data", tmp_path / "three"])
    assert names(found) == ["one/data/x.mp4", "only.mp4", "two/data/x.mp4", "y.mp4"]
    found = discover([tmp_path / "two" / "data", tmp_path / "one" / "data", tmp_path / "three"])
    assert names(found) == ["one/data/x.mp4", "only.mp4", "two/data/x.mp4", "y.mp4"]


def test_links(tmp_path: Path) -> None:
    """Linked footage counts; a link to a folder above does not loop; a broken link is that clip's failure."""
    write(tmp_path / "store" / "real.mp4")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "linked.mp4").symlink_to(tmp_path / "store" / "real.mp4")
    (tmp_path / "in" / "folder").symlink_to(tmp_path / "store")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "broken.mp4").symlink_to(tmp_path / "nowhere.mp4")
    found = discover([tmp_path / "in"])
    assert names(found) == ["broken.mp4", "folder/real.mp4", "linked.mp4"]
    with pytest.raises(ClipError) as caught:
        identify(found.clips[0])
    assert (caught.value.stage, caught.value.code) == ("discover", "unreadable")
    assert (found.clips[0].size_bytes, found.clips[0].mtime_ns) == (0, 0)


@pytest.mark.timeout(10)
def test_a_pipe_named_like_a_video_is_no_clip(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    assert names(discover([tmp_path])) == ["a.mp4"]
    with pytest.raises(InputError, match="got a device, pipe or socket"):
        discover([tmp_path / "pipe.mp4"])


def test_unreadable_folders_are_skipped_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.mp4")
    (tmp_path / "locked").mkdir()
    scandir = os.scandir

    def refuse(path: object) -> object:  # the tests may run as root, whom no permission stops
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "scandir", refuse)
    found = discover([tmp_path])
    assert names(found) == ["a.mp4"]
    assert skips(found, tmp_path) == {"locked": "unreadable_folder"}


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4")
    bad = os.fsencode(tmp_path) + b"/bad\xff.mp4"
    with open(bad, "wb"):
        pass
    found = discover([tmp_path])
    assert names(found) == ["a.mp4"]
    assert [item.reason for item in found.skipped] == ["name_not_utf8"]
    found.skipped[0].path.encode()  # can be written to a report
    with pytest.raises(InputError, match="UTF-8"):
        discover([os.fsdecode(bad)])


def test_missing_and_empty_inputs(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone: expected a video file or a folder, got No such file"):
        discover([tmp_path / "gone"])
    with pytest.raises(InputError, match="at least one video file or folder"):
        discover([])
    with pytest.raises(InputError, match=r"^no clip found in .*: expected video files or folders") as caught:
        discover([tmp_path])
    assert "\n" not in str(caught.value)
    for number in range(2):
        png(tmp_path / "depth" / f"{number}.png")
    with pytest.raises(InputError, match=r"no clip found in .* \(1 depth_or_mask_folder skipped\)"):
        discover([tmp_path])


def test_identity_is_content(tmp_path: Path) -> None:
    one = write(tmp_path / "one.mp4", b"footage")
    write(tmp_path / "two.mp4", b"footage")
    write(tmp_path / "three.mp4", b"other")
    files = {file.name: file for file in map(identify, discover([tmp_path]).clips)}
    digest = hashlib.sha256(b"footage").hexdigest()
    assert files["one.mp4"].content_hash == digest
    assert files["one.mp4"].clip_id == hashlib.sha256(f"{digest}|whole".encode()).hexdigest()[:32] == clip_id_of(digest)
    assert files["one.mp4"].clip_id == files["two.mp4"].clip_id != files["three.mp4"].clip_id
    assert files["one.mp4"].path == str(one)


def test_identity_of_a_folder_is_its_names_and_contents(tmp_path: Path) -> None:
    def of(*images: tuple[str, bytes]) -> str:
        folder = tmp_path / "seq"
        for old in folder.glob("*"):
            old.unlink()
        for name, content in images:
            write(folder / name, content)
        (clip,) = discover([tmp_path]).clips
        return identify(clip).clip_id

    first = of(("1.jpg", b"a"), ("2.jpg", b"b"))
    assert of(("1.jpg", b"a"), ("2.jpg", b"b"), ("notes.txt", b"c")) == first
    assert of(("1.jpg", b"b"), ("2.jpg", b"a")) != first
    assert of(("1.jpg", b"a"), ("3.jpg", b"b")) != first
    assert of(("1.jpg", b"ab"), ("2.jpg", b"")) != first


def test_an_image_that_vanishes_is_the_clips_failure(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / "seq" / f"{number}.jpg")
    (clip,) = discover([tmp_path]).clips
    assert clip.size_bytes == 3
    (tmp_path / "seq" / "1.jpg").unlink()
    with pytest.raises(ClipError, match=r"seq: expected a readable file, got No such file or directory for 1\.jpg"):
        identify(clip)


def test_real_sets(shared_data: Path) -> None:
    """Every sequence of posed/ and raw/ is found; their depth folders are counted and left alone."""
    found = discover([shared_data / "posed", shared_data / "raw"])
    assert {"fox/images", "kitti06_gray/images", "kitti06_gray/video.mp4", "carphone.mp4"} <= set(names(found))
    assert {skip.reason for skip in found.skipped} == {"depth_or_mask_folder"}
    assert not any("depth" in name for name in names(found))
