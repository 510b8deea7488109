"""What stands in the sidebar, and the project's own pages within the site.

Pages that nobody has put in a place yet stand under the last heading, so that a new one is reached at
once; index.md itself stays plain Markdown. README, contributing and changelog lie at the top of the
checkout: the pages of these names take their text, and links to them lead there.
"""

from __future__ import annotations

import re
from pathlib import Path

from sphinx.application import Sphinx

TOP = Path(__file__).resolve().parents[2]
PLACES = {
    "Begin": ["installation", "journey-ntu", "journey-own-recordings", "journey-new-method"],
    "Data": [
        *("datasets", "obtaining-datasets", "recipes", "looking", "workbench", "recordings"),
        *("own-data", "adding-a-dataset", "adding-a-format", "shard-format"),
    ],
    "Training": [
        *("method", "training", "experiments", "detection", "model-cards", "speed"),
        *("research", "deviations", "focal", "adding-a-method", "adding-a-protocol"),
    ],
    "Look up": [
        *("troubleshooting", "faq", "glossary", "json", "python"),
        *("reference/commands", "reference/settings", "reference/amr-data", "reference/amr-train"),
    ],
}
FROM_TOP = {
    "reference/readme": "README.md",
    "reference/contributing": "CONTRIBUTING.md",
    "reference/changelog": "CHANGELOG.md",
}


def toctrees(pages: set[str]) -> str:
    """The navigation over these pages, as MyST."""
    named = {name for names in PLACES.values() for name in names}
    blocks = {**PLACES, "More": [*FROM_TOP, *sorted(pages - {*named, *FROM_TOP, "index"})]}
    return "".join(
        f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n" + "\n".join(names) + "\n```\n"
        for caption, names in blocks.items()
    )


def linked(text: str, page: str) -> str:
    """Markdown whose links lead to the site's pages, where they led to files of the checkout."""
    pages = {file: name.removeprefix("reference/") + ".md" for name, file in FROM_TOP.items()}

    def led(found: re.Match[str]) -> str:
        target, _, anchor = found[1].partition("#")
        if page in FROM_TOP:
            target = pages.get(target) or re.sub(r"^docs/", "../", target)
        elif target.startswith("../") and target[3:] in pages:
            target = f"reference/{pages[target[3:]]}"
        return f"]({target}{'#' + anchor if anchor else ''})"

    return re.sub(r"\]\((?![a-z]+:)([^)\s]+)\)", led, text)


def _read(app: Sphinx, page: str, content: list[str]) -> None:
    if page in FROM_TOP:
        file = TOP / FROM_TOP[page]
        app.env.note_dependency(str(file))
        content[0] = file.read_text(encoding="utf-8")
    content[0] = linked(content[0], page)
    if page == "index":
        content[0] += toctrees(app.env.found_docs)


def _outdated(app: Sphinx, env: object, added: set[str], changed: set[str], removed: set[str]) -> list[str]:
    return ["index"] if added | removed else []  # a page that comes or goes changes the sidebar


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", _read)
    app.connect("env-get-outdated", _outdated)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
