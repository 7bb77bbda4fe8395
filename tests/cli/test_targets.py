"""What TARGET means, and what is said of one that means nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.conftest import Run, Serve
from fourtuple.cli.targets import builtin_names

SERVICE = """
from fourtuple import Service

{name} = Service("line", name="{name}")

@{name}.reply
def reply(message):
    return b"{name}"
"""


@pytest.mark.parametrize(
    ("target", "name", "place"),
    [
        ("mine.py", "service", "mine.py"),
        ("mine.py:other", "other", "mine.py"),
        ("mine", "service", "mine.py"),
        ("mine:other", "other", "mine.py"),
        ("package.mine:other", "other", "package/mine.py"),
        ("folder/time.py", "service", "folder/time.py"),  # not the time that Python has, nor the one built in
    ],
)
def test_a_target_of_the_user(serve: Serve, tmp_path: Path, target: str, name: str, place: str) -> None:
    path = tmp_path / place
    path.parent.mkdir(exist_ok=True)
    path.write_text(SERVICE.format(name=name))
    assert serve(target).ask(b"hello\n") == name.encode() + b"\n"


def test_what_lies_beside_a_file_can_be_imported(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "beside.py").write_text(SERVICE.format(name="there"))
    (tmp_path / "folder" / "mine.py").write_text("from beside import there as service")
    assert serve("folder/mine.py").ask(b"hello\n") == b"there\n"


@pytest.mark.parametrize("name", builtin_names())
def test_every_built_in_service_can_be_served(serve: Serve, name: str) -> None:
    assert serve(name).stop().code == 0


def test_framing_replaces_the_one_of_a_target(serve: Serve) -> None:
    assert serve("echo", "--framing", "u16").ask(b"\0\2hi") == b"\0\2hi"


def test_a_program_that_wants_its_attribute_dotted(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(SERVICE.format(name="one") + "class app:\n    two = one\n")
    assert serve("mine:app.two").ask(b"hello\n") == b"one\n"


FILES = {
    "empty.py": "",
    "other.py": SERVICE.format(name="other"),
    "function.py": "def service(): ...",
    "bare.py": "from fourtuple import Service\nservice = Service('line')",
    "syntax.py": "def f(:",
    "raising.py": "def fail():\n    return 1 / 0\nfail()",
    "missing.py": "import nobody_has_this_module",
    "ending.py": "import sys\nsys.exit('goodbye')",
}


@pytest.mark.parametrize(
    ("target", "code", "said"),
    [
        ("ecko", 2, "there is no built-in service and no module 'ecko'; did you mean echo?"),
        ("empty", 2, "empty has no 'service', nor any other service"),
        ("folder.nothing", 2, "there is no built-in service and no module 'folder.nothing'"),
        ("nothing.py", 2, "there is no file nothing.py"),
        ("127.0.0.1", 2, "'127.0.0.1' is neither the name of a module"),
        ("other.py", 2, "other.py has no 'service'; its services: other"),
        ("function.py", 2, "function.py:service is not a fourtuple.Service but a function"),
        ("bare.py", 2, "the service has no handler"),
        ("syntax.py", 2, "SyntaxError: invalid syntax"),
        ("raising.py", 2, "ZeroDivisionError: division by zero"),
        ("raising", 2, "ZeroDivisionError: division by zero"),
        ("missing.py", 2, "No module named 'nobody_has_this_module'"),
        ("missing", 2, "No module named 'nobody_has_this_module'"),
        ("ending.py", 2, "the import of ending.py ended the interpreter"),
    ],
)
def test_an_invalid_target(run: Run, tmp_path: Path, target: str, code: int, said: str) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    done = run("serve", target)
    assert done.code == code
    assert said in done.err
    assert done.err.startswith("fourtuple: ")
    assert "src/fourtuple" not in done.err
    assert "importlib" not in done.err
    if "the import of" not in done.err:
        assert done.err.count("\n") == 1


def test_the_users_frames_are_all_there(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "raising.py"
    path.write_text(FILES["raising.py"])
    lines = run("serve", "raising.py").err.splitlines()
    assert lines[0] == "fourtuple: the import of raising.py failed"
    assert [line for line in lines if "File" in line] == [
        f'  File "{path}", line 3, in <module>',
        f'  File "{path}", line 2, in fail',
    ]


def test_a_name_too_long_for_a_file(run: Run) -> None:
    for target, text in (("x" * 5000 + ".py", "there is no file xxx"), ("y" * 300, "there is no built-in service")):
        done = run("serve", target)
        assert done.code == 2
        assert text in done.err
        assert "Traceback" not in done.err


def test_of_the_users_mistakes_their_own_lines_are_shown(run: Run, tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text("from fourtuple import Service\nservice = Service('nosuch')\n")
    done = run("serve", "wrong.py")
    assert done.code == 2
    first, *frames, last = done.err.splitlines()
    assert first == "fourtuple: the import of wrong.py failed"
    assert [line for line in frames if line.startswith("  File")] == [
        f'  File "{tmp_path / "wrong.py"}", line 2, in <module>'
    ]
    assert "cannot read framing 'nosuch'" in last


def test_an_exception_of_any_kind_in_the_users_code(run: Run, tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_text("class Odd(BaseException): pass\nraise Odd('really')\n")
    done = run("serve", "odd.py")
    assert done.code == 2
    assert done.err.startswith("fourtuple: the import of odd.py failed\n")
    assert done.err.endswith("odd.Odd: really\n")
