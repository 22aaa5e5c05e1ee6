"""Damaged inputs: text, plain values and bytes changed in the ways in which people, programs and disks change them.

Every function takes a generator of random numbers first, so that an input is known by its seed.
"""

from __future__ import annotations

import copy
import json
import re
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import Any

import h5py
import numpy as np

from estimhank.evaluation.store_format import BATCH_HEAD_SIZE, HEAD, head_size, pack_head, parse_head

Random = np.random.Generator

#: What stands in the place of a value in TOML.
TOML_VALUES = (
    *("true", "false", '""', '"x"', "'inf'", "-1", "0", "-0.0", "1e999", "-1e999", "nan", "-nan", "inf", "-inf"),
    *("9" * 30, "9" * 400, "9" * 5_000, "0x7fffffffffffffff", "1_000", "007", "1979-05-27", "07:32:00", "2", "3.5"),
    *("1979-05-27T07:32:00Z", "[]", "[[]]", "[1, 'a', 2.5]", "[nan]", "{}", "{a = 1}", "'\u0661'"),
    *('"\\u0000"', '"\U0001f4c8"', '"é"', '"1966Q1"', '"2019Q5"', '"' + "x" * 3_000 + '"', '"""a\nb"""', "", "="),
    *('{family = "normal", mean = nan, sd = -1}', '{family = "beta", mean = 0.5, sd = 9, lower = 2, upper = 1}'),
    *('["1966Q1", 3]', '"' + "/" * 300 + '"', "[" * 400 + "]" * 400, "-9223372036854775809", "'snapshot\\n'"),
    *('"\\ud800"', "'../..'", "1e-320", "{family = 'normal'}"),
)  # fmt: skip

#: What stands in the place of a value in JSON, or in a table that is given in Python.
PLAIN_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 3.5, -0.0, float("nan"), float("inf"), -float("inf"), 1e308, 5e-324, 10**18),
    *(10**400, "", "x", "é", "\x00", "\U0001f4c8", "nan", "inf", "1966Q1", "2019Q5", "9" * 400, "x" * 3_000, "a\nb"),
    *([], [[]], [1, "a", None], [float("nan")], {}, {"a": 1}, {"": {}}, {"family": "normal", "mean": 1}, ["x"] * 200),
    *({"family": "beta", "mean": 2.0, "sd": 0.1}, [1.0, 2.0], {"format": 1}, [[1, 2], [3]], -(2**63) - 1, "finished"),
    "\ud800",
)  # fmt: skip

#: What stands in a cell of a table.
CELLS = (
    *("", ".", "NA", "nan", "inf", "-inf", "1e999", "1e400", "9" * 400, "x", "1,5", "1.234,5", "1 000", "1'000", "%"),
    *("\u22121", "1e-320"),
    *("0", "-1", "=A1+1", "#REF!", '"', '"a\nb"', "é", "\x00", "\u0661\u0662", "1966Q1", "1966Q5", "0000Q1"),
    *("1966-13", "1966-02-30", "99999Q1", "01/02/1966", "Q1 1966", "x" * 3_000, "-999", "9999.9", "TRUE", "--", "0x10"),
    *("\u00a0", "\ufeff", "1966M1", "66Q1", "1e5Q1", ";;;", "1966Q1 ", "-1966Q1", "\u202e1", "٣", "1_0", "9" * 140_000),
)  # fmt: skip

_VALUE = re.compile(r'"[^"\n]*"|\'[^\'\n]*\'|(?<![\w.])-?\d[\w.+-]*|\btrue\b|\bfalse\b|\{[^{}\n]*\}|\[[^\[\]\n]*\]')
_CELL = re.compile(r"[^,;\t\n]+")


def pick[T](rng: Random, options: tuple[T, ...] | list[T]) -> T:
    """One of some options."""
    return options[int(rng.integers(len(options)))]


