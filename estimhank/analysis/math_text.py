"""LaTeX names as labels of figures: what matplotlib's own typesetting lacks is translated, or the name is shown."""

from __future__ import annotations

import re
from functools import lru_cache

#: Commands of common packages, and what matplotlib calls the like.
_SAME = {
    "bm": "boldsymbol", "pmb": "boldsymbol", "bold": "mathbf", "emph": "mathit", "textit": "mathit", "textbf": "mathbf",
    "textrm": "mathrm", "textup": "mathrm", "textnormal": "mathrm", "textsf": "mathsf", "texttt": "mathtt",
    "mbox": "mathrm", "hbox": "mathrm", "mathup": "mathrm", "mathds": "mathbb", "mathbbm": "mathbb", "tfrac": "frac",
    "cfrac": "frac", "nicefrac": "frac", "sfrac": "frac", "overbar": "overline", "ensuremath": "mathnormal",
}  # fmt: skip
_COMMAND = re.compile(rf"\\({'|'.join(sorted(_SAME, key=len, reverse=True))})(?![A-Za-z])\s*")
_BARE = re.compile(r"\\(boldsymbol|mathrm|mathbf|mathit|overline)\s*(\\[A-Za-z]+|[A-Za-z0-9])")


def figure_label(latex: str, name: str) -> str:
    """Label for a figure: LaTeX in dollar signs where matplotlib can draw it, else the plain name.

    Parameters
    ----------
    latex : str
        Without dollar signs; may be empty.
    name : str
    """
    if latex:
        for text in (latex, _translated(latex)):
            if _can_be_drawn(text):
                return f"${text}$"
    return plain_label(name)


def plain_label(text: str) -> str:
    """Text as matplotlib shows it letter by letter: a pair of dollar signs would begin and end a formula."""
    return text.replace("$", r"\$")


def _translated(latex: str) -> str:
    text = _COMMAND.sub(lambda found: f"\\{_SAME[found[1]]}", latex)
    text = _BARE.sub(r"\\\1{\2}", text)
    text = re.sub(r"\\frac\s*([A-Za-z0-9])\s*([A-Za-z0-9])", r"\\frac{\1}{\2}", text)
    return re.sub(r"(?<!\\)([%#])", r"\\\1", text)


@lru_cache(maxsize=4096)
def _can_be_drawn(text: str) -> bool:
    from matplotlib.mathtext import MathTextParser

    try:
        MathTextParser("path").parse(f"${text}$")
    except (ValueError, RecursionError):
        return False
    return True
