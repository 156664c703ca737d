"""Adapters are found by their entry points, and only by those."""

import sys
from pathlib import Path

import pytest

from router import registry
from router.errors import AdapterError
from router.ports import Options
from tests.adapter_package import write_package

WORKING = """
from router.ports import Options

class Pigeon:
    Options = Options

class Loft:
    Options = Options
    ProgramOptions = Options
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place that packages are imported from."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_an_installed_adapter_is_found_by_its_name(folder: Path) -> None:
    groups = {"router.carriers": {"pigeon1": "Pigeon"}, "router.platforms": {"loft1": "Loft"}}
    write_package(folder, "birds_found", WORKING, groups)

    assert "pigeon1" in registry.names("router.carriers")
    assert "loft1" in registry.names("router.platforms")
    assert registry.carrier("pigeon1").Options is Options
    assert registry.platform("loft1").ProgramOptions is Options


def test_our_own_adapters_are_registered_like_anybody_elses() -> None:
    assert "twilio" in registry.names("router.carriers")
    assert {"braze", "webhook"} <= set(registry.names("router.platforms"))


def test_names_are_sorted_and_kept_apart_by_kind(folder: Path) -> None:
    groups = {"router.carriers": {"zebra": "Pigeon", "ant": "Pigeon"}, "router.platforms": {"loft2": "Loft"}}
    write_package(folder, "birds_sorted", WORKING, groups)
    carriers = registry.names("router.carriers")

    assert list(carriers) == sorted(carriers)
    assert {"zebra", "ant"} <= set(carriers)
    assert "loft2" not in carriers


def test_an_adapter_is_not_imported_before_it_is_asked_for(folder: Path) -> None:
    write_package(folder, "birds_lazy", WORKING, {"router.carriers": {"pigeon3": "Pigeon"}})
    registry.names("router.carriers")

    assert "birds_lazy" not in sys.modules
    registry.carrier("pigeon3")
    assert "birds_lazy" in sys.modules


def test_an_unknown_name_is_answered_with_what_is_installed_and_how_to_add_one() -> None:
    with pytest.raises(AdapterError) as caught:
        registry.carrier("twillio")

    assert caught.value.message == "no carrier of the name 'twillio' is installed."
    assert "Installed are: " in caught.value.remedy
    assert "twilio" in caught.value.remedy
    assert "router.carriers" in caught.value.remedy


def test_a_platform_is_not_a_carrier() -> None:
    with pytest.raises(AdapterError, match="no carrier of the name 'webhook' is installed"):
        registry.carrier("webhook")


BROKEN = [
    (
        "needs_missing",
        "import a_module_that_nobody_has",
        "ModuleNotFoundError: No module named 'a_module_that_nobody_has'",
    ),
    ("has_no_class", "", "AttributeError: module 'has_no_class' has no attribute 'Pigeon'"),
    ("has_bad_syntax", "class Pigeon", "SyntaxError: "),
    ("fails_at_import", "raise RuntimeError('out of seed')", "RuntimeError: out of seed"),
    ("divides_by_zero", "1 / 0", "ZeroDivisionError: "),
]


@pytest.mark.parametrize(("package", "source", "cause"), BROKEN, ids=[package for package, _, _ in BROKEN])
def test_an_adapter_that_cannot_be_imported_names_its_package_and_the_cause(
    folder: Path, package: str, source: str, cause: str
) -> None:
    write_package(folder, package, source, {"router.carriers": {package: "Pigeon"}})

    with pytest.raises(AdapterError) as caught:
        registry.carrier(package)
    assert f"of the package {package} cannot be imported ({cause}" in caught.value.message
    assert f"reinstall {package}" in caught.value.remedy


def test_a_class_without_options_is_refused(folder: Path) -> None:
    write_package(folder, "birds_bare", "class Pigeon: pass", {"router.carriers": {"bare": "Pigeon"}})

    with pytest.raises(AdapterError, match="is not one: birds_bare:Pigeon has no Options"):
        registry.carrier("bare")


def test_a_carrier_is_refused_as_a_platform(folder: Path) -> None:
    write_package(folder, "birds_wrong", WORKING, {"router.platforms": {"wrong": "Pigeon"}})

    with pytest.raises(AdapterError, match="has no ProgramOptions"):
        registry.platform("wrong")


def test_a_name_of_two_packages_is_refused_rather_than_chosen(folder: Path) -> None:
    for package in ("birds_here", "birds_there"):
        write_package(folder, package, WORKING, {"router.carriers": {"twice": "Pigeon"}})

    with pytest.raises(AdapterError, match=r"more than one package \(birds_here, birds_there\).*Uninstall"):
        registry.carrier("twice")
