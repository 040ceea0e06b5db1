"""Downloads against a server on this machine that misbehaves in the ways that servers and networks do."""

from __future__ import annotations

import hashlib
import io
import os
import re
import signal
import subprocess
import sys
import tarfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from helpers.download import DownloadError, download, extract

DATA = bytes(range(256)) * 4096  # 1 MB
MD5 = hashlib.md5(DATA).hexdigest()
PAGE = b"<!DOCTYPE html><html>Please log in to the campus network</html>"


class Handler(BaseHTTPRequestHandler):
    """The path says how to behave. ``server.seen`` keeps (path, Range, User-Agent) of each request."""

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        agent = self.headers.get("User-Agent", "")
        self.server.seen.append((self.path, wanted, agent))
        times = sum(path == self.path for path, _, _ in self.server.seen)
        kind = self.path.strip("/").split("/")[0]
        if kind == "redirect":
            self.answer(302, b"", Location="/ok")
        elif kind == "loop":
            self.answer(302, b"", Location="/loop")
        elif kind == "missing":
            self.answer(404, b"not found")
        elif kind == "agent" and "urllib" in agent.lower():
            self.answer(403, b"no robots")
        elif (kind == "busy" and times < 3) or kind == "always-busy":
            self.answer(503, b"busy")
        elif kind == "portal":
            self.answer(200, PAGE)
        elif kind == "wrong":
            self.answer(200, b"x" * len(DATA))
        elif kind == "silent":
            self.server.release.wait(20)
        elif kind == "stall" and times == 1:
            self.answer(200, DATA, send=len(DATA) // 2)
            self.server.release.wait(20)
        elif kind == "truncated" and times == 1:
            self.answer(200, DATA, send=len(DATA) // 2)
        elif kind == "always-truncated":
            self.answer(200, DATA[: len(DATA) // 2], length=len(DATA))
        elif kind == "no-ranges" or wanted is None:
            self.answer(200, DATA, slow=kind == "slow")
        elif (start := int(re.fullmatch(r"bytes=(\d+)-", wanted).group(1))) >= len(DATA):
            self.answer(416, b"")
        else:
            shown = f"bytes {start}-{len(DATA) - 1}/{len(DATA)}"
            self.answer(206, DATA[start:], slow=kind == "slow", **{"Content-Range": shown})

    def answer(self, code, body, *, send=None, length=None, slow=False, **headers) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        body = body[:send]
        for start in range(0, len(body), 1 << 16):
            self.wfile.write(body[start : start + (1 << 16)])
            if slow:
                time.sleep(0.03)
        self.wfile.flush()

    def log_message(self, *_) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_) -> None:  # a client that was killed is what some tests are about
        pass


@pytest.fixture
def server():
    server = Server(("127.0.0.1", 0), Handler)
    server.seen, server.release = [], threading.Event()
    server.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    server.release.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def waits():
    """Stands in for time.sleep, and keeps what it was asked for."""
    return []


def nothing_but(path: Path, *names: str) -> None:
    """No half file has the name of a whole one."""
    assert {p.name for p in path.parent.iterdir() if not p.name.endswith(".lock")} == set(names)


@pytest.mark.fault(
    "Downloads",
    "the connection breaks off in the middle",
    outcome="asked again after a second, from where it broke; the right bytes",
    case="truncated",
)
@pytest.mark.fault(
    "Downloads",
    "403 to the agent of Python's urllib",
    outcome="the request carries another name; the right bytes",
    case="agent",
)
@pytest.mark.fault(
    "Downloads", "503 twice, then fine", outcome="asked again after 1 and 2 seconds; the right bytes", case="busy"
)
@pytest.mark.fault("Downloads", "the address has moved (302)", outcome="followed; the right bytes", case="redirect")
@pytest.mark.parametrize("kind", ["ok", "redirect", "agent", "busy", "truncated", "no-ranges"])
def test_the_right_bytes_arrive(server, tmp_path, waits, kind):
    path = download(f"{server.address}/{kind}", tmp_path / "sub" / "file.zip", md5=MD5, wait=waits.append)
    assert path.read_bytes() == DATA
    nothing_but(path, "file.zip")
    assert waits == {"busy": [1, 2], "truncated": [1]}.get(kind, [])
    assert all("urllib" not in agent.lower() for _, _, agent in server.seen)


def test_a_file_that_is_there_is_kept(server, tmp_path):
    path = tmp_path / "file.zip"
    path.write_bytes(DATA)
    download(f"{server.address}/ok", path, md5=MD5)
    assert server.seen == []


@pytest.mark.fault("Downloads", "a file that is there has a wrong byte", outcome="fetched again")
def test_a_damaged_file_is_fetched_again(server, tmp_path):
    path = tmp_path / "file.zip"
    path.write_bytes(DATA[:-1] + b"x")
    assert download(f"{server.address}/ok", path, md5=MD5).read_bytes() == DATA


def test_resumes_where_it_stopped(server, tmp_path):
    path = tmp_path / "file.zip"
    (tmp_path / "file.zip.part").write_bytes(DATA[:300_000])
    assert download(f"{server.address}/ok", path, md5=MD5).read_bytes() == DATA
    assert [wanted for _, wanted, _ in server.seen] == ["bytes=300000-"]


@pytest.mark.fault(
    "Downloads", "the host ignores the range and sends everything", outcome="begun again; the right bytes"
)
def test_a_host_that_ignores_ranges_begins_again(server, tmp_path):
    path = tmp_path / "file.zip"
    (tmp_path / "file.zip.part").write_bytes(DATA[:300_000])
    assert download(f"{server.address}/no-ranges", path, md5=MD5).read_bytes() == DATA
    assert len(server.seen) == 1


@pytest.mark.fault(
    "Downloads", "the half file of before is of another file, or too long", outcome="thrown away; the right bytes"
)
@pytest.mark.parametrize("old", [b"of another file" * 1000, DATA + b"longer than the file", DATA])
def test_an_old_beginning_that_does_not_fit(server, tmp_path, waits, old):
    path = tmp_path / "file.zip"
    (tmp_path / "file.zip.part").write_bytes(old)
    assert download(f"{server.address}/ok", path, md5=MD5, wait=waits.append).read_bytes() == DATA
    assert len(server.seen) == (0 if old == DATA else 2)  # a whole file that was only not renamed needs no network
    nothing_but(path, "file.zip")


def test_without_a_checksum_the_length_must_be_right(server, tmp_path, waits):
    path = download(f"{server.address}/truncated", tmp_path / "file.zip", wait=waits.append)
    assert path.read_bytes() == DATA


@pytest.mark.fault(
    "Downloads", "404", outcome="one line at once, with the address; no file; the next call succeeds", case="missing"
)
@pytest.mark.fault("Downloads", "a redirect loop", outcome="one line; no file; the next call succeeds", case="loop")
@pytest.mark.fault(
    "Downloads",
    "a wrong checksum",
    outcome='one line, "damaged or changed"; no file; the next call succeeds',
    case="wrong",
)
@pytest.mark.fault(
    "Downloads",
    "a captive portal's page with status 200",
    outcome='one line, "log in to this network"; no file; the next call succeeds',
    case="portal",
)
@pytest.mark.fault(
    "Downloads", "503 for ever", outcome="one line after four tries; the next call succeeds", case="always-busy"
)
@pytest.mark.fault(
    "Downloads",
    "the host always sends half of it",
    outcome="one line after four tries; no file; the next call succeeds",
    case="always-truncated",
)
@pytest.mark.parametrize(
    ("kind", "words", "requests"),
    [
        ("missing", "404", 1),
        ("loop", "302", None),
        ("wrong", "checksum", 1),
        ("portal", "web page.*Log in", 1),
        ("always-busy", "503", 4),
        ("always-truncated", "can't be fetched|checksum", None),
    ],
)
def test_what_can_not_be_had_is_said_in_one_line(server, tmp_path, waits, kind, words, requests):
    path = tmp_path / "file.zip"
    with pytest.raises(DownloadError, match=words) as caught:
        download(f"{server.address}/{kind}", path, md5=MD5, wait=waits.append)
    assert "\n" not in str(caught.value)
    assert server.address in str(caught.value)
    assert not path.exists()
    assert requests in (None, len(server.seen))
    # The next call, on a network that works, succeeds.
    assert download(f"{server.address}/ok", path, md5=MD5, wait=waits.append).read_bytes() == DATA


@pytest.mark.fault("Downloads", "no byte for a while", outcome="the connection is left, and resumed where it was")
def test_a_stall_is_left_and_resumed(server, tmp_path, waits):
    path = download(f"{server.address}/stall", tmp_path / "file.zip", md5=MD5, timeout=0.3, wait=waits.append)
    assert path.read_bytes() == DATA
    assert [wanted for _, wanted, _ in server.seen] == [None, f"bytes={len(DATA) // 2}-"]


@pytest.mark.fault("Downloads", "a host that never answers", outcome="one line after one time-out")
def test_a_host_that_never_answers_is_asked_once(server, tmp_path, waits):
    with pytest.raises(DownloadError, match="timed out"):
        download(f"{server.address}/silent", tmp_path / "file.zip", md5=MD5, timeout=0.3, wait=waits.append)
    assert len(server.seen) == 1
    assert waits == []


@pytest.mark.fault("Downloads", "no network", outcome="one line at once")
def test_no_connection_fails_at_once(tmp_path, waits):
    with pytest.raises(DownloadError, match="refused"):
        download("http://127.0.0.1:9/file.zip", tmp_path / "file.zip", wait=waits.append)
    assert waits == []


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://127.0.0.1/x", "C:/x.zip"])
def test_only_web_addresses(tmp_path, url):
    with pytest.raises(DownloadError, match="http"):
        download(url, tmp_path / "x")


@pytest.mark.fault("Downloads", "no space left", outcome="one line that names the folder and DATA_DIR")
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's /dev/full")
def test_a_full_disk(server, tmp_path):
    (tmp_path / "file.zip.part").symlink_to("/dev/full")  # every write to it says: no space left
    with pytest.raises(DownloadError, match=r"No space left.*DATA_DIR"):
        download(f"{server.address}/ok", tmp_path / "file.zip", md5=MD5)
    assert len(server.seen) == 1


@pytest.mark.fault(
    "Downloads", "a read-only folder", outcome="one line that names it and DATA_DIR, before the network is asked"
)
@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs a folder that even root can't write to")
def test_a_folder_that_can_not_be_written(server):
    with pytest.raises(DownloadError, match="can't be written"):
        download(f"{server.address}/ok", "/proc/self/file.zip", md5=MD5)
    assert server.seen == []


FETCH = "import sys; from helpers.download import download; download(sys.argv[1], sys.argv[2], md5=sys.argv[3])"


def fetcher(server, path: Path) -> subprocess.Popen:
    root = Path(__file__).resolve().parent.parent
    command = [sys.executable, "-c", FETCH, f"{server.address}/slow", str(path), MD5]
    return subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.fault(
    "Downloads", "two processes want one file", outcome="the second waits; one request; both have the right bytes"
)
def test_two_processes_at_once(server, tmp_path):
    both = [fetcher(server, tmp_path / "file.zip") for _ in range(2)]
    outputs = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert (tmp_path / "file.zip").read_bytes() == DATA
    assert len(server.seen) == 1  # the second waited for the first, and took its file
    nothing_but(tmp_path / "file.zip", "file.zip")


def test_killed_at_any_moment(server, tmp_path):
    path, part = tmp_path / "file.zip", tmp_path / "file.zip.part"
    for share in (0.1, 0.6):
        process = fetcher(server, path)
        while process.poll() is None and not (part.exists() and part.stat().st_size > share * len(DATA)):
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
        process.communicate()
        assert not path.exists()
        assert part.exists()
    assert download(f"{server.address}/ok", path, md5=MD5).read_bytes() == DATA
    assert server.seen[-1][1] is not None  # it went on where the killed process had been


def archive(path: Path, members: dict[str, bytes], links: dict[str, str] | None = None) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    return path


def test_an_archive_is_unpacked_whole(tmp_path):
    extract(archive(tmp_path / "a.tar.gz", {"in/one": b"1", "in/two": b"2"}), tmp_path / "out", member="in")
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == {"one": b"1", "two": b"2"}
    nothing_but(tmp_path / "out", "out", "a.tar.gz")


@pytest.mark.fault(
    "Archives and images",
    "a tar archive with a path or a link that leaves its folder",
    outcome="refused; nothing is unpacked",
)
@pytest.mark.parametrize(
    ("members", "links"),
    [({"ok": b"", "../climbs": b"x"}, {}), ({}, {"link": "/etc"}), ({}, {"link": "../../outside"})],
)
def test_an_archive_that_climbs_is_refused(tmp_path, members, links):
    (tmp_path / "below").mkdir()
    path = archive(tmp_path / "below" / "a.tar.gz", members, links)
    with pytest.raises(DownloadError, match="can't be unpacked"):
        extract(path, tmp_path / "below" / "out")
    nothing_but(path, "a.tar.gz")
    nothing_but(tmp_path / "below", "below")


@pytest.mark.fault("Archives and images", "half a tar archive", outcome="one line; no half folder stays")
@pytest.mark.parametrize("keep", [0.5, 0.9])
def test_half_an_archive(tmp_path, keep):
    path = archive(tmp_path / "a.tar.gz", {"one": os.urandom(5000), "two": os.urandom(5000)})
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    with pytest.raises(DownloadError, match="can't be unpacked"):
        extract(path, tmp_path / "out")
    nothing_but(path, "a.tar.gz")
