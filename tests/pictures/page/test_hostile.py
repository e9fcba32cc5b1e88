"""Requests that are not the page's own change nothing and learn nothing."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from dupekit.review.manifest import MARKER
from dupekit.review.reference_index import (
    Beside,
    ReferenceIndex,
    ReferenceThumbnail,
    reference_folder,
    write_index,
)
from dupekit.review.verdicts import tree_manifest
from tests.pictures.page.serving import Served, make_tree, said, served

POLICY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
DECIDE = {"client": "c", "numbers": [0], "decision": "right", "seen": [["open", "amoeba"]]}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Path]]:
    """One page for all requests that are refused: in the end nothing has changed."""
    tree = make_tree(tmp_path_factory.mktemp("hostile"))
    before = said(tree)
    with served(tree) as page:
        yield page, tree
    assert said(tree) == before


def raw(page: Served, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, Any, bytes]:
    """A request exactly so: no header is added but Host, where none is named, and nothing is tidied up in the path."""
    url = urlsplit(page.server.base)
    connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=30)
    try:
        connection.putrequest(method, path, skip_host="Host" in headers, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def own(page: Served) -> tuple[str, dict[str, str]]:
    """The page's path, and the headers of a decision that would be taken."""
    body = json.dumps(DECIDE)
    origin = page.server.base.rstrip("/")
    return urlsplit(page.server.address).path, {
        "Origin": origin,
        "Content_Type": "application/json",
        "Content_Length": str(len(body)),
    }


def test_every_answer_says_what_a_browser_must_know(shared: tuple[Served, Path]) -> None:
    page, _ = shared
    path, _ = own(page)
    for asked in (
        path,
        f"{path}tree",
        f"{path}image/0",
        f"{path}nothing",
        "/",
        f"{path}image/99999",
        f"{path}decide",
    ):
        _, headers, _ = raw(page, "GET", asked)
        assert {name: headers[name] for name in POLICY} == POLICY
        assert headers["Cache-Control"] == (
            "private, max-age=3600" if asked.endswith("image/0") else "no-store"
        )
        assert "server" not in {name.lower() for name in headers}


@pytest.mark.parametrize(
    "token", ["", "wrong", "{}x", "x{}", "{}%20", "%2e/{}", "../{}", "/{}", "tree?token={}", "ü"]
)
def test_without_the_token_there_is_nothing(shared: tuple[Served, Path], token: str) -> None:
    page, _ = shared
    right = own(page)[0].strip("/")
    for rest in ("", "tree", "image/0", "static/base.css", "events"):
        status, _, content = raw(
            page, "GET", f"/{httpx.URL('/' + token.format(right)).raw_path.decode()[1:]}/{rest}"
        )
        assert status == 404
        assert right.encode() not in content


def test_the_token_is_no_query_and_no_cookie(shared: tuple[Served, Path]) -> None:
    page, _ = shared
    path, headers = own(page)
    token = path.strip("/")
    assert raw(page, "GET", f"/tree?token={token}", Cookie=f"token={token}")[0] == 404
    assert raw(page, "POST", f"/decide?token={token}", json.dumps(DECIDE).encode(), **headers)[0] == 404
    assert raw(page, "GET", f"/{token}")[0] == 404


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:{}", "127.0.0.1.evil.example:{}", "localhost.evil.example", "", "[::1", "8.8.8.8:{}",
     "localhost:{}@evil.example", "localhost:80:80", "0x7f000001", "0.0.0.0:{}"],
)  # fmt: skip
def test_a_foreign_name_that_leads_here_is_refused(shared: tuple[Served, Path], host: str) -> None:
    page, _ = shared
    path, headers = own(page)
    host = host.format(urlsplit(page.server.base).port)
    assert raw(page, "GET", f"{path}tree", Host=host)[0] in (400, 403)
    headers["Origin"] = f"http://{host}"
    assert raw(page, "POST", f"{path}decide", json.dumps(DECIDE).encode(), Host=host, **headers)[0] in (
        400,
        403,
    )


