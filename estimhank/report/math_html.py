"""LaTeX names of parameters as HTML text: Greek letters, accents, sub- and superscripts, nothing more."""

from __future__ import annotations

import html
import re

_GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ϵ", "varepsilon": "ε", "zeta": "ζ", "eta": "η",
    "theta": "θ", "vartheta": "ϑ", "iota": "ι", "kappa": "κ", "lambda": "λ", "mu": "μ", "nu": "ν", "xi": "ξ", "pi": "π",
    "varpi": "ϖ", "rho": "ρ", "varrho": "ϱ", "sigma": "σ", "varsigma": "ς", "tau": "τ", "upsilon": "υ", "phi": "φ",
    "varphi": "φ", "chi": "χ", "psi": "ψ", "omega": "ω", "Gamma": "Γ", "Delta": "Δ", "Theta": "Θ", "Lambda": "Λ",
    "Xi": "Ξ", "Pi": "Π", "Sigma": "Σ", "Upsilon": "Υ", "Phi": "Φ", "Psi": "Ψ", "Omega": "Ω",
}  # fmt: skip
_SYMBOLS = {
    "infty": "∞",
    "cdot": "·",
    "times": "×",
    "ell": "ℓ",
    "prime": "′",
    ",": "\u2009",
    ";": "\u2005",
    " ": " ",
    "%": "%",
    "_": "_",
}
_ACCENTS = {"bar": "¯", "hat": "^", "tilde": "~", "dot": "˙", "overline": "¯"}
_UPRIGHT = ("mathrm", "text", "mbox", "textrm", "operatorname", "mathit", "mathbf", "mathcal")

_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|[{}_^]|[^\\{}_^]")


class UnknownMacroError(ValueError):
    """A LaTeX command that this small converter does not know."""


def latex_to_html(latex: str, fallback: str = "") -> str:
    """HTML for a short LaTeX formula, e.g. ``\\\\kappa_w`` to ``<i>κ</i><sub><i>w</i></sub>``.

    Parameters
    ----------
    latex : str
        Formula without dollar signs.
    fallback : str
        Shown in code type if the formula is empty or uses a command that is not known here.
    """
    if latex:
        try:
            text, rest = _group(_TOKEN.findall(latex), top=True)
        except UnknownMacroError:
            text, rest = "", ["unknown"]
        if not rest:
            return text
    return f"<code>{html.escape(fallback or latex)}</code>"


def _group(tokens: list[str], top: bool = False) -> tuple[str, list[str]]:
    """Convert up to the closing brace (or the end, at the top); return the text and the tokens that are left."""
    parts = []
    while tokens and tokens[0] != "}":
        text, tokens = _atom(tokens)
        parts.append(text)
    if not top:
        if not tokens:
            raise UnknownMacroError("unbalanced braces")
        tokens = tokens[1:]
    return "".join(parts), tokens


def _argument(tokens: list[str]) -> tuple[str, list[str]]:
    """What a command or a script applies to; LaTeX skips the spaces before it."""
    while tokens and tokens[0].isspace():
        tokens = tokens[1:]
    return _atom(tokens)


def _atom(tokens: list[str]) -> tuple[str, list[str]]:
    if not tokens:
        raise UnknownMacroError("formula ends too early")
    token, rest = tokens[0], tokens[1:]
    if token == "{":
        return _group(rest)
    if token in "_^":
        text, rest = _argument(rest)
        tag = "sub" if token == "_" else "sup"
        return f"<{tag}>{text}</{tag}>", rest
    if not token.startswith("\\"):
        return (f"<i>{token}</i>" if token.isalpha() else html.escape(token)), rest
    name = token[1:]
    if name in _GREEK:
        return f"<i>{_GREEK[name]}</i>", rest
    if name in _SYMBOLS:
        return _SYMBOLS[name], rest
    if name in _ACCENTS:
        text, rest = _argument(rest)
        # combining characters land beside the letter in some fonts; browsers set this bit of MathML right
        letter = html.escape(re.sub(r"<[^>]*>", "", text))
        return f'<math><mover accent="true"><mi>{letter}</mi><mo>{_ACCENTS[name]}</mo></mover></math>', rest
    if name in _UPRIGHT:
        text, rest = _argument(rest)
        return re.sub(r"</?i>", "", text), rest
    raise UnknownMacroError(name)
