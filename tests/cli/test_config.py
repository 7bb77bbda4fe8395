"""Where the command finds its configuration, and how it tells mistakes in it."""

from __future__ import annotations

from pathlib import Path

from cli.conftest import Run, Serve


def test_the_file_of_the_current_directory(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "fourtuple.toml").write_text("[sockets]\nbacklog = 11\n")
    assert serve("echo").backlogs == ["backlog 11"]
    assert serve("echo", FOURTUPLE_BACKLOG="12").backlogs == ["backlog 12"]
    assert serve("echo", "--backlog", "13", FOURTUPLE_BACKLOG="12").backlogs == ["backlog 13"]


def test_config_names_another_file(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text("[sockets]\nbacklog = 14\n")
    assert serve("echo", "--config", "other.toml").backlogs == ["backlog 14"]


def test_mistakes_are_one_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "fourtuple.toml").write_text("[sockets]\nbaklog = 11\n")
    done = run("serve", "echo")
    assert (done.code, done.err) == (
        2,
        "fourtuple: fourtuple.toml: [sockets] baklog: there is no such option; did you mean backlog?\n",
    )
    assert run("serve", "echo", "--config", "nothing.toml").code == 2