@pytest.mark.parametrize(
    "host", ["localhost:9000", "127.0.0.1:9000", "[::1]:9000", "LOCALHOST", "127.0.0.9:1"]
)
def test_through_a_tunnel_the_page_has_another_port(shared: tuple[Served, Path], host: str) -> None:
    page, _ = shared
    path, headers = own(page)
    assert raw(page, "GET", f"{path}tree", Host=host)[0] == 200
    headers["Origin"] = f"http://{host}"
    body = json.dumps(DECIDE | {"seen": [["unsure", "amoeba"]]}).encode()
    headers["Content_Length"] = str(len(body))
    status, _, content = raw(page, "POST", f"{path}decide", body, Host=host, **headers)
    assert (status, len(json.loads(content)["refused"])) == (200, 1)


@pytest.mark.parametrize(
    "changed",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "https://127.0.0.1"},
        {"Origin": None},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"},
    ],
)
def test_only_the_page_itself_decides(shared: tuple[Served, Path], changed: dict[str, str | None]) -> None:
    page, _ = shared
    path, headers = own(page)
    sent = {name: value for name, value in (headers | changed).items() if value is not None}
    for asked in ("decide", "undo", ""):
        assert raw(page, "POST", f"{path}{asked}", json.dumps(DECIDE).encode(), **sent)[0] == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_other_pages_get_no_image_and_no_list(shared: tuple[Served, Path], site: str) -> None:
    page, _ = shared
    path, _ = own(page)
    for asked in ("image/0", "tree", "state", "events", "static/base.css"):
        assert raw(page, "GET", f"{path}{asked}", Sec_Fetch_Site=site)[0] == 403
        assert raw(page, "GET", f"{path}{asked}", Sec_Fetch_Site=site, Sec_Fetch_Mode="navigate")[0] == 403
    assert raw(page, "GET", path, Sec_Fetch_Site=site)[0] == 403
    assert raw(page, "GET", path, Sec_Fetch_Site=site, Sec_Fetch_Mode="navigate")[0] == 200


@pytest.mark.parametrize("method", ["HEAD", "PUT", "OPTIONS", "DELETE", "PATCH", "TRACE", "CONNECT", "get"])
def test_other_methods_are_none(shared: tuple[Served, Path], method: str) -> None:
    page, _ = shared
    path, headers = own(page)
    status, answered, _ = raw(page, method, f"{path}decide", json.dumps(DECIDE).encode(), **headers)
    assert status in (400, 405)
    if status == 405:
        assert answered["Allow"] == "GET, POST"
    assert raw(page, "GET", f"{path}decide")[0] == raw(page, "POST", f"{path}state", b"", **headers | {"Content_Length": "0"})[0] == 405  # fmt: skip


@pytest.mark.parametrize(
    "name",
    ["../templates/review.html", "..%2ftemplates%2freview.html", "%2e%2e/page/app.py", "..%5cpage", "base.css/", "", "/etc/passwd",
     "%2fetc%2fpasswd", "base.css%00.js", "app.py", "."],
)  # fmt: skip
def test_only_the_files_of_the_page_are_static(shared: tuple[Served, Path], name: str) -> None:
    page, _ = shared
    path, _ = own(page)
    status, _, content = raw(page, "GET", f"{path}static/{name}")
    assert (status, b"import" in content, b"root:" in content) == (404, False, False)
    assert raw(page, "GET", f"{path}static/base.css")[0] == 200


@pytest.mark.parametrize(
    "number",
    ["-1", "9", "99999999999999999999", "1e0", "0x1", "+1", "%201", "1%20", "", "..", "../state", "..%2f..%2fmanifest.json",
     "²", "١", "1.0", "0/", "amoeba/ciliate_%20with%20cilia_09_0.png"],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["image", "reference"])
def test_images_have_numbers_and_nothing_else(shared: tuple[Served, Path], kind: str, number: str) -> None:
    page, _ = shared
    quoted = httpx.URL(f"/{number}").raw_path.decode()[1:]
    if (kind, number) == ("image", "../state"):  # which a server may tidy up, and a browser does
        return
    assert raw(page, "GET", f"{own(page)[0]}{kind}/{quoted}")[0] == 404