def replace_some(rng: Random, text: str, what: re.Pattern[str], by: tuple[str, ...]) -> str:
    """Replace up to three places that a pattern finds."""
    for _ in range(int(rng.integers(1, 4))):
        places = list(what.finditer(text))
        if not places:
            return text
        place = pick(rng, places)
        text = text[: place.start()] + pick(rng, by) + text[place.end() :]
    return text


def shuffle_lines(rng: Random, text: str) -> str:
    """Repeat, drop, swap, join or indent lines, or put one elsewhere."""
    lines = text.split("\n")
    i, j = (int(k) for k in rng.integers(len(lines), size=2))
    how = int(rng.integers(7))
    if how == 0:
        lines.insert(j, lines[i])
    elif how == 1:
        del lines[i]
    elif how == 2:
        lines[i], lines[j] = lines[j], lines[i]
    elif how == 3:
        lines[i : i + 2] = ["".join(lines[i : i + 2])]
    elif how == 4:
        del lines[min(i, j) : max(i, j)]
    elif how == 5:
        lines[i] = lines[i][: int(rng.integers(len(lines[i]) + 1))]
    else:
        lines[i:i] = lines[min(i, j) : max(i, j)]
    return "\n".join(lines)


def rename_some(rng: Random, text: str) -> str:
    """Change a letter of a word, or put another word there."""
    words = list(re.finditer(r"[A-Za-z_]\w*", text))
    if not words:
        return text
    word = pick(rng, words)
    others = (
        word[0] + "x",
        word[0][1:] or "q",
        word[0].upper(),
        pick(rng, words)[0],
        "é",
        "a.b",
        '"a b"',
        "",
        "__class__",
    )
    return text[: word.start()] + pick(rng, others) + text[word.end() :]


def damage_bytes(rng: Random, content: bytes) -> bytes:
    """What disks, editors and mail do to a file."""
    n = len(content)
    i, j = sorted(int(k) for k in rng.integers(n + 1, size=2))
    flipped = bytearray(content)
    for k in rng.integers(max(n, 1), size=int(rng.integers(1, 9))):
        if n:
            flipped[int(k)] ^= 1 << int(rng.integers(8))
    some = rng.bytes(int(rng.integers(1, 40)))
    options: tuple[Callable[[], bytes], ...] = (
        lambda: content[:i],
        lambda: content[i:],
        lambda: content[:i] + content[j:],
        lambda: content[:i] + bytes(j - i) + content[j:],
        lambda: content[:j] + content[i:],
        lambda: bytes(flipped),
        lambda: bytes(flipped),
        lambda: content[:i] + some + content[i:],
        lambda: content[:i] + some + content[i + len(some) :],
        lambda: b"\xef\xbb\xbf" + content,
        lambda: content.replace(b"\n", b"\r\n"),
        lambda: content.replace(b"\n", b"\r"),
        lambda: content.decode("utf-8", "replace").encode("utf-16"),
        lambda: content.decode("utf-8", "replace").encode("utf-16-le"),
        lambda: content.replace(b"a", "ä".encode("latin-1")),
        lambda: content + content,
        lambda: some,
        lambda: b"",
        lambda: b"\x00" * min(n, 600),
        lambda: b"PK\x03\x04" + content,
    )
    return pick(rng, options)()


def damage_text(values: tuple[str, ...], what: re.Pattern[str]) -> Callable[[Random, bytes], bytes]:
    """Changes of a text file whose values are found by a pattern; one in five is of its bytes."""

    def damage(rng: Random, content: bytes) -> bytes:
        if rng.random() < 0.2:
            return damage_bytes(rng, content)
        text = content.decode()
        for _ in range(int(rng.integers(1, 4))):
            how = rng.random()
            if how < 0.6:
                text = replace_some(rng, text, what, values)
            elif how < 0.8:
                text = shuffle_lines(rng, text)
            elif how < 0.92:
                text = rename_some(rng, text)
            else:
                k = int(rng.integers(len(text) + 1))
                text = text[:k] + pick(rng, values) + text[k:]
        return text.encode("utf-8", "surrogatepass")

    return damage


