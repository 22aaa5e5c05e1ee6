"""What the documentation's builder does beyond its defaults: pages stay readable on a forge, and the site stands alone.

Pages link to files of the repository (``../examples/nominal_bonds.py``); the site has these as pages of its own. The
error catalogue gets the sentences of each kind as they stand in the code.
"""

from __future__ import annotations

import html
import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
sys.path.insert(0, str(ROOT))

from scripts.catalogue import kinds, raised_in, sentences, sites  # noqa: E402  found by the line above

#: In the site, where files of the repository are.
_REPOSITORY = "repository"

_LINK = re.compile(r"(\]\()([^)\s#]+)((?:#[^)\s]*)?\))")
_FENCE = re.compile(r"(^```.*?^```|`[^`\n]+`)", re.DOTALL | re.MULTILINE)

_WORKER, _WORKER_ELSEWHERE = "assets/file_worker.js", "https://unpkg.com/iframe-worker/shim"

_LANGUAGES = {".py": "python", ".toml": "toml", ".cff": "yaml", ".yml": "yaml"}


def on_files(files: Files, config: Any) -> Files:
    """Add the files of the repository that pages link to, and those that these link to."""
    todo = [DOCS / file.src_uri for file in files if file.src_uri.endswith(".md")]
    seen: set[str] = set()
    while todo:
        page = todo.pop()
        for path in _linked(page):
            uri = _uri(path)
            if uri.startswith(f"{_REPOSITORY}/") and uri not in seen:
                seen.add(uri)
                files.append(File.generated(config, uri, content=_content(path)))
                if path.suffix == ".md":
                    todo.append(path)
    return files


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Take the script that makes search work from the file system from the site itself, not from the network."""
    here = posixpath.relpath(f"{_WORKER}", posixpath.dirname(page.file.dest_uri) or ".")
    return output.replace(_WORKER_ELSEWHERE, here)


def on_post_template(output_content: str, template_name: str, **_: Any) -> str:
    """The same for pages without a source: the one for addresses that are not there."""
    return output_content.replace(_WORKER_ELSEWHERE, _WORKER) if template_name.endswith(".html") else output_content


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point links to where their targets are in the site; put sentences into the catalogue."""
    uri = page.file.src_uri
    path = _path(uri)
    if path == DOCS / "errors.md":
        markdown = _with_sentences(markdown)
    if path == DOCS / "reference" / "command_line.md":
        markdown = _with_commands(markdown)
    parts = _FENCE.split(markdown)
    return "".join(
        part if number % 2 else _LINK.sub(lambda m: _moved(m, path, uri), part) for number, part in enumerate(parts)
    )


def _moved(match: re.Match[str], page: Path, uri: str) -> str:
    target = _target(page, match[2])
    if target is None:
        return match[0]
    return f"{match[1]}{posixpath.relpath(_uri(target), posixpath.dirname(uri) or '.')}{match[3]}"


def _linked(page: Path) -> list[Path]:
    text = "".join(_FENCE.split(page.read_text(encoding="utf-8"))[::2])
    found = (_target(page, match[2]) for match in _LINK.finditer(text))
    return [path for path in found if path is not None]


def _target(page: Path, link: str) -> Path | None:
    """The file of this repository that a link of a page means, or None."""
    if re.match(r"[a-z]+:", link):
        return None
    path = (page.parent / link).resolve()
    if path.is_dir():  # a site has no lists of files: the folder's page, or the first of its tables
        tables = sorted(path.glob("*.csv"))
        path = path / "README.md" if (path / "README.md").is_file() or not tables else tables[0]
    return path if path.is_file() and path.is_relative_to(ROOT) else None


def _uri(path: Path) -> str:
    """Where a file of this repository is in the site's sources."""
    if path.is_relative_to(DOCS):
        return path.relative_to(DOCS).as_posix()
    # folders whose names begin with a dot are left out of a site
    uri = "/".join((_REPOSITORY, *(part.lstrip(".") for part in path.relative_to(ROOT).parts)))
    return uri if path.suffix in (".md", ".png", ".svg") else f"{uri}.md"


def _path(uri: str) -> Path:
    """The file that a page of the site's sources is made from."""
    if not uri.startswith(f"{_REPOSITORY}/"):
        return DOCS / uri
    inside = uri.removeprefix(f"{_REPOSITORY}/")
    path = ROOT / inside
    return path if path.is_file() else ROOT / inside.removesuffix(".md")


def _content(path: Path) -> str | bytes:
    if path.suffix in (".png", ".svg"):
        return path.read_bytes()
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return text
    name = path.relative_to(ROOT).as_posix()
    return f"# {name}\n\n````{_LANGUAGES.get(path.suffix, 'text')}\n{text}````\n"


def _with_sentences(markdown: str) -> str:
    """The catalogue with a list of sentences at the end of each kind."""
    found = sites()
    tests = raised_in(found)
    for kind in kinds():
        texts = sentences(kind, found)
        if texts:
            items = "".join(f"    * <code>{html.escape(text)}</code>\n" for text in texts)
            own = {t for s in found if s.error in kind.errors and s.module in kind.modules for t in tests[s]}
            items += f"\n    Tests that ask for them: {', '.join(f'`{name}`' for name in sorted(own))}.\n"
            block = f'\n??? note "{len(texts)} sentence{"s" * (len(texts) != 1)}"\n\n{items}\n'
            head = markdown.index(f"### {kind.number} {kind.title}\n")
            following = re.compile(r"^##", re.MULTILINE).search(markdown, head + 4)
            end = following.start() if following else len(markdown)
            markdown = markdown[:end] + block + markdown[end:]
    return markdown


def _with_commands(markdown: str) -> str:
    """The page of the command line with every command and its options, as ``--help`` has them."""
    import typer

    from estimhank.cli import app

    group: Any = typer.main.get_command(app)
    lines = []
    for name, command in group.commands.items():
        lines += [f"### {name}", "", (command.help or "").replace("\n", " "), ""]
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        options = [p for p in command.params if p.param_type_name == "option"]
        usage = " ".join(["estimhank", name, *(_metavar(p) for p in arguments)])
        lines += [f"`{usage}{' [OPTIONS]' if options else ''}`", ""]
        if arguments or options:
            lines += ["| | |", "|---|---|"]
            lines += [f"| `{_metavar(p)}` | {_cell(p.help)} |" for p in arguments]
            lines += [f"| `{', '.join(p.opts)}` | {_cell(p.help)} |" for p in options]
            lines.append("")
    return markdown.replace("<!-- commands -->", "\n".join(lines))


def _metavar(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name.upper())


def _cell(text: str | None) -> str:
    return (text or "").replace("\n", " ").replace("|", "\\|")
