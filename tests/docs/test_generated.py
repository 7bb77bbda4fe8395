"""The pages that are made from the code are up to date, and the map of the tree is whole."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import inspect
import re
from pathlib import Path
from types import ModuleType

import pytest

import fourtuple

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"


def loaded(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    return loaded("generate", ROOT / "docs" / "generate.py")


@pytest.mark.parametrize("name", ["options.md", "errors.md", "events.md", "names.md", "sockets.md"])
def test_the_generated_reference_is_up_to_date(generate: ModuleType, name: str) -> None:
    assert (REFERENCE / name).read_text() == generate.PAGES[name](), "run: python docs/generate.py"


def test_an_editor_shows_what_every_option_is(generate: ModuleType) -> None:
    """Each option's field has its docstring, made of its declaration."""
    for path, source in generate.fields.rewritten([*generate.ALL_FAMILIES]).items():
        assert path.read_text() == source, f"{path.name}: run python docs/generate.py"


def test_the_site_shows_what_a_class_has_from_bases_without_a_page(generate: ModuleType) -> None:
    """A connection's timers are in a base that no page documents; an error's attributes are on its base's page."""
    api = loaded("api", ROOT / "docs" / "site" / "api.py")
    homes = api.homes_of(generate.PUBLIC)
    pages = {name: api.module_page(name, homes) for name in ("fourtuple", "fourtuple.errors")}
    for name in ("BlockingConnection", "Connection", "Server", "Service"):
        option = "   :show-inheritance:\n   :inherited-members: Generic, object\n"
        assert f".. autoclass:: fourtuple.{name}\n{option}" in pages["fourtuple"]
    assert ":inherited-members:" not in pages["fourtuple.errors"]


def test_every_public_name_is_in_the_reference(generate: ModuleType) -> None:
    """What nobody wrote an __all__ for is not public: every module that the documents import from has one."""
    imported = {
        found
        for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.py")]
        for found in re.findall(r"^(?:>>> )?from (fourtuple[\w.]*) import", page.read_text(), re.MULTILINE)
    }
    assert {name for name in imported if not name.startswith("fourtuple.services.")} <= {*generate.PUBLIC}
    page = (REFERENCE / "names.md").read_text()
    for module in generate.PUBLIC:
        section = page.partition(f"\n## {module}\n")[2].partition("\n## ")[0]
        told = set(re.findall(r"^\| `(\w+)", section, re.MULTILINE))
        assert told == set(importlib.import_module(module).__all__)


def test_every_public_name_that_is_a_value_says_what_it_is(generate: ModuleType) -> None:
    """A constant has no docstring: a ``#:`` comment stands where it is defined, and never its type's docstring."""
    without = [
        f"{module}.{name}"
        for module in generate.PUBLIC
        for name in importlib.import_module(module).__all__
        if not (inspect.isclass(value := getattr(importlib.import_module(module), name)) or inspect.isfunction(value))
        and not generate.comment_above(importlib.import_module(module), name)
    ]
    assert not without


def test_a_class_is_described_by_its_own_docstring(generate: ModuleType) -> None:
    assert generate.line_about(fourtuple.testing.TcpClient) == "The type of the fixture `tcp_client`."


HELD = ("BlockingConnection", "Client", "Connection", "Dial", "Server", "Service", "Timer")


def test_every_public_attribute_of_what_users_hold_is_in_the_documents() -> None:
    """Plumbing is private: what has a name without an underscore is documented."""
    pages = [page for page in (ROOT / "docs").rglob("*.md") if page.name not in ("names.md", "architecture.md")]
    text = "\n".join(page.read_text() for page in pages)
    missing = [
        f"{name}.{attribute}"
        for name in HELD
        for attribute in dir(getattr(fourtuple, name))
        if not attribute.startswith("_") and not re.search(rf"\b{attribute}\b", text)
    ]
    assert not missing


def test_the_api_reference_of_the_site_documents_every_public_name(generate: ModuleType, tmp_path: Path) -> None:
    """A page for each public module, with each name of its ``__all__``, and nothing else."""
    loaded("api", ROOT / "docs" / "site" / "api.py").write_pages(tmp_path / "api", generate.PUBLIC)
    index = (tmp_path / "api" / "index.rst").read_text()
    assert tuple(re.findall(r"^   (fourtuple[\w.]*)$", index, re.MULTILINE)) == generate.PUBLIC
    for module in generate.PUBLIC:
        page = (tmp_path / "api" / f"{module}.rst").read_text()
        told = re.findall(rf"^(?:\.\. auto\w+:: |``|:mod:`){re.escape(module)}\.(\w+)", page, re.MULTILINE)
        assert sorted(told) == sorted(importlib.import_module(module).__all__)


