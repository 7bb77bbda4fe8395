"""Flags win over the environment over the file over the defaults; what means nothing is named with its place."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from fourtuple.config import FAMILIES, configure, read_file
from fourtuple.errors import OptionError
from fourtuple.options import Deadlines, Limits, Sockets, declared


def test_nothing_given_is_the_defaults() -> None:
    configuration = configure()
    assert configuration.limits == Limits()
    assert configuration.deadlines == Deadlines()
    assert configuration.sockets == Sockets()


def test_flags_win_over_the_environment_the_file_and_defaults(tmp_path: Path) -> None:
    file = tmp_path / "fourtuple.toml"
    file.write_text("[sockets]\nbacklog = 1\n")
    variables = {"FOURTUPLE_BACKLOG": "2", "FOURTUPLE_C": "off", "HOME": "/"}
    assert configure().sockets.backlog == 4096
    assert configure(file=file).sockets.backlog == 1
    assert configure(environment=variables, file=file).sockets.backlog == 2
    assert configure({"backlog": "3"}, variables, file).sockets.backlog == 3


def test_the_file_takes_numbers_and_the_text_of_flags(tmp_path: Path) -> None:
    file = tmp_path / "fourtuple.toml"
    file.write_text(
        "[limits]\nread_size = '4k'\nhigh_water = 70000\n"
        "[deadlines]\nidle_timeout = 5\nwrite_timeout = 'none'\n"
        "[sockets]\nnodelay = false\nkeepalive = 'off'\n"
    )
    configuration = configure(file=file)
    assert configuration.limits == Limits(read_size=4096, high_water=70000)
    assert configuration.deadlines == Deadlines(idle_timeout=5, write_timeout=None)
    assert configuration.sockets == Sockets(nodelay=False, keepalive=False)


def test_every_option_can_be_given_in_each_way() -> None:
    for family in FAMILIES.values():
        for option in declared(family):
            text = "none" if option.default in (None, "") else str(option.default)
            assert configure({option.name: text}) == configure(), option.flag
            assert configure(environment={option.variable: text}) == configure(), option.variable


def test_no_two_options_share_a_name() -> None:
    names = [field.name for family in FAMILIES.values() for field in dataclasses.fields(family)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[limits]\nmax_conections = 3",
            "[limits] max_conections: there is no such option; did you mean max_connections?",
        ),
        ("[limits]\nzzzz = 3", "[limits] zzzz: there is no such option"),
        (
            "[limits]\nbacklog = 3",
            "[limits] backlog: there is no such option in [limits]; it belongs in [sockets]",
        ),
        ("[limit]\n", "there is no table [limit]; did you mean limits? There are [limits], [deadlines], [sockets]"),
        ("backlog = 3", "backlog is outside of its table [sockets]"),
        ("limits = 3", "limits: expected a table, [limits], got 3"),
        ("zzzz = 3", "zzzz is in no table; there are [limits], [deadlines], [sockets]"),
        ("[sockets]\nbacklog = 'many'", "[sockets] backlog: cannot read 'many' as a whole number of connections"),
        ("[sockets]\nbacklog = true", "[sockets] backlog: expected a whole number of connections, got True"),
        ("[sockets]\nbacklog = -1", "[sockets] backlog: expected at least 0, got -1 connections"),
        ("[sockets]\nbacklog = []", "[sockets] backlog: expected a whole number of connections, got [] (list)"),
        ("[sockets", "not TOML: "),
    ],
)
def test_a_file_that_means_nothing(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "fourtuple.toml"
    file.write_text(text)
    with pytest.raises(OptionError) as raised:
        configure(file=file)
    assert str(raised.value).startswith(f"{file}: {said}")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"fourtuple\.toml: No such file or directory"):
        read_file(tmp_path / "fourtuple.toml")


def test_a_variable_that_means_nothing() -> None:
    with pytest.raises(OptionError, match=r"^FOURTUPLE_BACKLOG: cannot read 'x' as a whole number of connections$"):
        configure(environment={"FOURTUPLE_BACKLOG": "x"})
    with pytest.raises(OptionError, match=r"^--backlog: expected at least 0, got -1 connections$"):
        configure({"backlog": "-1"})


def test_options_that_contradict_each_other() -> None:
    with pytest.raises(OptionError, match=r"^--low-water: expected less than high_water"):
        configure({"low_water": "1m"})