@pytest.mark.parametrize(
    "changed",
    [
        {"numbers": [-1]},
        {"numbers": [9]},
        {"numbers": [10**30]},
        {"numbers": ["0"]},
        {"numbers": [0.0]},
        {"numbers": [True]},
        {"numbers": [None]},
        {"numbers": "0"},
        {"numbers": {"0": 0}},
        {"numbers": [0, 0], "seen": [["open", "amoeba"]] * 2},
        {"numbers": []},
        {"numbers": ["../../etc/passwd"]},
        {"decision": "delete"},
        {"decision": ["right"]},
        {"decision": None},
        {"decision": "class"},
        {"label": "rotifer"},
        {"label": 7, "decision": "class"},
        {"label": "x" * 2000, "decision": "class"},
        {"seen": []},
        {"seen": [["open"]]},
        {"seen": [["nonsense", "amoeba"]]},
        {"seen": [[["open"], "amoeba"]]},
        {"client": "x" * 100},
        {"client": None},
        {"path": "amoeba/x.png"},
        {"__proto__": {}},
    ],
)
def test_a_decision_that_makes_no_sense_is_refused_whole(
    shared: tuple[Served, Path], changed: dict[str, Any]
) -> None:
    page, _ = shared
    answer = page.post("decide", DECIDE | changed)
    assert answer.status_code == 400
    assert answer.text.strip()
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    "body", [b"", b"{", b"null", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"client": "\\ud800"}', b"NaN"]
)
def test_what_is_no_json_is_refused(shared: tuple[Served, Path], body: bytes) -> None:
    page, _ = shared
    assert page.post("decide", body).status_code == 400
    assert page.post("undo", body).status_code == 400


@pytest.mark.parametrize("action", [0, -1, 10**30, "1", 1.0, None, [1]])
def test_what_is_no_action_is_not_undone(shared: tuple[Served, Path], action: Any) -> None:
    page, _ = shared
    assert page.post("undo", {"client": "c", "action": action}).status_code == 400


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "application/jsonp"],
)
def test_a_form_decides_nothing(shared: tuple[Served, Path], kind: str) -> None:
    page, _ = shared
    assert page.post("decide", DECIDE, **{"Content-Type": kind}).status_code == 415


def test_a_huge_request_is_not_read(shared: tuple[Served, Path]) -> None:
    page, _ = shared
    path, headers = own(page)
    for length in ("1000001", "9" * 30):
        status, *_ = raw(page, "POST", f"{path}decide", b"", **headers | {"Content_Length": length})
        assert status in (400, 413)
    for length in ("-1", "1, 2", "x"):
        assert raw(page, "POST", f"{path}decide", b"", **headers | {"Content_Length": length})[0] in (
            400,
            411,
        )
    del headers["Content_Length"]
    chunked = b"7d0\r\n" + b" " * 2000 + b"\r\n0\r\n\r\n"
    assert raw(page, "POST", f"{path}decide", chunked, Transfer_Encoding="chunked", **headers)[0] == 411


@pytest.mark.parametrize(
    ("label", "why"),
    [
        ("../x", "_x would do"),
        ("..", "No class can be called"),
        (".dupekit", "another meaning"),
        ("_done", "another meaning"),
        ("_RIGHT", "another meaning"),
        ("_expunge", "another meaning"),
        ("_Read_Me.html", "another meaning"),
        ("a/b", "a_b would do"),
        ("a\\b", "a_b would do"),
        ("/etc", "_etc would do"),
        ("", "No class can be called"),
        (" ", "No class can be called"),
        ("con", "_con would do"),
        ("x.", "x would do"),
        ("x\n", "x_ would do"),
        ("x\u0000", "x_ would do"),
        ("é" * 200, "No class can be called"),
        ("Thumbs.db", "No class can be called"),
        ("$RECYCLE.BIN", "No class can be called"),
        (".hidden", "hidden would do"),
    ],
)
def test_a_label_is_never_a_path(shared: tuple[Served, Path], label: str, why: str) -> None:
    page, _ = shared
    (refused,) = page.decide([0], "class", label)["refused"]
    assert why in refused["reason"]
    assert (refused["verdict"], refused["label"]) == ("open", "amoeba")


