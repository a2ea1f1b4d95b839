"""Manifests: what each row says of its clip, and one line that names row and column for what cannot be."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.faults.dummy import dummy_config
from wmkit.annotate.captions.given import GivenCaptionConfig
from wmkit.annotate.clip_facts import ClipFacts
from wmkit.annotate.inputs import find_inputs
from wmkit.annotate.manifest import read_manifest
from wmkit.annotate.pipeline import config_of_clip
from wmkit.annotate.scale import CameraHeightConfig
from wmkit.errors import InputError
from wmkit.video import FoundClip


def csv_of(folder: Path, text: str) -> Path:
    path = folder / "clips.csv"
    path.write_text(text, encoding="utf-8")
    return path


def by_name(path: Path) -> dict[str, FoundClip]:
    return {clip.name: clip for clip in read_manifest(path)[0]}


def test_a_csv_and_a_parquet_of_the_same_rows_are_the_same_clips(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.mp4").write_bytes(b"abc")
    text = (
        "\ufeffpath,start_s,end_s,caption,fov_deg,camera_height_m,licence\n"
        'in/a.mp4,0.5,2,"A square, ""empty""\nat noon.",78,1.6,CC0\n'
        "in/a.mp4,2,,,,,CC0\n"
        "\n"
        "/elsewhere/b.mp4,,,,,,CC0\n"
    )
    columns = {
        "path": ["in/a.mp4", "in/a.mp4", "/elsewhere/b.mp4"],
        "start_s": [0.5, 2.0, None],
        "end_s": [2.0, float("nan"), None],
        "caption": ['A square, "empty"\nat noon.', None, ""],
        "fov_deg": [78, None, None],
        "camera_height_m": [1.6, None, None],
        "licence": ["CC0"] * 3,
    }
    pq.write_table(pa.table(columns), tmp_path / "clips.parquet")
    read = read_manifest(csv_of(tmp_path, text))
    assert read == read_manifest(tmp_path / "clips.parquet")
    clips, unused = read
    assert unused == ["licence"]
    assert [clip.name for clip in clips] == ["in/a.mp4#t=0.5,2", "in/a.mp4#t=2", "b.mp4"]
    assert [clip.span_s for clip in clips] == [(0.5, 2.0), (2.0, None), None]
    assert [clip.location for clip in clips] == [f"{tmp_path}/in/a.mp4", f"{tmp_path}/in/a.mp4", "/elsewhere/b.mp4"]
    assert clips[0].size_bytes == 3
    assert ClipFacts.parse(clips[0].given or "") == ClipFacts(
        caption='A square, "empty"\nat noon.', fov_deg=78.0, camera_height_m=1.6
    )
    assert [clip.given for clip in clips[1:]] == ["", ""]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "expected a column 'path', got none"),
        ("file\na.mp4\n", "expected a column 'path', got file"),
        ("path,path\na,b\n", "'path' twice"),
        ("path\n", "expected at least one row"),
        ("path,fov_deg\na.mp4,wide\n", "line 2, column fov_deg: expected a number, got 'wide'"),
        ("path,fov_deg\na.mp4,nan\n", "line 2, column fov_deg: expected a number"),
        ("path,fov_deg\na.mp4,60\nb.mp4,400\n", "line 3: .*field of view of 2 to 170 degrees, got 400"),
        ("path,fx\na.mp4,500\n", "line 2: expected all of fx, fy, cx, cy, width, height"),
        ("path,camera_height_m\na.mp4,-1\n", "line 2: camera_height_m: expected a positive number"),
        ("path,sigma_log\na.mp4,0.1\n", "line 2: expected fov_deg"),
        ("path,start_s,end_s\na.mp4,5,4\n", "line 2: span: expected 0 <= start < end"),
        ("path,caption\n,words\n", "line 2, column path: expected a file or URL, got nothing"),
        ("path,caption\na.mp4,one,two\n", "line 2: expected 2 cells, got 3; quote"),
        ('path,caption\na.mp4,"one\n', "line 2: expected a row of CSV"),
        ('path,caption\nb.mp4,"of\nthree\nlines"\na.mp4\n', "line 5: expected 2 cells, got 1"),
        ("path\na.mp4\na.mp4\n", "line 3: expected a clip once, got .*a.mp4 as in .*line 2"),
    ],
)
def test_a_bad_manifest_is_one_line(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=told) as caught:
        read_manifest(csv_of(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_files_that_are_no_manifest_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"path\n\xff\xfe\n")
    (tmp_path / "a.parquet").write_bytes(b"path\n")
    with pytest.raises(InputError, match="expected a CSV in UTF-8"):
        read_manifest(tmp_path / "a.csv")
    with pytest.raises(InputError, match="expected a Parquet table"):
        read_manifest(tmp_path / "a.parquet")
    with pytest.raises(InputError, match="expected a readable manifest"):
        read_manifest(tmp_path / "none.csv")
    pq.write_table(pa.table({"path": [3]}), tmp_path / "b.parquet")
    with pytest.raises(InputError, match="row 1, column path: expected a file or URL, got 3"):
        read_manifest(tmp_path / "b.parquet")


def test_manifests_stand_beside_paths_and_come_first(tmp_path: Path) -> None:
    """A clip that both name is the manifest's; columns that are not used are told."""
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_bytes(name.encode())
    manifest = csv_of(tmp_path, "path,caption,note\na.mp4,Words.,x\n")
    told: list[str] = []
    found = find_inputs([tmp_path / "a.mp4", manifest, str(tmp_path / "?.mp4")], told.append)
    assert [(clip.name, clip.given) for clip in found.clips] == [("a.mp4", '{"caption":"Words."}'), ("b.mp4", None)]
    assert told == [f"{manifest}: columns that are not used: note"]


def test_facts_change_the_config_of_their_clip_alone() -> None:
    run = dummy_config()
    assert config_of_clip(run, "") is run
    facts = ClipFacts(caption="Words.", fov_deg=70, camera_height_m=1.5, camera_height_sigma_m=0.15)
    own = config_of_clip(run, facts.text())
    assert own.caption == GivenCaptionConfig(text="Words.")
    assert [(known.fov_deg, known.source) for known in own.prior.known] == [(70, "manifest")]
    (height,) = own.scale
    assert isinstance(height, CameraHeightConfig)
    assert (height.height_m, round(height.height_sigma, 9)) == (1.5, 0.1)
    assert run == dummy_config()
    row = ClipFacts(fx=500, fy=500, cx=320, cy=240, width=640, height=480, sigma_log=0.02)
    (camera,) = config_of_clip(run, row.text()).prior.known
    assert (camera.row, camera.size, camera.sigma_log) == ((500, 500, 320, 240), (640, 480), 0.02)
