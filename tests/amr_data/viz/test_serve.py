"""`amr-data serve`: a dataset over HTTP, on this machine only, and a list that only its own page writes."""

from __future__ import annotations

import base64
import json
import re
import shutil
import socket
import threading
import urllib.error
import urllib.request

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from pyarrow import parquet

from amr_cli.data import main
from amr_data import UsageError, open_dataset
from amr_data.looking.decisions import Decision, decide, read_decisions
from amr_data.looking.faults import find_faults
from amr_data.shards.features import read_features, write_features
from amr_data.viz.scene import front_view, with_gaps
from amr_data.viz.server import MOST, MOST_THUMBNAILS, TOKEN, make_app, open_server
from amr_data.viz.thumbnails import ABSENT, FRAMES, HEAD, thumbnails
from amr_data.viz.workbench import Workbench


@pytest.fixture(scope="module")
def dataset(ntu_shards):
    return open_dataset(ntu_shards)


@pytest.fixture(scope="module")
def bench(dataset, tmp_path_factory):
    bench = Workbench(dataset, decisions=tmp_path_factory.mktemp("list") / "decisions.csv")
    bench.work()
    return bench


@pytest.fixture
def client(bench):
    return make_app(bench).test_client()


def token_of(client):
    return re.search(r'name="token" content="([^"]+)"', client.get("/").get_data(as_text=True))[1]


def test_clips_are_found_and_listed(client, dataset):
    everything = client.get("/api/search").get_json()
    assert everything["total"] == len(dataset)
    rows = client.get("/api/rows?count=5").get_json()["rows"]
    assert [row["index"] for row in rows] == [0, 1, 2, 3, 4]
    assert [row["name"] for row in rows] == dataset.names[:5]
    last = client.get(f"/api/rows?from={len(dataset) - 2}").get_json()["rows"]
    assert [row["index"] for row in last] == [len(dataset) - 2, len(dataset) - 1]
    found = client.get("/api/search?q=WALKING+camera:2").get_json()
    rows = client.get("/api/rows?q=WALKING+camera:2").get_json()["rows"]
    assert 0 < found["total"] == len(rows) < len(dataset)
    assert all("walking apart" in row["class"] and "C002" in row["name"] for row in rows)
    bits = np.unpackbits(
        np.frombuffer(base64.b64decode(found["bits"]), np.uint8), bitorder="little", count=len(dataset)
    )
    assert np.flatnonzero(bits).tolist() == [row["index"] for row in rows]
    wrong = client.get("/api/search?q=clas:walking")
    assert wrong.status_code == 400
    assert wrong.get_json()["error"].startswith("there is no key 'clas': did you mean 'class'?")


def test_rejected_sources_are_listed_with_their_reasons(client, dataset):
    totals = dataset.manifest["totals"]["rejects"]
    found = client.get("/api/search?q=reject:any").get_json()
    assert found["total"] == len(found["rejects"]) == totals > 0
    assert dict(found["facets"]["reject"]) == dataset.manifest["rejects_by_reason"]


def test_the_overview_adds_up(client, dataset):
    found = client.get("/api/overview").get_json()
    for name, sides in found["splits"].items():
        counts = {side: sum(values) for side, values in sides.items()}
        assert counts["train"] == len(dataset.split(name, "train"))
        assert sum(counts.values()) == len(dataset)
    assert len(found["classes"]) == len(set(dataset.clips["label"].tolist()))
    faults = find_faults(dataset)
    assert [(f["clip"], f["kind"]) for f in found["faults"]] == [(f.where, f.kind) for f in faults[:10]]


def test_a_clip_says_where_it_comes_from(client, dataset, bench):
    name = dataset.names[3]
    found = client.get(f"/api/clip?name={name}&q=camera:{int(dataset.clips['camera'][3])}").get_json()
    clip = dataset.clip(3)
    assert found["rows"]["source"] == clip.source
    assert found["rows"]["subject"] == str(clip.subject)
    assert found["recipe"]["name"] == "amr"
    assert found["cleaning"] == clip.dropped
    alike = bench.find(f"camera:{clip.camera}", "index", None).clips.tolist()
    at = alike.index(3)
    assert (found["place"], found["after"]) == (at, dataset.names[alike[at + 1]])
    assert client.get("/api/clip?name=nobody").status_code == 404


