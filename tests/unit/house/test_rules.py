"""Rules that a linter has no word for."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

from tests.unit.house.source_tree import ROOT, package_files, python_files, short, tree_of

# The one place where anything may be caught: the executor's per-item boundary.
BROAD = {"Exception", "BaseException"}

# An anchor says when it can be acted on: an issue, a version or a package's release.
ANCHORED = re.compile(r"\bTODO\((issue [A-Z0-9]+|wmkit [0-9.]+|[a-z0-9-]+ [0-9.]+)\): ")
MARK = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")

# Every way to ask the time; CPU time and sleep are none.
CLOCKS = re.compile(
    r"time\.(time|monotonic|perf_counter|clock_gettime)(_ns)?|time\.(gmtime|localtime|ctime|strftime)"
    r"|(datetime\.)?(datetime|date)\.(now|utcnow|today)"
)

# Words of one direction of a transform: adapters translate them, nobody else says them.
ADAPTER_WORDS = re.compile(r"\b(extrinsics?|c2w|w2c)\b", re.IGNORECASE)


def tracked_files() -> list[Path]:
    """Every text file of the repository: tracked, or new and not ignored."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    paths = [ROOT / line for line in sorted(set(listed.stdout.splitlines()))]
    return [path for path in paths if path.is_file() and b"\0" not in path.read_bytes()[:1024]]


@pytest.mark.parametrize("path", package_files(), ids=short)
def test_no_broad_except_outside_the_executor(path: Path) -> None:
    if short(path).startswith("wmkit/executor/"):
        return
    broad = []
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ExceptHandler):
            names = {name.id for name in ast.walk(node.type) if isinstance(name, ast.Name)} if node.type else BROAD
            if names & BROAD:
                broad.append(node.lineno)
    assert not broad


@pytest.mark.parametrize("path", package_files(), ids=short)
def test_the_time_is_asked_at_one_door(path: Path) -> None:
    """A wall clock jumps when somebody sets it: who reads it has to know that. Benchmarks measure durations alone."""
    if short(path) == "wmkit/clock.py" or short(path).startswith("wmkit/bench/"):
        return
    asked = [
        node.lineno
        for node in ast.walk(tree_of(path))
        if (isinstance(node, ast.Attribute) and CLOCKS.fullmatch(ast.unparse(node)))
        or (isinstance(node, ast.ImportFrom) and node.module == "time")
    ]
    assert not asked, "wmkit/clock.py: utc_now for people, monotonic_s for deadlines, rates and durations"


@pytest.mark.parametrize("path", package_files(), ids=short)
def test_a_file_gets_its_name_at_one_door(path: Path) -> None:
    """A power cut between a rename and its fsyncs leaves nothing, or a file of no bytes. Test material may be lost."""
    if short(path) == "wmkit/atomic.py" or re.match(r"wmkit/(bench|worlds|demo)/", short(path)):
        return
    called = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)]
    renames = [
        node.lineno
        for node in called
        if re.fullmatch(r"os\.(replace|rename|renames|link|fsync|fdatasync)|shutil\.move", ast.unparse(node.func))
        or (isinstance(node.func, ast.Attribute) and node.func.attr == "rename")
    ]
    assert not renames, "wmkit/atomic.py: write_atomic, put_in_place, move_away, take_away, make_folder"


@pytest.mark.parametrize("path", package_files(), ids=short)
def test_nothing_unpickles(path: Path) -> None:
    risky = []
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
            if names & {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}:
                risky.append(node.lineno)
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            safe = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            if called == "torch.load" and safe.get("weights_only") != "True":
                risky.append(node.lineno)
            if called in ("np.load", "numpy.load") and safe.get("allow_pickle") != "False":
                risky.append(node.lineno)
    assert not risky, "json, npz with allow_pickle=False or safetensors"


@pytest.mark.parametrize("path", package_files(), ids=short)
def test_nothing_validates_with_assert(path: Path) -> None:
    """`python -O` drops asserts; one that only tells the type checker what holds anyway may stay."""
    tests = {node.lineno: ast.unparse(node.test) for node in ast.walk(tree_of(path)) if isinstance(node, ast.Assert)}
    assert not {line: test for line, test in tests.items() if not re.search(r" is not None$|^isinstance\(", test)}


@pytest.mark.parametrize("path", [path for path in python_files() if path != Path(__file__)], ids=short)
def test_a_todo_names_when_it_can_be_acted_on(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert not [line for line in lines if MARK.search(line) and not ANCHORED.search(line)]


@pytest.mark.parametrize("path", package_files(), ids=short)
def test_directions_are_named_by_frames_outside_adapters(path: Path) -> None:
    if re.search(r"/(cli|formats|worlds|bench|pose|poses|export)\b", short(path)):
        return
    names = {node.id for node in ast.walk(tree_of(path)) if isinstance(node, ast.Name)}
    names |= {node.attr for node in ast.walk(tree_of(path)) if isinstance(node, ast.Attribute)}
    names |= {node.arg for node in ast.walk(tree_of(path)) if isinstance(node, ast.arg)}
    words = {name for name in names if ADAPTER_WORDS.search(name.replace("_", " "))}
    assert not words, "name a transform by its two frames: world_from_cam"


def test_repository_names_no_package_index() -> None:
    option = re.compile(r"(--(extra-)?index-url|--find-links|--trusted-host|PIP_(EXTRA_)?INDEX_URL=)")
    host = re.compile(r"https?://[^\s)\"'>]*(pypi|simple/|whl/|conda|artifactory|nexus|devpi|mirror)", re.IGNORECASE)
    found = []
    for path in tracked_files():
        if path == Path(__file__):
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        if option.search(text) or host.search(text):
            found.append(short(path))
    assert not found, "where packages come from is the machine's own setting"


def test_shell_scripts_are_executable_and_parse() -> None:
    for path in (ROOT / ".ci/setup", ROOT / ".ci/run"):
        assert path.stat().st_mode & 0o111, path
        subprocess.run(["sh", "-n", str(path)], check=True)
