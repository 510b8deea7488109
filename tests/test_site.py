"""The guide as a site: it builds without a warning, is read and searched from disk, and asks for nothing from
elsewhere."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from amr_cli.data import main as data_main
from amr_cli.train import main as train_main
from amr_train.config import Experiment
from amr_train.experiments.settings import flat
from tests.browser.test_viewer import browser  # noqa: F401

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"


def helper(name: str) -> ModuleType:
    """A module of docs/site, which only Sphinx imports by itself."""
    spec = importlib.util.spec_from_file_location(name, DOCS / "site" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """Built as `make site` does; a warning fails."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", str(DOCS), str(out)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (built.returncode, built.stderr) == (0, "")
    return out


def test_make_builds_it_so():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "-m sphinx -q -W --keep-going -b html docs .site" in text


def test_every_page_is_reached(site):
    front = (site / "index.html").read_text(encoding="utf-8")
    pages = {
        p.relative_to(DOCS).with_suffix("").as_posix() for p in DOCS.rglob("*") if p.suffix in (".md", ".rst")
    }
    linked = {link.removesuffix(".html") for link in re.findall(r'href="([\w/-]+\.html)"', front)}
    assert pages - {"index"} <= linked


def test_a_page_that_nobody_placed_stands_under_the_last_heading():
    navigation = helper("navigation")
    placed = {name for names in navigation.PLACES.values() for name in names}
    for name in placed:
        assert any((DOCS / f"{name}{ending}").is_file() for ending in (".md", ".rst")), name
    blocks = navigation.toctrees({*placed, "index", "detecting"})
    assert blocks.rstrip().endswith("changelog\ndetecting\n```")
    assert blocks.count("detecting") == 1


def test_links_between_checkout_and_site():
    linked = helper("navigation").linked
    assert linked("[a](../README.md#results)", "focal") == "[a](reference/readme.md#results)"
    assert linked("[a](docs/own-data.md) [b](CONTRIBUTING.md)", "reference/readme") == (
        "[a](../own-data.md) [b](contributing.md)"
    )
    same = "[a](https://example.org/docs/x.md) [b](recipes.md#x) [c](../LICENSE)"
    assert linked(same, "focal") == same


def test_docstrings_become_items():
    as_rst = helper("docstrings").as_rst
    lines = [
        "What it does, with `names` and 2 * 3.",
        "",
        "joints : (K, V, 3) float32,",
        "    metres.",
        "slot : which body.",
        "Args:",
        "    path: a run's folder, or",
        "        a file.",
        "    many: of them_.",
        "Returns: features.",
        "Raises: UsageError where there is none:",
        "    neither here nor there.",
    ]
    assert [line for line in as_rst(lines) if line] == [
        r"What it does, with ``names`` and 2 \* 3.",
        "* ``joints``: (K, V, 3) float32, metres.",
        "* ``slot``: which body.",
        "**Args**",
        "* ``path``: a run's folder, or a file.",
        r"* ``many``: of them\_.",
        "**Returns**: features.",
        "**Raises**: UsageError where there is none: neither here nor there.",
    ]
    listing = [
        line for line in as_rst(["It predicts:", "    grid   all", "    pooled few", "", "More."]) if line
    ]
    assert listing == ["It predicts:", "::", "    grid   all", "    pooled few", "More."]


def test_the_reference_has_every_setting_and_command(site):
    settings = (site / "reference" / "settings.html").read_text(encoding="utf-8")
    shown = set(re.findall(r'<span class="pre">([\w.]+)</span></code></p></td>', settings))
    wanted = flat(Experiment(name="x").model_dump(mode="json"))
    assert {key for key in wanted if not key.startswith(("options", "evaluation.options"))} <= shown
    assert "at least 0, below 2^63" in settings  # bounds of the seed
    commands = (site / "reference" / "commands.html").read_text(encoding="utf-8")
    for main, program in ((data_main, "amr-data"), (train_main, "amr-train")):
        for name in main.commands:
            assert f'id="{program}-{name}"' in commands
    assert "--hub-folder" in commands
    examples = re.sub("<[^>]+>", "", "".join(re.findall(r"<pre>(.*?)</pre>", commands, re.S)))
    assert "amr-data inspect ntu60/ --worst 12 --html worst.html" in examples  # to be copied: hyphens, lines


def test_examples_of_help_texts_are_code():
    as_code = helper("examples").as_code
    assert as_code(["What it does.", "", "| one --this", "| two", ""]) == [
        *("What it does.", "", ".. code-block:: text", "", "   one --this", "   two", "", ""),
    ]


def test_formulas_are_formulas(site):
    method = (site / "method.html").read_text(encoding="utf-8")
    assert method.count('<math xmlns="http://www.w3.org/1998/Math/MathML"') > 5
    assert "mfrac" in method
    assert "$$" not in method


def test_nothing_is_asked_from_elsewhere(site):
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        asked = re.findall(
            r'<(?:script|img|iframe)[^>]*src="([^"]+)"|<link[^>]*rel="stylesheet"[^>]*href="([^"]+)"', text
        )
        assert not [a or b for a, b in asked if "//" in (a or b)], page


def test_it_is_searched_from_disk(site, browser):  # noqa: F811
    page = browser.new_page(viewport={"width": 390, "height": 800})
    complaints: list[str] = []
    requests: list[str] = []
    page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto((site / "search.html").as_uri() + "?q=retrieval")
    # results are added one after the other
    page.locator("#search-results ul.search li a").get_by_text("Experiments", exact=True).first.wait_for()
    page.goto((site / "method.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.close()
    assert complaints == []
    assert all(url.startswith(site.as_uri()) for url in requests)


def test_the_software_is_cited_as_it_is():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert (cited["cff-version"], cited["license"]) == ("1.2.0", "Apache-2.0")
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert f'version = "{cited["version"]}"' in project
    (paper,) = cited["references"]
    assert paper["title"] in (DOCS / "method.md").read_text(encoding="utf-8")
    assert {"message", "title", "authors"} <= set(cited)
