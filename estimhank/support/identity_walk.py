"""The walk of :mod:`estimhank.support.identity` over code, data and objects, to a digest free of addresses."""

from __future__ import annotations

import functools
import hashlib
import sys
import types
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np

from estimhank.support.identity_code import (
    OUTSIDE,
    READERS,
    attribute_of,
    find_import,
    home_of,
    in_this_package,
    is_library_file,
    library_of,
    plain_array,
    reads_of,
    states_of,
    text_of,
    text_of_class,
    vars_of,
)

#: Begins a part of a fingerprint whose content is not known; what follows says why.
UNIDENTIFIED = "not identified: "


_PLAIN = (types.NoneType, bool, int, float, complex, str, bytes, types.EllipsisType, types.NotImplementedType)
_NUMBERS = frozenset({types.NoneType, bool, int, float, complex})
_LOCKS = ("_thread.lock", "_thread.RLock", "threading.Condition", "threading.Event", "threading.local")
_MADE = frozenset(
    (
        *("__dict__", "__weakref__", "__doc__", "__module__", "__annotations__", "__annotate__", "__annotate_func__"),
        *("__annotations_cache__", "__firstlineno__", "__static_attributes__", "_abc_impl", "__abstractmethods__"),
        *("__parameters__", "__qualname__", "__match_args__", "__dataclass_fields__", "__dataclass_params__"),
        *("__slotnames__", "__classcell__", "__type_params__"),
    )
)
_WRITTEN = frozenset(["init", "repr", "eq", "lt", "le", "gt", "ge", "hash", "setattr", "delattr", "replace"])
_DESCRIPTORS = (
    types.MemberDescriptorType,
    types.GetSetDescriptorType,
    types.WrapperDescriptorType,
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
)
_SETTING_UP = frozenset(f"__{name}__" for name in ("init", "new", "post_init", "setstate", "getstate", "reduce", "del"))


