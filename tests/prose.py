"""What of a chapter is prose, and which numbers in it are typed by hand."""

from __future__ import annotations

import re
from collections.abc import Iterator

FENCE = re.compile(r"^\s*(?P<fence>`{3,}|:{3,}|~{3,})\s*(?P<info>.*)$")
CODE = ("code-cell", "code-block", "code", "math", "literalinclude", "mermaid", "bibliography")
NO_WORDS = re.compile(r"\s*(?:mystnb|figure|image|name|tags):")
NUMBER = re.compile(
    r"(?<![\w.])\d+(?:[.,]\d+)*\s?%"  # 12 %
    r"|(?<![\w.])\d*\.\d+(?:e[-+]?\d+)?(?!\w|\.\d)"  # 0.147
    r"|(?<![\w.])\d+e[-+]?\d+\b"  # 1e-3
)
# Not prose, or numbers that are no result by their very form.
LEFT_OUT = (
    re.compile(r"<!--.*?-->", re.S),
    re.compile(r"\$\$.*?\$\$(?:\s*\([\w:-]+\))?", re.S),
    re.compile(r"\\begin\{(\w+\*?)\}.*?\\end\{\1\}", re.S),
    re.compile(r"(?<!\\)\$[^$]+?(?<!\\)\$", re.S),
    re.compile(r"(?:\{[\w:.+-]+\})?(`+)(?!`).+?(?<!`)\1(?!`)", re.S),
    re.compile(r"https?://\S+|\]\([^)\s]*\)"),
    re.compile(r"arXiv[:\s]+\d{4}\.\d{4,5}|\bdoi[:\s]\S+", re.I),
    re.compile(r"\b(?:Python|torch|PyTorch|CUDA|numpy|version) \d[\d.]*(?:(?: to| or) \d[\d.]*)*"),
)


def prose(text: str) -> str:
    """The text of a chapter without what is not prose; line numbers are kept."""
    kept = "\n".join(_outside_code(text))
    for pattern in LEFT_OUT:
        kept = pattern.sub(lambda found: "\n" * found.group().count("\n"), kept)
    return kept


def typed_numbers(text: str) -> list[tuple[int, str]]:
    """Line and text of each decimal or percentage in the prose that comes from no role."""
    lines = enumerate(prose(text).splitlines(), 1)
    return [(number, found.group()) for number, line in lines for found in NUMBER.finditer(line)]


def _outside_code(text: str) -> Iterator[str]:
    """The lines, those of the header, of code, and of directives' options left empty."""
    header = text.startswith("---\n")
    open_fences: list[str] = []
    code, options, cell_header = "", False, False
    lines = text.splitlines()
    for number, line in enumerate(lines):
        fence = FENCE.match(line)
        if header:
            header = number == 0 or line != "---"
            yield ""
        elif code:
            if fence and not fence["info"] and fence["fence"].startswith(code):
                code = ""
            # A cell may begin with a header; the reader reads its captions and alt texts as prose.
            first = lines[number - 1].lstrip().startswith(("```", "~~~"))
            if line == "---" and (cell_header or first):
                cell_header = not cell_header
                yield ""
            else:
                yield "" if not cell_header or NO_WORDS.match(line) else line
        elif fence and fence["info"]:
            directive = re.match(r"\{([\w:-]+)\}(.*)", fence["info"])
            if directive is None or directive[1] in CODE:
                code = fence["fence"]
                yield ""
            else:
                open_fences.append(fence["fence"])
                options = True
                yield directive[2]
        elif fence and open_fences and fence["fence"] == open_fences[-1]:
            open_fences.pop()
            yield ""
        elif fence:
            code = fence["fence"]
            yield ""
        elif options and re.match(r"\s*:[\w-]+:", line):
            yield ""
        else:
            options = False
            yield line
