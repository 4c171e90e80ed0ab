"""Fetching published models from a simulated Hub; nothing leaves the machine."""

import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from interpbench_jax.cli import main
from interpbench_jax.zoo.hub import REPOSITORY, REVISION, _fetch, fetch_published
from interpbench_jax.zoo.published import CONFIG, EDGES, META, WEIGHTS
from tests.golden_files import GOLDEN

PUBLISHED = GOLDEN / "published_format"


class Hub(BaseHTTPRequestHandler):
    """Answers like the Hub, for files of one repository at one commit."""

    requests: list[str] = []

    def do_HEAD(self) -> None:
        self._answer(with_content=False)

    def do_GET(self) -> None:
        self._answer(with_content=True)

    def log_message(self, *_: object) -> None:
        """Prints nothing."""

    def _answer(self, *, with_content: bool) -> None:
        Hub.requests.append(f"{self.command} {self.path}")
        start = f"/{REPOSITORY}/resolve/{REVISION}/"
        file = PUBLISHED / self.path.removeprefix(start)
        if not self.path.startswith(start) or not file.is_file():
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("X-Repo-Commit", REVISION)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = file.read_bytes()
        if file.name == WEIGHTS:  # in large file storage, identified by its SHA-256
            etag = hashlib.sha256(content).hexdigest()
        else:
            etag = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        self.send_response(200)
        self.send_header("X-Repo-Commit", REVISION)
        self.send_header("ETag", f'"{etag}"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if with_content:
            self.wfile.write(content)


@pytest.fixture
def endpoint() -> Iterator[str]:
    Hub.requests.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def fetch(case: str, home: Path, endpoint: str = "http://127.0.0.1:9") -> str:
    """The result of a separate process, since the library reads its settings only once."""
    script = (
        "import sys\n"
        "from interpbench_jax.zoo.hub import fetch_published\n"
        "try: print(fetch_published(sys.argv[1]))\n"
        "except ValueError as error: print('refused:', error)\n"
    )
    settings = {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
    found = subprocess.run(
        [sys.executable, "-c", script, case],
        env=os.environ | settings,
        capture_output=True,
        text=True,
        check=True,
    )
    return found.stdout.strip()


@pytest.mark.slow
def test_fetched_once_then_read_from_the_cache(tmp_path: Path, endpoint: str) -> None:
    place = Path(fetch("3", tmp_path, endpoint))
    assert {f.name for f in place.iterdir()} == {WEIGHTS, CONFIG, EDGES}
    for file in place.iterdir():
        assert file.read_bytes() == (PUBLISHED / "3" / file.name).read_bytes()
    assert f"HEAD /{REPOSITORY}/resolve/{REVISION}/3/{META}" in Hub.requests  # which does not exist

    Hub.requests.clear()
    assert fetch("3", tmp_path) == str(place)
    assert not Hub.requests

    damaged = (place / WEIGHTS).resolve()
    damaged.write_bytes(b"x" + damaged.read_bytes()[1:])
    message = fetch("3", tmp_path)
    assert "does not match its checksum" in message and str(damaged) in message
    damaged.unlink()
    assert fetch("3", tmp_path, endpoint) == str(place)

    message = fetch("4", tmp_path, endpoint)
    assert message == f"refused: {REPOSITORY} has no 4/{WEIGHTS} at {REVISION}"
    message = fetch("13", tmp_path)
    assert message.startswith("refused: hub:13 is not in the cache and cannot be fetched (")
    assert message.endswith("); give a folder with the files") and len(message.splitlines()) == 1


def test_the_command_reads_what_was_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "interpbench_jax.zoo.hub.fetch_published", lambda case, **_: PUBLISHED / case
    )
    main(["import", "hub:13", "--out", str(tmp_path / "out")])
    printed = capsys.readouterr().out
    assert f"hub:13: written to {tmp_path / 'out' / '13'}" in printed
    assert "only ours: input->m0" in printed
    card = (tmp_path / "out" / "13" / "card.json").read_text()
    assert REVISION in card and REPOSITORY in card


@pytest.mark.parametrize(
    ("error", "expected"),
    [(OSError("no route"), pytest.warns(UserWarning, match=r"\(no route\); the cached copy of")),
     (TypeError("a fault"), pytest.raises(TypeError, match="a fault"))],
)  # fmt: skip
def test_a_cached_copy_of_a_branch(
    monkeypatch: pytest.MonkeyPatch, error: Exception, expected: AbstractContextManager
) -> None:
    """It is used if the Hub cannot be reached, but does not hide a fault of this package."""

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(
        "huggingface_hub.try_to_load_from_cache",
        lambda _, file, **__: str(PUBLISHED / file) if (PUBLISHED / file).exists() else None,
    )
    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", fail)
    with expected:
        _fetch("3", WEIGHTS, "main")


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ValueError, match=r"hub:3 needs .*pip install 'interpbench-jax\[hub\]'"):
        fetch_published("3")


@pytest.mark.parametrize("case", ["", "..", "../3", "3/..", "a b", "3@main", "x" * 200])
def test_names_that_are_not_folders(case: str) -> None:
    with pytest.raises(ValueError, match="names no folder of"):
        fetch_published(case)