def test_thumbnails_are_the_clip_seen_from_the_front(dataset):
    pair = next(i for i in range(len(dataset)) if dataset.clips["bodies"][i] == 2)
    data = thumbnails(dataset, [pair, 0, 0])
    seen = {}
    while data:
        index, frames, bodies, seconds = HEAD.unpack_from(data)
        size = frames * bodies * 25 * 2
        points = np.frombuffer(data[HEAD.size : HEAD.size + size], np.uint8)
        seen[index] = points.reshape(frames, bodies, 25, 2), seconds
        data = data[HEAD.size + size :]
    assert list(seen) == sorted([0, pair])
    points, seconds = seen[pair]
    clip = dataset.clip(pair)
    assert seconds == pytest.approx(clip.frames / dataset.spec.frame_rate)
    assert points.shape[:2] == (min(FRAMES, clip.frames), 2)
    joints = with_gaps(clip)[:, [0, clip.frames - 1]]
    right, high = front_view(joints, dataset.up)
    there = np.isfinite(right).all(axis=2).swapaxes(0, 1)
    assert ((points[[0, -1], :, 0, 0] != ABSENT) == there).all()
    # one scale for both directions, upright
    drawn = points[[0, -1]].swapaxes(0, 1).astype(float)  # (M, 2, V, 2)
    inner = np.isfinite(right) & ((drawn > 0) & (drawn < 254)).all(axis=-1)
    wide, tall = (
        np.polyfit(real[inner], drawn[..., i][inner], 1)[0] for i, real in enumerate((right, -high))
    )
    assert wide > 0
    assert tall == pytest.approx(wide, rel=0.02)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/viewer/999999", 404),
        ("/viewer/-1", 404),
        ("/viewer/../manifest.json", 404),
        ("/viewer/..%2f..%2fetc%2fpasswd", 404),
        ("/../manifest.json", 404),
        ("/manifest.json", 404),
        ("/assets/viewer.js", 404),
        ("/assets/..%2fviewer.js", 404),
        ("/assets/main", 404),
        ("/etc/passwd", 404),
        ("/api/clip?name=../manifest.json", 404),
        ("/api/rows?from=-1", 400),
        ("/api/rows?from=x", 400),
        (f"/api/rows?count={MOST + 1}", 400),
        ("/api/frames?clips=1,x", 400),
        ("/api/frames?clips=99999", 404),
        ("/api/frames?clips=" + ",".join(["1"] * (MOST_THUMBNAILS + 1)), 400),
        ("/api/frames", 400),
        ("/api/map/pca", 400),
        ("/api/values/class ", 400),
        ("/api/search?sort=x", 400),
        ("/api/decisions", 405),
    ],
)
def test_nothing_outside_the_dataset_is_answered(client, path, status):
    answer = client.get(path)
    assert answer.status_code == status
    assert set(answer.get_json()) == {"error"}


def test_other_host_names_are_refused(client):
    assert client.get("/", headers={"Host": "evil.example:8000"}).status_code == 403
    assert client.get("/api/search", headers={"Host": "evil.example"}).status_code == 403
    assert client.get("/", headers={"Host": "localhost:8000"}).status_code == 200


def test_every_answer_forbids_what_the_page_does_not_need(client):
    for path in ("/", "/api/search", "/assets/main.js", "/nowhere", "/api/decisions.csv"):
        headers = client.get(path).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
    viewer = client.get("/viewer/3").headers["Content-Security-Policy"]
    assert "frame-ancestors 'self'" in viewer
    assert "unsafe-inline" not in viewer.split("script-src")[1].split(";")[0]


def test_only_the_own_page_writes(client, bench, dataset):
    name, token = dataset.names[0], token_of(client)
    asked = {"clip": name, "decision": "exclude", "note": "why"}

    def post(headers, content=asked):
        return client.post("/api/decisions", json=content, headers=headers)

    for headers in (
        {},
        {TOKEN: "guess"},
        {TOKEN: "gueß"},
        {TOKEN: token, "Origin": "http://evil.example"},
        {TOKEN: token, "Origin": "null"},
        {TOKEN: token, "Sec-Fetch-Site": "cross-site"},
        {TOKEN: token, "Host": "evil.example"},
    ):
        assert post(headers).status_code == 403, headers
    assert not bench.list.exists()
    assert post({TOKEN: token, "Origin": "http://localhost"}).status_code == 200
    assert read_decisions(bench.list) == {name: Decision(name, "exclude", "why")}
    assert client.get("/api/rows?q=decision:exclude").get_json()["rows"][0]["name"] == name
    own = {TOKEN: token}
    for wrong in ({**asked, "clip": "nobody"}, {**asked, "decision": "drop"}, {**asked, "note": 3}, [1]):
        answer = post(own, wrong)
        assert answer.status_code == 400
        assert answer.get_json()["error"]
    assert post(own, {**asked, "note": "x" * 100_000}).status_code == 413
    assert (
        client.get("/api/decisions.csv").get_data(as_text=True) == f"clip,decision,note\n{name},exclude,why\n"
    )
    assert post(own, {"clip": name, "decision": "", "note": ""}).status_code == 200
    assert client.get("/api/search?q=decision:undecided").get_json()["total"] == len(dataset)
    decide(bench.list, name, "keep")  # by another server
    assert f"{name},keep," in client.get("/api/decisions.csv").get_data(as_text=True)
    assert client.get("/api/search?q=decision:keep").get_json()["total"] == 1
    bench.list.write_text("by hand")
    assert client.get("/api/decisions.csv").status_code == 400
    bench.list.unlink()
    assert client.get("/api/decisions.csv").get_data(as_text=True) == "clip,decision,note\n"


def test_a_list_of_another_dataset_is_told(ntu_shards, tmp_path, dataset):
    path = tmp_path / "list.csv"
    decide(path, "elsewhere", "exclude")
    assert Workbench(dataset, decisions=path).strangers == ["elsewhere"]
    path.write_text("nonsense")
    with pytest.raises(UsageError, match="line 1"):
        Workbench(dataset, decisions=path)


