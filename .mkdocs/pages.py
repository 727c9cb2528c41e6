"""Pages that are made when the site is built: the first, how to contribute, what changed, notebooks, the reference."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from nbconvert import MarkdownExporter

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = re.compile(r"\]\(((?:\.\./)*notebooks/\w+)\.ipynb\)")
OF_THE_ROOT = {"index.md": "README.md", "contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}

STYLE = "site.css"


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are not in docs/."""
    for name, text in {**made(), STYLE: ".md-grid { max-width: 82rem; }  /* room for lines of code */\n"}.items():
        files.append(File.generated(config, name, content=text))
    for name, content in notebooks():
        files.append(File.generated(config, f"notebooks/{name}", content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let links out of docs/, and those to notebooks, lead to the pages that stand for their files."""
    if page.file.src_uri == "expectations.md":
        page.meta["hide"] = ["toc"]  # a wide table
    above = "../" * page.file.src_uri.count("/")
    for name, source in OF_THE_ROOT.items():
        markdown = markdown.replace(f"](../{above}{source}", f"]({above}{name}")
    return NOTEBOOK.sub(r"](\1.md)", markdown)


def made() -> dict[str, str]:
    """Write the pages by name."""
    pages = {name: from_the_root(source) for name, source in OF_THE_ROOT.items()}
    pages["index.md"] = f"---\nhide: [navigation]\n---\n{pages['index.md']}"  # it has one page
    return pages | {f"reference/{name}.md": text for name, text in reference()}


def from_the_root(source: str) -> str:
    """Read a page of the root with its links as they are from docs/."""
    text = (ROOT / source).read_text(encoding="utf-8").replace("](docs/", "](")
    for name, other in OF_THE_ROOT.items():
        text = text.replace(f"]({other}", f"]({name}")
    return text


def notebooks() -> Iterator[tuple[str, str | bytes]]:
    """Make a page of each notebook, with what its cells showed, and its pictures."""
    for path in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        names = {"unique_key": path.stem, "output_files_dir": f"{path.stem}_files"}
        text, made = MarkdownExporter().from_filename(str(path), resources=names)
        text = text.replace('<table border="1" class="dataframe">', "<table>")  # a table as those of other pages
        title, rest = text.strip().split("\n", 1)
        yield f"{path.stem}.md", f"{title}\n\n[This page as a notebook]({path.name})\n{rest}"
        yield from made["outputs"].items()


def reference() -> Iterator[tuple[str, str]]:
    """Write a page of docstrings for `pipelines.api` and for each folder of modules/."""
    yield "api", "# From Python\n\n::: pipelines.api\n"
    folders = sorted(path.parent for path in (ROOT / "modules").glob("*/__init__.py"))
    for folder in folders:
        sources = sorted(path for path in folder.rglob("*.py") if not path.name.startswith("_"))
        parts = [f"::: {'.'.join(path.relative_to(ROOT).with_suffix('').parts)}" for path in sources]
        yield folder.name, "\n\n".join([f"# modules.{folder.name}", *parts]) + "\n"
    leaves = sorted(path.stem for path in (ROOT / "modules").glob("*.py") if not path.name.startswith("_"))
    yield "leaves", "\n\n".join(["# Leaves of modules", *(f"::: modules.{name}" for name in leaves)]) + "\n"
