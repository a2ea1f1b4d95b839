"""The camera-language lint on captions written for it: plain scenes, and the same with a camera that moves."""

from pathlib import Path

import pytest

from wmkit.annotate.captions.camera_language import camera_phrases

HERE = Path(__file__).parent
PLAIN = (HERE / "plain.txt").read_text(encoding="utf-8").splitlines()
MOVING = (HERE / "moving.txt").read_text(encoding="utf-8").splitlines()


def test_there_are_enough_captions_of_either_kind() -> None:
    assert len(set(PLAIN)) == 130
    assert len(set(MOVING)) == 110


@pytest.mark.parametrize("caption", PLAIN)
def test_a_plain_scene_has_none(caption: str) -> None:
    assert camera_phrases(caption) == ()


@pytest.mark.parametrize("caption", MOVING)
def test_a_moving_camera_is_noticed(caption: str) -> None:
    phrases = camera_phrases(caption)
    assert phrases
    assert all(phrase in caption for phrase in phrases)


def test_each_phrase_counts_once_however_it_is_written() -> None:
    text = "The camera pans left, then\n the CAMERA  tilts up. A red door."
    assert camera_phrases(text) == ("The camera pans left", "the CAMERA tilts up")
    assert camera_phrases("") == ()
    assert len(camera_phrases(" ".join([*PLAIN, *MOVING]))) >= len(MOVING)
