"""The documentation is right: its blocks run as printed, its links resolve, its tables and figures are current."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from dev.docs.charts import charts
from dev.docs.generate import README, generated
from dev.docs.pages import PROJECT, Block, anchors, blocks, links, pages, sentences
from dev.testing.checkouts import copy_checkout, make_run, user_environment
from dev.testing.servers import free_port

MAX_LINES, MAX_WORDS, MAX_SENTENCE_WORDS = 300, 3500, 30
PAGES = [str(page.relative_to(PROJECT)) for page in pages()]
RUN = {"bash": ["bash", "-c"], "python": [sys.executable, "-c"]}
ANSWERS = {"json", "http", "text"}
BLOCK_SECONDS = 120
END = "end-of-block"


def runnable(page: str) -> list[Block]:
    return [block for block in blocks(PROJECT / page) if block.language in RUN and block.is_run]


def answer_of(block: Block) -> Block | None:
    """The block directly after it, if that shows the expected output."""
    following = [other for other in blocks(block.page) if other.line > block.line]
    end = block.line + block.text.count("\n") + 3
    is_answer = following and following[0].language in ANSWERS and following[0].line == end
    return following[0] if is_answer else None


class Terminal:
    """A shell whose variables last from block to block, like a reader's."""

    def __init__(self, checkout: Path, ports: tuple[int, int], log: Path) -> None:
        self._ports = ports
        self._log = log
        self._shell = subprocess.Popen(
            ["bash"],
            cwd=checkout,
            env=user_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log.open("w"),
            text=True,
        )

    def run(self, block: Block) -> str:
        """What the block prints. Its last command must succeed."""
        text = self._with_ports(block.text)
        if block.language == "python":
            text = f"timeout {BLOCK_SECONDS} {sys.executable} - <<'PYTHON'\n{text}\nPYTHON"
        assert self._shell.stdin
        assert self._shell.stdout
        self._shell.stdin.write(f"{text}\necho; echo {END} $?\n")
        self._shell.stdin.flush()
        printed: list[str] = []
        for line in self._shell.stdout:
            if line.startswith(END):
                assert line == f"{END} 0\n", f"{block.page.name}:{block.line}: {line} {self._log.read_text()}"
                return self._as_printed("".join(printed))
            printed.append(line)
        raise AssertionError(f"{block.page.name}:{block.line} ended the shell: {self._log.read_text()}")

    def close(self) -> None:
        self._shell.kill()
        self._shell.wait()

    def _with_ports(self, text: str) -> str:
        return text.replace(":8000", f":{self._ports[0]}").replace(":8001", f":{self._ports[1]}")

    def _as_printed(self, text: str) -> str:
        return text.replace(f":{self._ports[0]}", ":8000").replace(f":{self._ports[1]}", ":8001")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, tuple[int, int]]]:
    """A checkout with `make run`: on ports 8000 and 8001 as printed, or on others if those are taken."""
    folder = tmp_path_factory.mktemp("docs")
    checkout, port = copy_checkout(folder / "checkout"), _free_pair()
    with make_run(checkout, user_environment() | {"PORT": str(port)}, folder / "log"):
        yield checkout, (port, port + 1)


def _free_pair() -> int:
    for port in (8000, free_port(), free_port(), free_port()):
        if all(_is_free(number) for number in (port, port + 1)):
            return port
    raise AssertionError("no two ports in a row are free")


def _is_free(port: int) -> bool:
    command = ["bash", "-c", f"! : 2>/dev/null </dev/tcp/127.0.0.1/{port}"]
    return subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode == 0


def wait_a_minute(checkout: Path) -> None:
    """As long as a reader takes for a block: until the rate limit lets all calls through."""
    environment = (checkout / ".local/run/env").read_text()
    (url,) = re.findall(r"REDIS_URL=(\S+)", environment)
    with redis.Redis.from_url(url.replace("\\", "")) as client:
        for key in client.scan_iter("{farmlokal}:limit:*"):
            client.delete(key)


@pytest.mark.parametrize("page", [page for page in PAGES if runnable(page)])
def test_blocks_run_as_printed(service: tuple[Path, tuple[int, int]], tmp_path: Path, page: str) -> None:
    checkout, ports = service
    terminal = Terminal(checkout, ports, tmp_path / "stderr")
    try:
        for block in runnable(page):
            wait_a_minute(checkout)
            printed = terminal.run(block)
            if answer := answer_of(block):
                pattern = ".*?".join(map(re.escape, answer.text.strip().split("…")))
                where = f"{page}:{answer.line}"
                assert re.fullmatch(pattern, printed.strip(), re.DOTALL), f"{where} differs from the output:\n{printed}"
    finally:
        terminal.close()


@pytest.mark.parametrize("page", PAGES)
def test_links_and_anchors_resolve(page: str) -> None:
    path = PROJECT / page
    for link in links(path):
        if re.match(r"https?://|mailto:", link):
            continue
        target, _, anchor = link.partition("#")
        linked = (path.parent / target).resolve() if target else path
        assert linked.exists(), f"{page}: {link}"
        assert linked.is_relative_to(PROJECT), f"{page}: {link}"
        if anchor:
            assert anchor in anchors(linked), f"{page}: {link}"


NAMED_TEST = re.compile(r"\[`(test_\w+)`\]\(([^)#]+\.py)\)")


@pytest.mark.parametrize("page", PAGES)
def test_tests_that_a_page_names_exist(page: str) -> None:
    path = PROJECT / page
    named = NAMED_TEST.findall(" ".join(path.read_text().split()))
    assert [name for name, file in named if f"def {name}(" not in (path.parent / file).read_text()] == []


def test_each_threat_names_a_test() -> None:
    rows = re.findall(r"^\| .* \|$", (PROJECT / "SECURITY.md").read_text().partition("Known limits")[0], re.MULTILINE)
    threats = [row for row in rows if row.count(" | ") == 3 and not row.startswith("| threat")]
    assert len(threats) > 20
    assert [row for row in threats if not NAMED_TEST.search(row)] == []


@pytest.mark.parametrize("page", PAGES)
def test_no_sentence_is_too_long(page: str) -> None:
    too_long = [one for one in sentences(PROJECT / page) if len(one.split()) > MAX_SENTENCE_WORDS]
    assert too_long == []


def test_charts_are_current() -> None:
    """`make docs` draws them."""
    for file, svg in charts().items():
        assert (PROJECT / file).read_text() == svg


def test_readme_is_short() -> None:
    text = README.read_text()
    assert len(text.splitlines()) <= MAX_LINES
    assert len(text.split()) <= MAX_WORDS


@pytest.mark.parametrize("page", PAGES)
def test_generated_regions_are_current(page: str) -> None:
    """`make docs` fills them."""
    text = (PROJECT / page).read_text()
    assert text == generated(text)
