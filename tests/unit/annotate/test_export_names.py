"""Export names: readable where they can be, unique and fit for a file system always."""

from hypothesis import given
from hypothesis import strategies as st

from wmkit.annotate.export_names import export_names


def test_path_below_the_root_without_extension() -> None:
    assert export_names(["a/b/walk.mp4", "still", "fox/images"]) == ["a__b__walk", "still", "fox__images"]


def test_a_folder_keeps_its_dots() -> None:
    assert export_names(["walk.v2", "run.final.mov"]) == ["walk.v2", "run.final"]


def test_sources_that_differ_in_extension_keep_it() -> None:
    assert export_names(["a/x.mp4", "a/x.mov", "a/y.mp4"]) == ["a__x.mp4", "a__x.mov", "a__y"]


def test_names_that_differ_in_case_alone_do_not_meet_on_a_mac() -> None:
    names = export_names(["X.mp4", "x.mp4"])
    assert len({name.casefold() for name in names}) == 2


def test_slash_and_underscores_may_not_meet() -> None:
    names = export_names(["a/b.mp4", "a__b.mp4"])
    assert len(set(names)) == 2
    assert all(name.startswith("a__b.mp4~") for name in names)


def test_files_of_the_export_itself_are_not_overwritten() -> None:
    for name in export_names(["export.json", "frames", "pose.mp4"]):
        assert name not in ("export.json", "frames", "pose")


def test_deep_paths_are_cut_to_what_file_systems_hold() -> None:
    deep = "/".join(["ordner-mit-ümläuten"] * 30)
    first, second = export_names([f"{deep}/a.mp4", f"{deep}/b.mp4"])
    assert first != second
    assert len(first.encode()) <= 200


def test_a_name_does_not_depend_on_the_order_of_sources() -> None:
    sources = ["a/b.mp4", "a__b.mp4", "c.mp4", "c.mov", "frames"]
    forward = dict(zip(sources, export_names(sources), strict=True))
    assert forward == dict(zip(sources[::-1], export_names(sources[::-1]), strict=True))


@given(st.lists(st.text(alphabet="aB_/.mp4", min_size=1, max_size=12), unique=True, max_size=12))
def test_names_are_always_unique(sources: list[str]) -> None:
    names = export_names(sources)
    assert len({name.casefold() for name in names}) == len(sources)
    assert not any("/" in name for name in names)
