"""`amr-data serve`: a dataset over HTTP, on this machine only."""

from __future__ import annotations

import json
import socket
import threading
import urllib.error
import urllib.request

import pytest
from click.testing import CliRunner

from amr_cli.data import main
from amr_data import UsageError, open_dataset
from amr_data.viz import clip_scene
from amr_data.viz.page import packed
from amr_data.viz.server import MOST, make_app, open_server


@pytest.fixture(scope="module")
def dataset(ntu_shards):
    return open_dataset(ntu_shards)


@pytest.fixture
def client(dataset):
    return make_app(dataset).test_client()


def test_clips_are_listed_searched_and_read(client, dataset):
    first = client.get("/api/clips?count=5").get_json()
    assert first["total"] == len(dataset)
    assert [row["index"] for row in first["clips"]] == [0, 1, 2, 3, 4]
    assert first["clips"][0]["title"].startswith(dataset.names[0])
    rest = client.get(f"/api/clips?from={len(dataset) - 2}").get_json()
    assert [row["index"] for row in rest["clips"]] == [len(dataset) - 2, len(dataset) - 1]
    found = client.get("/api/clips?q=WALKING+c002").get_json()
    assert 0 < found["total"] < len(dataset)
    assert all("walking apart" in row["title"] and "C002" in row["title"] for row in found["clips"])
    assert client.get("/api/clips?q=nothing+of+the+kind").get_json() == {"total": 0, "clips": []}
    assert client.get("/api/clips/3").get_json() == json.loads(json.dumps(packed(clip_scene(dataset, 3))))


def test_the_page_fetches_from_its_own_server_alone(client):
    answer = client.get("/")
    assert answer.mimetype == "text/html"
    text = answer.get_data(as_text=True)
    assert "connect-src 'self'" in text.replace("&#39;", "'")
    assert '"clips":null' in text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/clips/999999", 404),
        ("/api/clips/-1", 404),
        ("/api/clips/0/../../manifest.json", 404),
        ("/api/clips/..%2f..%2fetc%2fpasswd", 404),
        ("/../manifest.json", 404),
        ("/manifest.json", 404),
        ("/static/viewer.js", 404),
        ("/etc/passwd", 404),
        ("/api/clips?from=-1", 400),
        ("/api/clips?from=x", 400),
        (f"/api/clips?count={MOST + 1}", 400),
    ],
)
def test_nothing_outside_the_dataset_is_answered(client, path, status):
    answer = client.get(path)
    assert answer.status_code == status
    assert set(answer.get_json()) == {"error"}


def test_other_host_names_are_refused(client):
    assert client.get("/", headers={"Host": "evil.example:8000"}).status_code == 403
    assert client.get("/api/clips/0", headers={"Host": "evil.example"}).status_code == 403
    assert client.get("/", headers={"Host": "localhost:8000"}).status_code == 200


def test_a_damaged_shard_is_an_answer_too(ntu_shards, tmp_path):
    import shutil

    shutil.copytree(ntu_shards, tmp_path / "shards")
    dataset = open_dataset(tmp_path / "shards")
    for shard in (tmp_path / "shards").glob("*.h5"):
        shard.write_bytes(b"not HDF5")
    answer = make_app(dataset).test_client().get("/api/clips/0")
    assert answer.status_code == 500
    assert "cannot be read" in answer.get_json()["error"]


def test_a_real_server_listens_on_this_machine_only(dataset):
    server = open_server(dataset, 0)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        address = f"http://127.0.0.1:{server.effective_port}"
        with urllib.request.urlopen(f"{address}/api/clips?count=1") as answer:
            assert json.load(answer)["total"] == len(dataset)
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{address}/%2e%2e/manifest.json")
        assert server.socket.getsockname()[0] == "127.0.0.1"
        with pytest.raises(UsageError, match="cannot be taken"):
            open_server(dataset, server.effective_port)
        taken = CliRunner().invoke(main, ["serve", str(dataset.path), "--port", str(server.effective_port)])
        assert taken.exit_code == 2
        assert "give another with --port" in taken.stderr
    finally:
        server.close()


def test_no_dataset_no_server(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
    wrong = CliRunner().invoke(main, ["serve", str(tmp_path)])
    assert wrong.exit_code == 2
    assert "not a converted dataset" in wrong.stderr