damage_toml = damage_text(TOML_VALUES, _VALUE)
damage_csv = damage_text(CELLS, _CELL)


def damage_plain(rng: Random, value: Any) -> Any:
    """Change up to three places in nested plain values: another value, another key, one key less or more."""
    root = [json.loads(json.dumps(value))]
    for _ in range(int(rng.integers(1, 4))):
        holder, key = _somewhere(rng, root)
        how = rng.random()
        if how < 0.7:
            holder[key] = copy.deepcopy(pick(rng, PLAIN_VALUES))
        elif holder is root:
            continue
        elif how < 0.8:
            del holder[key]
        elif isinstance(holder, dict):
            other = pick(rng, (key + "x", "", "é", key.upper(), pick(rng, list(holder))))
            holder[other] = copy.deepcopy(holder[key])
        else:
            holder.append(copy.deepcopy(pick(rng, PLAIN_VALUES)))
    return root[0]


def _somewhere(rng: Random, root: list[Any]) -> tuple[Any, Any]:
    holder: Any = root
    key: Any = 0
    while rng.random() < 0.85:
        inner = holder[key]
        if not isinstance(inner, dict | list) or not inner:
            break
        holder, key = inner, pick(rng, list(inner)) if isinstance(inner, dict) else int(rng.integers(len(inner)))
    return holder, key


def damage_json(rng: Random, content: bytes) -> bytes:
    """Changes of a JSON file: of its values, sometimes of its text or bytes."""
    how = rng.random()
    if how < 0.15:
        return damage_bytes(rng, content)
    if how < 0.2:
        return pick(rng, (b"[" * 100_000, b'{"a":' * 20_000, b"9" * 5_000, b"null", b"[]", b'"x"', b"NaN", b"{}"))
    text = json.dumps(damage_plain(rng, json.loads(content)))
    return (text if how < 0.95 else rename_some(rng, text)).encode()


def damage_store(rng: Random, content: bytes) -> bytes:
    """Changes of an evaluation store: of bytes, or of what its heads say, with the checksum of that."""
    how = rng.random()
    if how < 0.5:
        return damage_bytes(rng, content)
    size = head_size(content)
    if how < 0.8:
        try:
            return pack_head(damage_plain(rng, parse_head(content))) + content[size:]
        except (UnicodeEncodeError, ValueError):  # a text that is none, which no file holds
            return content[: int(rng.integers(HEAD.size))]
    fields = list(struct.unpack_from("<4sBBHIIq", content, size))
    k = int(rng.integers(1, 7))
    fields[k] = int(rng.integers(0, 256)) if k < 3 else int(rng.integers(0, 2 ** (16 if k == 3 else 31)))
    head = struct.pack("<4sBBHIIq", *fields)
    return content[:size] + head + struct.pack("<I", zlib.crc32(head)) + content[size + BATCH_HEAD_SIZE :]


def damage_netcdf(rng: Random, content: bytes) -> bytes:
    """Changes of a netCDF file: of bytes, or of groups, variables and attributes."""
    if rng.random() < 0.5:
        return damage_bytes(rng, content)
    memory = BytesIO(content)
    with h5py.File(memory, "r+") as file:
        names: list[str] = []
        file.visit(names.append)
        for _ in range(int(rng.integers(1, 3))):
            name = pick(rng, names)
            if name not in file:
                continue
            how, item = rng.random(), file[name]
            if how < 0.3:
                del file[name]
            elif how < 0.5 and len(item.attrs):
                del item.attrs[pick(rng, list(item.attrs))]
            elif how < 0.7:
                key = pick(rng, list(item.attrs)) if len(item.attrs) else "units"
                item.attrs[key] = pick(rng, (1, "x", np.zeros(3), np.array([b"a", b"b"]), -(2**31), 2.5))
            elif isinstance(item, h5py.Dataset):
                values = pick(rng, (3.0, np.zeros(3), np.zeros((2, 0)), np.array([b"x"]), np.zeros((2, 2), complex)))
                del file[name]
                file[name] = values
    return memory.getvalue()
