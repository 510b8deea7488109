"""What stands in the documents is true of the code: examples run, commands and settings exist, files that are
pointed to exist."""

from __future__ import annotations

import ast
import doctest
import importlib.metadata
import re
import shlex
import shutil
from pathlib import Path

import click
import pytest

from amr_cli.data import main as data_main
from amr_cli.train import main as train_main
from amr_data import convert, load_spec, spec_names
from amr_data.errors import REASONS
from amr_train import load_experiment
from amr_train.experiments.judging import evaluation_settings
from amr_train.experiments.stages import stages_of
from amr_train.experiments.suites import load_suite
from benchmarks.faults import plant
from tests.amr_data.pku import small_pku, walking, write_video

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
PLAIN = [d for d in DOCUMENTS if re.search(r"```python\n(?!>>>|# \w+\.py\n)", d.read_text(encoding="utf-8"))]


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", document.read_text(encoding="utf-8"), re.S)


def commands() -> list[tuple[str, str]]:
    """Every amr-data and amr-train command in a fenced block, with the document that it stands in."""
    found = []
    for document in DOCUMENTS:
        for block in blocks(document, "(?:bash|sh)?"):
            for line in block.replace("\\\n", " ").splitlines():
                if line.startswith(("amr-data ", "amr-train ")):
                    found.append((document.name, line))
    return found


def test_examples(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = doctest.testfile(str(ROOT / "docs" / "python.md"), module_relative=False)
    assert result.attempted > 15
    assert result.failed == 0


@pytest.fixture(scope="module")
def prepared(ntu_raw, tmp_path_factory) -> Path:
    """A folder with what the documents name: raw files, the dataset ntu60 with the clip that they open,
    nw-ucla, which has a fault, and pku1, which keeps recordings. All are synthetic."""
    folder = tmp_path_factory.mktemp("documents")
    shutil.copytree(ntu_raw, folder / "raw")
    named, there = (f"S00{setup}C001P001R001A001.skeleton" for setup in (1, 2))
    shutil.copy(folder / "raw" / there, folder / "raw" / named)
    convert(folder / "raw", folder / "ntu60", "ntu60", workers=1)
    plant(folder / "ntu60", folder / "nw-ucla", 1)
    write_video(folder / "pku", "0002-L", [walking(40)], ["1,5,30,2"])
    convert(folder / "pku", folder / "pku1", small_pku(), workers=1, keep="recordings")
    return folder


@pytest.mark.parametrize("document", PLAIN, ids=lambda p: p.name)
def test_python_blocks_run(document, prepared, monkeypatch):
    """As they stand."""
    monkeypatch.chdir(prepared)
    for block in blocks(document, "python"):
        if not block.startswith((">>>", "# ")):
            exec(compile(block, document.name, "exec"), {})


def test_there_are_commands_in_the_documents():
    assert len(commands()) > 30


@pytest.mark.parametrize(("document", "line"), commands())
def test_commands_exist(document, line):
    program, name, *words = shlex.split(line, comments=True)
    group = data_main if program == "amr-data" else train_main
    assert isinstance(group, click.Group)
    if name.startswith("-"):
        return
    command = group.commands[name]
    context = click.Context(command, info_name=name, resilient_parsing=True)
    values, rest, _ = command.make_parser(context).parse_args(list(words))
    assert rest == [], line
    if program == "amr-train" and name == "run":
        settings = [word for key in ("overrides", "settings") for word in _given(values, key)]
        if values["experiment"].startswith("suite/"):
            stages_of(load_suite(values["experiment"]), {}, Path("runs"), settings)
        elif not values["experiment"].endswith(".yaml"):
            load_experiment(values["experiment"], settings)
    if program == "amr-train" and name == "eval":
        evaluation_settings(_given(values, "overrides"))
    if program == "amr-train" and name == "show" and not values["experiment"].startswith("suite/"):
        load_experiment(values["experiment"], _given(values, "overrides"))


def _given(values: dict, key: str) -> list[str]:
    """What the parser found for a parameter of many values; it marks one that was not given in a way of its
    own."""
    found = values.get(key)
    return list(found) if isinstance(found, tuple | list) else []


def test_the_example_method_loads(tmp_path):
    text = blocks(ROOT / "docs" / "adding-a-method.md", "yaml")[0]
    (tmp_path / "mine.yaml").write_text(text)
    experiment = load_experiment(str(tmp_path / "mine.yaml"))
    assert (experiment.name, experiment.method, experiment.mask.by) == ("mine", "amr", "motion")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_links_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (document.parent / target).exists(), target


def test_every_extra_is_in_the_guide():
    text = (ROOT / "docs" / "installation.md").read_text(encoding="utf-8")
    extras = importlib.metadata.metadata("amr-skeleton").get_all("Provides-Extra") or []
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    written = re.findall(
        r"^([a-z]+) = \[", project.split("optional-dependencies]")[1].split("[project")[0], re.M
    )
    assert set(re.findall(r"^\| `([a-z]+)` \|", text, re.M)) == set(written)
    assert set(extras) <= set(written) | {"docs"}
    for document in DOCUMENTS:  # the name is on no index: what is installed is a checkout or a wheel
        said = re.findall(r"^(?:[^`]*)pip install.*$", document.read_text(encoding="utf-8"), re.M)
        assert not [line for line in said if re.search(r"pip install (-\S+ )*amr-skeleton(?!\[)", line)], (
            document
        )


def test_terms_of_the_datasets_are_those_of_their_specs():
    rows = re.findall(
        r"^\| `(\w[\w-]*)` \|(.*)$", (ROOT / "docs" / "obtaining-datasets.md").read_text("utf-8"), re.M
    )
    told = {name: [cell.strip() for cell in row.split("|")] for name, row in rows}
    assert set(told) == {name for name in spec_names() if load_spec(name).licence}
    for name, cells in told.items():
        spec = load_spec(name)
        assert cells[2] == spec.licence
        assert not spec.homepage or f"<{spec.homepage}>" in cells[1] or cells[1] == "the same"


def test_every_reason_for_a_reject_is_in_the_guide():
    text = (ROOT / "docs" / "datasets.md").read_text(encoding="utf-8")
    listed = re.findall(r"`(\w+)`", text.split("## Reasons for a reject")[1].split("\n\n")[0])
    assert sorted(listed) == sorted(REASONS)


def test_every_message_of_troubleshooting_is_one_that_the_code_prints():
    known = messages()
    quoted = re.findall(
        r"^### `(.+)`$", (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8"), re.M
    )
    assert len(quoted) > 30
    assert all(len(message.replace("…", "")) > 15 for message in quoted)
    for message in quoted:
        assert any(message in one for one in known), message


def messages() -> list[str]:
    """Every text in the code, with an ellipsis in place of what is put in."""
    found = []
    for package in ("amr_data", "amr_train", "cli"):
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    parts = [p.value if isinstance(p, ast.Constant) else "…" for p in node.values]
                    found.append(re.sub("…+", "…", "".join(map(str, parts))))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
    return found