class Walk:
    """One walk over everything that can be reached; :attr:`hash` is the digest so far.

    Attributes
    ----------
    places : dict of str to hash
        Digests of what stands at each place.
    unknown : list of str
        What has no content to look at.
    attributes : set of str
        Names of attributes that the code met reads.
    outside : list of (str, str)
        Where code reads what it does not hold: the method it stands in, if any, and words.
    """

    def __init__(self, parent: Walk | None = None, without: frozenset[str] = frozenset()) -> None:
        self.hash = hashlib.sha256()
        self.places: dict[str, Any] = {}
        self._without: frozenset[str] = parent._without if parent else without
        self.unknown: list[str] = parent.unknown if parent else []
        self.attributes: set[str] = parent.attributes if parent else set()
        self.outside: list[tuple[str, str]] = parent.outside if parent else []
        self._open: set[int] = parent._open if parent else set()  # sets and modules being walked
        self._path: list[str] = parent._path if parent else []
        self._method: str = parent._method if parent else ""
        self._seen: dict[int, str] = {}
        self._alive: list[Any] = []  # or another object could get the address of one that was seen

    def say(self, *words: object) -> None:
        """Add words to the digest, each with its length."""
        for word in words:
            content = word if isinstance(word, bytes) else str(word).encode("utf-8", "surrogatepass")
            content = len(content).to_bytes(8, "little") + content
            self.hash.update(content)
            self.places.setdefault(self.place, hashlib.sha256()).update(content)

    @contextmanager
    def at(self, place: str) -> Iterator[None]:
        """What is said inside stands at this place below the present one."""
        if place:
            self._path.append(place)
        try:
            yield
        finally:
            if place:
                self._path.pop()

    @property
    def place(self) -> str:
        """Where the walk is."""
        return ".".join(self._path)

    def fail(self, what: str) -> None:
        """Note something that has no content to look at."""
        self.unknown.append(f"{what} at {self.place}" if self.place else what)
        self.say("unknown", what)

    # -- one object ---------------------------------------------------------------------------------------------
    def visit(self, value: Any, place: str = "") -> None:
        """Add an object, once; another reference to it says where it was seen first."""
        with self.at(place):
            if place and self.place in self._without:
                self.say("state")
            elif isinstance(value, type) or not self._leaf(value):
                first = self._seen.get(id(value))
                if first is not None:
                    self.say("again", first)
                    return
                self._seen[id(value)] = self.place
                self._alive.append(value)
                self._compound(value)

    def _leaf(self, value: Any) -> bool:
        """Values without identity of their own: an interpreter may share equal ones or not."""
        kind = type(value)
        if kind in _PLAIN:
            self.say(kind.__name__, hex(value) if kind is int else value if kind is bytes else repr(value))
        elif kind is tuple:
            self._sequence("tuple", value)
        elif isinstance(value, types.CodeType):
            self._code(value)
        elif isinstance(value, np.ndarray | np.generic | jax.Array) and not isinstance(value, jax.core.Tracer):
            self._array(plain_array(value))
        elif isinstance(value, types.CellType):
            try:
                content = value.cell_contents
            except ValueError:
                self.say("empty cell")
            else:
                self.visit(content)
        else:
            return False
        return True

    def _compound(self, value: Any) -> None:
        if isinstance(value, types.ModuleType):
            self._module(value)
        elif home := home_of(value):
            self.say("library", home)
            if isinstance(value, type) and in_this_package(value.__module__):
                self.say(text_of_class(value))
        elif isinstance(value, type):
            self._class(value)
        elif isinstance(value, types.FunctionType):
            self._function(value)
        elif isinstance(value, types.MethodType):
            self.say("method")
            self.visit(value.__func__)
            self.visit(value.__self__, "self")
        elif isinstance(value, types.BuiltinFunctionType | types.MethodWrapperType):
            self._builtin(value)
        elif isinstance(value, set | frozenset):
            self._set(value)
        elif isinstance(value, dict | types.MappingProxyType):
            self._mapping(value)
        elif isinstance(value, list):
            self._sequence("list", value)
            self._rest(value)
        else:
            self._other(value)

    def _array(self, value: np.ndarray) -> None:
        self.say("array", value.dtype.str if value.dtype.names is None else repr(value.dtype), value.shape)
        if value.dtype.hasobject:
            for item in value.ravel().tolist():
                self.visit(item)
        else:
            self.say(hashlib.sha256(np.ascontiguousarray(value).tobytes()).digest())

    # -- containers ---------------------------------------------------------------------------------------------
    def _sequence(self, kind: str, value: Any) -> None:
        self.say(kind, len(value))
        if all(type(item) in _NUMBERS for item in value):
            self.say(" ".join(hex(n) if type(n) is int else repr(n) for n in value))  # there may be a million
            return
        for i, item in enumerate(value):
            self.visit(item, str(i))

    def _digest_of(self, value: Any) -> bytes:
        inner = Walk(self)
        inner.visit(value)
        return inner.hash.digest()

    def _set(self, value: Any) -> None:
        self.say("set", len(value))
        if id(value) in self._open:
            return
        self._open.add(id(value))
        self.say(*sorted(self._digest_of(item) for item in value))
        self._open.discard(id(value))
        self._rest(value)

    def _mapping(self, value: Any) -> None:
        self.say("mapping", len(value))
        keyed = [(self._order(k), k) for k in value]
        for order, key in sorted(keyed, key=lambda pair: pair[0]):
            self.say(*order)
            self.visit(value[key], str(key))
        if hasattr(value, "default_factory"):
            self.visit(value.default_factory)
        self._rest(value)

    def _order(self, key: Any) -> tuple[int, str]:
        if type(key) in (str, *_NUMBERS):
            return (0, key) if type(key) is str else (1, hex(key) if type(key) is int else repr(key))
        return 2, self._digest_of(key).hex()

    def _rest(self, value: Any) -> None:
        """Class and attributes of an instance of a subclass of a container."""
        if type(value) not in (list, dict, set, frozenset, types.MappingProxyType):
            self.visit(type(value))
            self._named(vars_of(value).items())

    def _named(self, pairs: Iterable[tuple[str, Any]]) -> None:
        """Attributes, in the order of their names; each is a place of its own, also where it was not there before."""
        for name, content in sorted(pairs, key=lambda pair: pair[0]):
            with self.at(name):
                if self.place not in self._without:
                    self.say(name)
                    self.visit(content)

    # -- code ---------------------------------------------------------------------------------------------------
    def _code(self, code: types.CodeType) -> None:
        self.say("code", code.co_code, code.co_exceptiontable, code.co_argcount, code.co_posonlyargcount)
        self.say(code.co_kwonlyargcount, code.co_flags, *code.co_names, "|", *code.co_varnames, "|", *code.co_freevars)
        self.visit(code.co_consts)

    def _function(self, function: types.FunctionType) -> None:
        code = function.__code__
        home = library_of(str(function.__globals__.get("__name__", ""))) or ""
        if home or is_library_file(code.co_filename):
            self.say("function of a library", home, code.co_name)  # made there, around something of the user's
        else:
            self.say("function")
            self._code(code)
            self._globals(function)
        cells = zip(code.co_freevars, function.__closure__ or (), strict=True)
        self.visit(function.__defaults__, "defaults")
        self.visit(function.__kwdefaults__ or {}, "defaults")
        for name, cell in cells:
            self.visit(cell, f"{name} of the closure")
        self._named((f"attribute {k}", v) for k, v in function.__dict__.items() if k not in _MADE)

    def _globals(self, function: types.FunctionType) -> None:
        reads, known = reads_of(function.__code__), function.__globals__
        self.attributes |= reads.attributes
        builtins = known.get("__builtins__", {})
        builtins = builtins if isinstance(builtins, dict) else vars(builtins)
        found: dict[str, Any] = {}
        for name in reads.names:
            if name in known:
                found[name] = known[name]
            elif name in builtins:
                if name in OUTSIDE and self._method not in _SETTING_UP:
                    self.outside.append((self._method, f"{function.__name__} calls {name}()"))
            else:
                self.say("absent", name)
        for name in sorted(reads.attributes & READERS):
            if self._method not in _SETTING_UP:
                self.outside.append((self._method, f"{function.__name__} calls {name}"))
        package = str(known.get("__package__") or known.get("__name__") or "")
        for level, name in reads.imports:
            module = find_import(level, name, package)
            found[f"import {name}"] = module if "." not in name else sys.modules.get(name.partition(".")[0], module)
            if module is not None and level == 0 and "." in name:
                found[f"import {name} itself"] = module
        for name in sorted(found):
            self.say(name)
            self.visit(found[name], name)
            if isinstance(found[name], types.ModuleType):
                self._members(found[name], reads.attributes)

    def _module(self, module: types.ModuleType) -> None:
        home = library_of(module.__name__)
        if home is not None:
            self.say("library", home, module.__name__)
            return
        self.say("module")  # not its name: what a file is called makes no difference
        text = text_of(module) if module.__name__ != "__main__" else ""
        if text is None and not hasattr(module, "__path__"):
            self.fail(f"the module {module.__name__} without a file")
        self.say(text)

    def _members(self, module: types.ModuleType, names: Iterable[str]) -> None:
        """What code may read of a user's module: its attributes of the names that the code mentions."""
        if library_of(module.__name__) is not None or id(module) in self._open:
            return
        self._open.add(id(module))  # two modules may import each other
        for name in sorted(set(names) & set(vars(module))):
            member = vars(module)[name]
            self.say(name)
            self.visit(member, f"module {module.__name__.rpartition('.')[2]}.{name}")
            if isinstance(member, types.ModuleType):
                self._members(member, names)
        self._open.discard(id(module))

    def _class(self, cls: type) -> None:
        self.say("class", cls.__qualname__.rpartition(".")[2])
        for base in cls.__bases__:
            self.visit(base)
        if type(cls) is not type:
            self.visit(type(cls))
        is_dataclass = "__dataclass_fields__" in vars(cls)
        for name in sorted(set(vars(cls)) - _MADE):
            member = vars(cls)[name]
            written = is_dataclass and name.strip("_") in _WRITTEN and isinstance(member, types.FunctionType)
            if written and member.__code__.co_filename == "<string>":
                continue
            before, self._method = self._method, name
            self.say(name)
            self.visit(member, f"class {cls.__name__}.{name}")
            self._method = before

    def _builtin(self, value: Any) -> None:
        owner = value.__self__
        self.say("built-in", value.__name__)
        if isinstance(owner, types.ModuleType) or owner is None:
            module = sys.modules.get(str(value.__module__)) or owner
            self.visit(module) if module is not None else self.fail(f"the compiled function {value.__name__}")
        else:
            self.visit(owner, "self")

    def _other(self, value: Any) -> None:
        cls = type(value)
        name = f"{cls.__module__}.{cls.__qualname__}"
        own = attribute_of(value, "fingerprint") if in_this_package(cls.__module__) else None
        compiled = name == "functools._lru_cache_wrapper" or cls.__module__.startswith("jaxlib")
        inner = attribute_of(value, "__wrapped__") if compiled else vars_of(value).get("py_func")
        if isinstance(own, Mapping):
            self.visit(dict(own))
            if why := [text for text in own.values() if text.startswith(UNIDENTIFIED)]:
                self.fail(why[0].removeprefix(UNIDENTIFIED))
        elif isinstance(value, property | staticmethod | classmethod | functools.cached_property):
            self.say(cls.__name__)
            for part in ("fget", "fset", "fdel", "__func__", "func"):
                self.visit(attribute_of(value, part))
        elif inner is not None:
            self.say(name)
            self.visit(inner)  # compiled, cached: what it is made from says what it gives
        elif isinstance(value, weakref.ReferenceType):
            self.visit(value())
        elif name in _LOCKS or isinstance(value, weakref.WeakKeyDictionary | weakref.WeakValueDictionary):
            self.say(name)
        elif isinstance(value, np.random.RandomState) and value is np.random.mtrand._rand:
            self.say("the common random state")  # it is seeded anew in every process; scipy's distributions hold it
        elif isinstance(value, _DESCRIPTORS):
            self.say(name, value.__name__)
        elif isinstance(value, np.ufunc):
            self.fail(f"the compiled function {value.__name__}")
        elif cls.__module__.startswith("pandas.") and hasattr(value, "to_numpy"):
            self._frame(value)
        else:
            self._state(value, name)

    def _frame(self, value: Any) -> None:
        self.visit(type(value))
        if hasattr(value, "columns"):
            self.visit([value.index, list(value.columns)])
            for j in range(value.shape[1]):
                self.visit([str(value.dtypes.iloc[j]), value.iloc[:, j].to_numpy()], str(value.columns[j]))
        else:
            index = value.index if hasattr(value, "iloc") else None
            self.visit([getattr(value, "name", None), str(value.dtype), value.to_numpy(), index])

    def _state(self, value: Any, name: str) -> None:
        """An instance, taken apart as for pickling: its class and its state."""
        try:
            parts = value.__reduce_ex__(4)
        except Exception:  # whatever a class raises that is not meant to be pickled
            self.fail(f"an object of the type {name}")
            return
        if isinstance(parts, str):
            return self.say("named", name, parts)
        made, arguments, state, items, pairs = (*parts, None, None, None)[:5]
        self.say("object")
        self.visit(made)
        self.visit(tuple(arguments))
        self._named(states_of(state))
        self.visit(list(items) if items is not None else None)
        self.visit(dict(pairs) if pairs is not None else None)
