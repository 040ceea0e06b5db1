"""The weekly look at addresses and checksums, against a server on this machine."""

from __future__ import annotations

import pytest
from test_download import MD5, server  # noqa: F401 (a fixture)

from tools import links


@pytest.mark.parametrize(
    ("path", "said"), [("ok", None), ("redirect", None), ("busy", None), ("missing", "404"), ("always-busy", "503")]
)
def test_an_address_is_asked(server, path, said):  # noqa: F811
    assert links.problem(f"{server.address}/{path}") == said


def test_a_host_that_is_gone():
    assert "refused" in links.problem("http://127.0.0.1:9/x", tries=1)


def test_checksums(server):  # noqa: F811
    lines = links.changed([(f"{server.address}/ok", MD5), (f"{server.address}/wrong", MD5)])
    assert len(lines) == 1 and "checksum is wrong" in lines[0]


def test_addresses_end_where_the_text_goes_on(tmp_path):
    text = "See [it](https://a.org/x.html), <https://b.org/z>. `https://c.org`; https://d.org/#part.\nhttps://d.org/"
    (tmp_path / "README.md").write_text(text)
    assert set(links.addresses(tmp_path)) == {
        "https://a.org/x.html",
        "https://b.org/z",
        "https://c.org",
        "https://d.org/",
    }


def test_the_command(monkeypatch, capsys):
    monkeypatch.setattr(links, "problem", lambda url: "404" if "figshare" in url else None)
    monkeypatch.setattr(links, "changed", lambda files: [f"{url}: changed" for url, md5 in files if "pets" in url])
    assert links.main([]) == 1 and links.main(["--checksums"]) == 1
    said = capsys.readouterr().out
    assert "figshare" in said and "helpers/sources.py" in said and "annotations.tar.gz: changed" in said
    monkeypatch.setattr(links, "problem", lambda url: None)
    assert links.main([]) == 0