def test_every_module_that_is_reached_without_an_import_of_its_own_is_in_the_reference(generate: ModuleType) -> None:
    source = Path(fourtuple.__file__).read_text()
    rooms = set(re.findall(r"^    from fourtuple import (\w+) as \1$", source, re.MULTILINE))
    assert rooms == set(re.findall(r'"(\w+)"', source.partition("rooms=(")[2]))  # checkers see those that there are
    programs = {"services"}
    assert {f"fourtuple.{room}" for room in rooms - programs} <= {*generate.PUBLIC}


def test_every_framing_of_the_grammar_names_its_class_in_its_section(generate: ModuleType) -> None:
    page = (REFERENCE / "framings.md").read_text()
    missing = [kind.__name__ for kind in generate.WITH_A_TEXT if not re.search(rf"`{kind.__name__}\b", page)]
    assert not missing


def test_the_signature_of_connect_is_in_the_reference() -> None:
    page = " ".join((REFERENCE / "connection.md").read_text().split())
    for function in (fourtuple.connect, fourtuple.blocking.connect):
        parameters = inspect.signature(function).parameters.values()
        bare = [each.replace(annotation=each.empty) for each in parameters]
        assert f"connect{inspect.Signature(bare)}" in page


def test_the_reference_of_the_client_is_whole() -> None:
    """Every parameter, every method and every counter of a client that stays connected is on its page."""
    page = (REFERENCE / "client.md").read_text()
    for client in (fourtuple.Client, fourtuple.blocking.Client):
        parameters = inspect.signature(client.__init__).parameters.values()
        names = [each.name for each in parameters if each.kind is each.KEYWORD_ONLY]
        names += [name for name in vars(client) if not name.startswith("_")]
        assert not [name for name in names if not re.search(rf"`{name}\b", page)]
    counters = [field.name for field in dataclasses.fields(fourtuple.events.ClientStatistics)]
    assert not [name for name in counters if f"`{name}`" not in page]


def test_the_rooms_of_the_architecture_are_there() -> None:
    page = (ROOT / "docs" / "explanation" / "architecture.md").read_text()
    source = ROOT / "src" / "fourtuple"
    listed = re.findall(r"^([a-z_]+(?:\.py|/)) ", page, re.MULTILINE)
    assert len(listed) > 15
    assert not [room for room in listed if not (source / room).exists()]
    named = re.findall(r"\b((?:engine|handlers|framing|serving|tls|options|net|proxy|observe|load)/\w+\.py)\b", page)
    assert not [path for path in named if not (source / path).exists()]


def test_every_link_of_a_page_leads_to_a_page_of_the_site(tmp_path: Path) -> None:
    """Sphinx says so too, but where it is not installed a link to a file that the site does not show is found here."""
    stage = loaded("stage", ROOT / "docs" / "site" / "stage.py")
    stage.stage(tmp_path, ROOT / "docs" / "site" / "toctrees.txt")
    links = [
        (page.relative_to(tmp_path).as_posix(), found[1])
        for page in tmp_path.rglob("*.md")
        if not page.read_text().startswith("---\norphan")  # it shows a file
        for part in stage.FENCE.split(page.read_text())[::2]
        for found in stage.LINK.finditer(part)
    ]
    assert len(links) > 300
    assert [(page, link) for page, link in links if not (tmp_path / page).parent.joinpath(link).exists()] == []


def test_every_public_name_has_a_place_beside_the_list_of_names(generate: ModuleType) -> None:
    """The list says what a name is; a page about its room says what it is for."""
    text = "\n".join(page.read_text() for page in (ROOT / "docs").rglob("*.md") if page.name != "names.md")
    missing = [
        f"{module}.{name}"
        for module in generate.PUBLIC
        for name in importlib.import_module(module).__all__
        if not re.search(rf"\b{re.escape(name)}\b", text) and name != "__version__"
    ]
    assert not missing


def test_the_way_of_a_message_through_the_c_names_each_file() -> None:
    page = (ROOT / "docs" / "explanation" / "compiled.md").read_text()
    section = page.partition("## One message, file by file")[2].partition("\n## ")[0]
    folder = ROOT / "src" / "fourtuple"  # what is installed from a wheel has no C files
    if not folder.is_dir():
        pytest.skip("the tests of a wheel have no sources in C beside them")
    rooms = ("engine/_turn", "framing/_split", "serving/_accept")
    files = [each.name for room in rooms for each in (folder / room).glob("*.c")]
    assert files
    assert [name for name in files if not re.search(rf"(?<!\w){re.escape(name)}", section)] == []
