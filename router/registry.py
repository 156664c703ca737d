"""The installed carriers and platforms, by the names of their entry points; each is imported only when asked for."""

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

from router.errors import AdapterError
from router.ports import Carrier, Options, Platform

Group = Literal["router.carriers", "router.platforms"]

#: What the top level of a module that is broken, or lacks something, can raise.
_IMPORT_FAILURES = (
    ImportError,
    SyntaxError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NameError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


def names(group: Group) -> tuple[str, ...]:
    """The names of what is installed, sorted."""
    return tuple(sorted(entry_points(group=group).names))


@cache
def carrier(name: str) -> type[Carrier]:
    """The class of a carrier. Raises `AdapterError`."""
    adapter: type[Carrier] = _load("router.carriers", name, ("Options",))
    return adapter


@cache
def platform(name: str) -> type[Platform]:
    """The class of a platform. Raises `AdapterError`."""
    adapter: type[Platform] = _load("router.platforms", name, ("Options", "ProgramOptions"))
    return adapter


def _load(group: Group, name: str, models: tuple[str, ...]) -> Any:
    kind = group.removeprefix("router.").removesuffix("s")
    entry = _find(group, kind, name)
    package = entry.dist.name if entry.dist else entry.module
    try:
        adapter = entry.load()
    except _IMPORT_FAILURES as error:
        raise AdapterError(
            f"the {kind} {name!r} of the package {package} cannot be imported ({type(error).__name__}: {error}).",
            f"Mend or reinstall {package}, or remove what uses this {kind}.",
        ) from error
    for model in models:
        options = getattr(adapter, model, None)
        if not (isinstance(options, type) and issubclass(options, Options)):
            raise AdapterError(
                f"the {kind} {name!r} of the package {package} is not one: {entry.value} has no {model}.",
                f"Use a version of {package} that is made for this version of keyroute.",
            )
    return adapter


def _find(group: Group, kind: str, name: str) -> EntryPoint:
    found = list(entry_points(group=group, name=name))
    if not found:
        raise AdapterError(
            f"no {kind} of the name {name!r} is installed.",
            f"Installed are: {', '.join(names(group)) or 'none'}. "
            f"To add one, install a package that has {name!r} among its entry points of the group {group}.",
        )
    if len({entry.value for entry in found}) > 1:
        packages = ", ".join(sorted(entry.dist.name if entry.dist else entry.module for entry in found))
        raise AdapterError(
            f"the {kind} {name!r} is in more than one package ({packages}).", "Uninstall all of them but one."
        )
    return found[0]


def learns_people(platform: type[Platform]) -> bool:
    """Whether it makes a difference to what is sent to the platform whether it knows the person."""
    return platform.needs_alias or platform.makes_known