@pytest.mark.parametrize("where", ["_right", "_right/amoeba", "_expunge", "_done", "rotifer", "a new one"])
def test_a_folder_that_is_a_link_is_never_followed(tree: Path, tmp_path: Path, where: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with served(tree) as page:
        link = tree / where
        if link.is_dir():
            link.rename(tmp_path / "away")
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(elsewhere, target_is_directory=True)
        asked = {"rotifer": ("class", "rotifer"), "a new one": ("class", "a new one"), "_expunge": ("expunge", None),
                 "_done": ("suggested", None)}.get(where, ("right", None))  # fmt: skip
        (refused,) = page.decide([0], *asked)["refused"]
        assert refused["reason"]
        assert list(elsewhere.iterdir()) == []
        assert (tree / "amoeba" / "ciliate_ with cilia_09_0.png").is_file()


def test_a_file_that_is_a_link_is_neither_shown_nor_moved(tree: Path, tmp_path: Path) -> None:
    secret = tmp_path / "data" / "amoeba" / "3.png"
    with served(tree) as page:
        file = tree / "amoeba" / "ciliate_ with cilia_09_0.png"
        file.unlink()
        file.symlink_to(secret)
        assert page.http.get("image/0").status_code == 404
        (refused,) = page.decide([0], "right", seen=[["open", "amoeba"]])["refused"]
        assert refused["reason"]
        assert file.is_symlink()
        folder = tree / "rotifer"
        folder.rename(tmp_path / "away")
        folder.symlink_to(tmp_path / "away")
        assert page.http.get("image/2").status_code == 404
        assert page.decide([2], "right", seen=[["open", "rotifer"]])["refused"]
        assert len(list((tmp_path / "away").iterdir())) == 3


def test_a_pipe_in_place_of_an_image_does_not_hang(tree: Path) -> None:
    with served(tree) as page:
        file = tree / "amoeba" / "ciliate_ with cilia_09_0.png"
        file.unlink()
        os.mkfifo(file)
        assert page.http.get("image/0").status_code == 404


def test_what_is_no_image_reaches_no_browser(tree: Path) -> None:
    with served(tree) as page:
        file = tree / "amoeba" / "ciliate_ with cilia_09_0.png"
        file.write_bytes(b"<html><script>alert(1)</script>")
        answer = page.http.get("image/0")
        assert (answer.status_code, answer.headers["content-type"]) == (422, "text/plain; charset=utf-8")
        assert "script" not in answer.text


def test_the_browser_is_opened_by_an_address_that_is_good_once(page: Served) -> None:
    once = page.server.address_once()
    assert page.server.address.strip("/").rpartition("/")[2] not in once
    with httpx.Client() as browser:
        first = browser.get(once)
        assert (first.status_code, first.headers["location"]) == (303, httpx.URL(page.server.address).path)
        assert browser.get(once).status_code == 404
        foreign = page.server.address_once()
        assert browser.get(foreign, headers={"Host": "evil.example"}).status_code == 403


def test_an_index_of_references_without_end_is_cut(tree: Path) -> None:
    manifest = tree_manifest(tree)
    many = [0] * 100_000
    index = ReferenceIndex(
        thumbnails=[
            ReferenceThumbnail(file="0123456789abcdef.webp", label="x", confirmed=True, width=1, height=1)
        ],
        classes={"x": many},
        beside={manifest.files[0].path: Beside(given=many, suggested=many, alike=many)},
    )
    reference_folder(tree).mkdir(exist_ok=True)
    write_index(reference_folder(tree), index)
    with served(tree) as page:
        assert len(page.http.get("references").content) < 2000


def test_the_marker_is_no_folder_to_move_from_or_to(page: Served, tree: Path) -> None:
    before = {path: path.stat().st_size for path in (tree / MARKER).iterdir() if path.suffix == ".json"}
    for label in (".dupekit", ".DUPEKIT", ".dupekit/x"):
        assert page.decide([0], "class", label)["refused"]
    assert {
        path: path.stat().st_size for path in (tree / MARKER).iterdir() if path.suffix == ".json"
    } == before
