"""Documentation that cannot go stale.

    docs.py generate MLIR_TBLGEN INCLUDE…   writes docs/ops.md and docs/passes.md from the .td files
    docs.py check MLIR_TBLGEN INCLUDE…      fails where they are not what generate would write
    docs.py links                           fails where a committed page names a file that does not exist
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = {
    "ops.md": (
        "frontend/ir/Ops.td",
        ["-gen-dialect-doc", "-dialect=nn"],
        "# Ops of the nn dialect",
        "",
    ),
    "passes.md": (
        "passes/Passes.td",
        ["-gen-pass-doc"],
        "# Passes",
        "Each runs alone in `pare-opt`, as in `pare-opt model.mlir -nn-simplify -nn-fuse`. Their order is in\n"
        "`passes/Pipelines.cpp`.\n\n",
    ),
}
TABLE = r"(?:\|.*\|\n)+"


def one_line(match):
    """A table of names and descriptions as one line; what is said of every name is left out."""
    common = ("ranked tensor of any type values", "")
    rows = re.findall(r"^\| `?(\w+)`? \| (.*) \|$", match["table"], re.M)[1:]
    names = [f"`{name}`" + (f" ({text})" if text not in common else "") for name, text in rows]
    return f"{match['title']}: {', '.join(names)}\n"


def attributes(match):
    rows = re.findall(r"<code>(\w+)</code></td><td>.*?</td><td>(.*?)</td>", match["table"])
    return "Attributes: " + ", ".join(f"`{name}` ({text})" for name, text in rows) + "\n"


def enum(match):
    names = re.findall(r"^\| .* \| `\d+` \| (.*) \|$", match["table"], re.M)
    return ", ".join(f"`{name}`" for name in names) + "\n"


def tidy(text):
    """mlir-tblgen's pages without what holds for every op or repeats the syntax."""
    text = re.sub(r"\n## Attributes\n.*?(?=\n## Enums\n)", "", text, flags=re.S)
    text = re.sub(r"#### Attributes:\n\n(?P<table><table>.*?</table>)\n", attributes, text, flags=re.S)
    text = re.sub(rf"#### (?P<title>Operands|Results):\n\n(?P<table>{TABLE})", one_line, text)
    text = re.sub(rf"#### Cases:\n\n(?P<table>{TABLE})", enum, text)
    text = re.sub(r"^(Traits|Interfaces|Effects): .*\n", "", text, flags=re.M)
    text = re.sub(r"^(### `.*`) \(.*\)$", r"\1", text, flags=re.M)
    text = re.sub(r"^### `-", "### `", text, flags=re.M)
    text = re.sub(r"^Syntax:\n\n```\noperation ::= `[\w.]+` ?(.*)\n```\n", r"Syntax: `` \1 ``\n", text, flags=re.M)
    text = re.sub(r"^(<!-- .*|\[TOC\])\n", "", text, flags=re.M)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def index(text):
    """A table of the names and what they are."""
    rows = re.findall(r"^### (`.*`)\n\n_(.*)_$", text, re.M)
    return "| name | what it is |\n|---|---|\n" + "".join(f"| {name} | {what} |\n" for name, what in rows)


def page(name, tblgen, includes):
    """The text of a generated page."""
    source, flags, title, note = PAGES[name]
    paths = [f"-I{path}" for path in (ROOT, *includes)]
    command = [tblgen, *flags, *paths, str(ROOT / source)]
    text = tidy(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    text = re.sub(r"^# .*\n\n", "", text)
    intro, _, body = text.partition("## Operations\n\n") if "## Operations" in text else (note, "", text)
    made = f"<!-- Generated from {source} by the CMake target docs: do not edit. -->\n"
    return f"{made}{title}\n\n{intro}{index(text)}\n{body}"


def generate(tblgen, *includes):
    for name in PAGES:
        (ROOT / "docs" / name).write_text(page(name, tblgen, includes))


def check(tblgen, *includes):
    stale = [name for name in PAGES if (ROOT / "docs" / name).read_text() != page(name, tblgen, includes)]
    if stale:
        sys.exit(f"docs/{', docs/'.join(stale)}: not what the .td files say; run: cmake --build BUILD --target docs")


def links():
    """Markdown links, and words in backticks that are paths in this repository."""
    bad = []
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    for page_path in map(Path, listed.stdout.split()):
        text = (ROOT / page_path).read_text()
        folder = ROOT / page_path.parent
        for target in re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", text):
            if not (folder / target).exists():
                bad.append(f"{page_path}: link to {target}")
        rooms = "frontend|passes|backends|tools|tests|benchmarks|cmake|docs"
        for target in re.findall(rf"`((?:{rooms})/[\w./+-]*)`", text):
            if not (ROOT / target).exists() and not (folder / target).exists():
                bad.append(f"{page_path}: `{target}`")
    if bad:
        sys.exit("no such file:\n  " + "\n  ".join(bad))


if __name__ == "__main__":
    commands = {"generate": generate, "check": check, "links": links}
    if len(sys.argv) < 2 or sys.argv[1] not in commands:
        sys.exit(__doc__.strip())
    commands[sys.argv[1]](*sys.argv[2:])