def test_features_make_a_map(dataset, tmp_path):
    rng = np.random.default_rng(0)
    # two groups, far from each other in one direction of many
    group = np.arange(len(dataset)) % 2
    features = rng.normal(0, 0.1, (len(dataset), 300)).astype(np.float32)
    features[:, 7] += 10 * group
    path = tmp_path / "features.parquet"
    write_features(path, features, dataset.names, dataset.clips["label"].astype(np.int64), {})
    names, read = read_features(path)
    assert names == dataset.names
    assert np.array_equal(read, features)
    bench = Workbench(dataset, path)
    client = make_app(bench).test_client()
    assert client.get("/api/maps").get_json()["maps"] == {"pca": "principal components"}
    data = client.get("/api/map/pca").get_data()
    places = np.frombuffer(data[: 8 * len(dataset)], "<f4").reshape(-1, 2)
    sides = places[:, 0] > 0.5
    assert (sides == (group == group[sides.argmax()])).all()
    assert np.array_equal(np.frombuffer(data[8 * len(dataset) :], "<u2"), dataset.clips["label"])
    half = bench.find("pca:0/0/0.5/1", "index", None)
    assert len(half.clips) == np.count_nonzero(~sides)
    values = np.frombuffer(client.get("/api/values/frames").get_data(), "<i2")
    assert values.argmin() == dataset.clips["frames"].argmin()


def test_what_holds_no_features_is_refused(dataset, tmp_path):
    def made(name, table):
        parquet.write_table(table, tmp_path / name)
        return tmp_path / name

    some = pa.FixedSizeListArray.from_arrays(pa.array([1.0, 2.0, float("nan"), 4.0], pa.float32()), 2)
    absent = pa.array([[1.0, 2.0], None], pa.list_(pa.float32(), 2))
    (tmp_path / "text.parquet").write_text("no parquet")
    two = pa.array(dataset.names[:2])
    for path, said in (
        (tmp_path / "none.parquet", "holds no features"),
        (tmp_path / "text.parquet", "holds no features"),
        (tmp_path / "x.h5", "features in Parquet are read"),
        (made("a.parquet", pa.table({"name": two})), "holds no features"),
        (made("b.parquet", pa.table({"name": two, "features": pa.array([[1.0], [1.0, 2.0]])})), "one length"),
        (made("c.parquet", pa.table({"name": two, "features": some})), "not a finite number"),
        (made("d.parquet", pa.table({"name": two, "features": absent})), "a feature is missing"),
    ):
        with pytest.raises(UsageError, match=said):
            Workbench(dataset, path)
    finite = pa.FixedSizeListArray.from_arrays(pa.array([1.0, 2.0, 3.0, 4.0], pa.float32()), 2)
    with pytest.raises(UsageError, match="there is no clip 'other'"):
        Workbench(dataset, made("e.parquet", pa.table({"name": ["other", "b"], "features": finite})))
    twice = pa.array([dataset.names[0]] * 2)
    with pytest.raises(UsageError, match="stands there twice"):
        Workbench(dataset, made("f.parquet", pa.table({"name": twice, "features": finite})))


def test_a_damaged_shard_is_an_answer_too(ntu_shards, tmp_path):
    shutil.copytree(ntu_shards, tmp_path / "shards")
    bench = Workbench(open_dataset(tmp_path / "shards"))
    for shard in (tmp_path / "shards").glob("*.h5"):
        shard.write_bytes(b"not HDF5")
    bench.work()
    client = make_app(bench).test_client()
    for path in ("/viewer/0", "/api/frames?clips=0", f"/api/clip?name={bench.dataset.names[0]}"):
        answer = client.get(path)
        assert answer.status_code == 500
        assert "cannot be read" in answer.get_json()["error"]
    assert "cannot be read" in client.get("/api/search").get_json()["trouble"][0]


def test_a_real_server_listens_on_this_machine_only(dataset):
    server = open_server(Workbench(dataset), 0)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        address = f"http://127.0.0.1:{server.effective_port}"
        with urllib.request.urlopen(f"{address}/api/search") as answer:
            assert json.load(answer)["total"] == len(dataset)
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{address}/%2e%2e/manifest.json")
        assert server.socket.getsockname()[0] == "127.0.0.1"
        with pytest.raises(UsageError, match="cannot be taken"):
            open_server(Workbench(dataset), server.effective_port)
        taken = CliRunner().invoke(main, ["serve", str(dataset.path), "--port", str(server.effective_port)])
        assert taken.exit_code == 2
        assert "give another with --port" in taken.stderr
    finally:
        server.close()


def test_no_dataset_no_server(tmp_path, ntu_shards):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
    wrong = CliRunner().invoke(main, ["serve", str(tmp_path)])
    assert wrong.exit_code == 2
    assert "not a converted dataset" in wrong.stderr
    run = CliRunner().invoke(main, ["serve", str(ntu_shards), "--run", str(tmp_path)])
    assert run.exit_code == 2
    assert "is no run's folder" in run.stderr
