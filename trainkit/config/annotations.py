"""Whether a value from a YAML fits the annotation of an argument, as far as that can be told without calling it."""

from __future__ import annotations

import collections.abc
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Union

_UNIONS = (Union, types.UnionType)
_LISTS = (list, tuple, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection)
_DICTS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
_WORDS = {int: "an integer", float: "a number", bool: "true or false", str: "text", types.NoneType: "null"}


Parameters = dict[str, inspect.Parameter]
_VAR_KEYWORD = inspect.Parameter.VAR_KEYWORD


def parameters_of(target: Callable[..., Any]) -> tuple[Parameters, dict[str, Any]]:
    """Parameters of a callable, and the types of those whose annotation can be evaluated.

    A class of trainkit's own hands ``**keywords`` on to its base: the base's parameters then stand in their place.

    Args:
        target: A class or function.

    Returns:
        Parameters as ``inspect.signature`` gives them, and type by parameter name; parameters without an annotation,
        or with one that cannot be evaluated at run time (a name imported for type checking only), have no type.

    Raises:
        ValueError: The callable is a builtin that says nothing of its parameters.
    """
    parameters = dict(inspect.signature(target).parameters)
    if not isinstance(target, type):
        return parameters, _hints(inspect.unwrap(target), parameters)
    hints = _hints(target.__init__, parameters)  # type: ignore[misc]
    bases = [base for base in target.__mro__[1:] if "__init__" in base.__dict__ and _is_own(base)]
    for base in bases if _is_own(target) else ():
        if not any(parameter.kind is _VAR_KEYWORD for parameter in parameters.values()):
            break
        constructor: Any = base.__dict__["__init__"]
        handed = dict(list(inspect.signature(constructor).parameters.items())[1:])
        parameters = {name: p for name, p in parameters.items() if p.kind is not _VAR_KEYWORD}
        parameters |= {name: _optional(p) for name, p in handed.items() if name not in parameters}
        hints = _hints(constructor, handed) | hints
    return parameters, hints


def _is_own(kind: type) -> bool:
    return kind.__module__.partition(".")[0] == "trainkit"


def _optional(parameter: inspect.Parameter) -> inspect.Parameter:
    if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, _VAR_KEYWORD):
        return parameter
    return parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, default=None)


def _hints(function: Any, parameters: Mapping[str, inspect.Parameter]) -> dict[str, Any]:
    scope = getattr(inspect.unwrap(function), "__globals__", {})
    hints = {}
    for name, parameter in parameters.items():
        hint = parameter.annotation
        if isinstance(hint, str):
            hint = _evaluate(hint, scope)
        if hint is not inspect.Parameter.empty:
            hints[name] = hint
    return hints


def _evaluate(text: str, scope: dict[str, Any]) -> Any:
    try:
        return eval(text, scope)
    except (NameError, AttributeError, TypeError, SyntaxError):
        return inspect.Parameter.empty


def fits(value: Any, hint: Any) -> bool:
    """Whether a plain value fits an annotation.

    Checked are int, float, bool, str, None, unions, ``Literal``, lists (for lists, tuples and sequences) and dicts,
    with their elements. An int fits float; a bool fits neither; nothing plain fits a tensor. A config with a
    ``_target_``, and an annotation of any other kind, fit.

    Args:
        value: A number, text, bool, None, list or dict.
        hint: The annotation as a type.
    """
    if isinstance(value, Mapping) and "_target_" in value:
        return True
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in _UNIONS:
        return any(fits(value, arg) for arg in args)
    if origin is Literal:
        return any(value == arg and type(value) is type(arg) for arg in args)
    if (origin or hint) in _LISTS:
        return isinstance(value, list | tuple) and _elements_fit(value, origin, args)
    if (origin or hint) in _DICTS:
        return isinstance(value, Mapping) and (len(args) != 2 or all(fits(item, args[1]) for item in value.values()))
    return _plain_fits(value, hint)


def _elements_fit(value: Sequence[Any], origin: Any, args: tuple[Any, ...]) -> bool:
    if not args:
        return True
    if origin is tuple and Ellipsis not in args:
        return len(value) == len(args) and all(fits(item, arg) for item, arg in zip(value, args, strict=True))
    return all(fits(item, args[0]) for item in value)


def _plain_fits(value: Any, hint: Any) -> bool:
    if hint is None or hint is types.NoneType:
        return value is None
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if _is_tensor(hint):
        return False
    return isinstance(value, hint) if hint in (bool, str) else True


def _is_tensor(hint: Any) -> bool:
    """Whether it is ``torch.Tensor``, which no plain value is; told by its name, since torch may not be imported."""
    return getattr(hint, "__name__", "") == "Tensor" and str(getattr(hint, "__module__", "")).startswith("torch")


def describe(hint: Any) -> str:
    """An annotation in words: ``"an integer or null"``, ``"one of batch, layer, none"``."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in _UNIONS:
        return " or ".join(describe(arg) for arg in args if not _is_tensor(arg))
    if origin is Literal:
        return str(args[0]) if len(args) == 1 else "one of " + ", ".join(map(str, args))
    if (origin or hint) in _LISTS:
        return _describe_list(origin, args)
    if (origin or hint) in _DICTS:
        return "a mapping"
    return _WORDS.get(types.NoneType if hint is None else hint, getattr(hint, "__name__", str(hint)))


def _describe_list(origin: Any, args: tuple[Any, ...]) -> str:
    if not args:
        return "a list"
    if origin is tuple and Ellipsis not in args:
        return "a list of " + ", ".join(describe(arg) for arg in args)
    return f"a list, each {describe(args[0])}"
