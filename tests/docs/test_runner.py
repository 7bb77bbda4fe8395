"""The runner of documents itself: it must notice what is wrong."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from docs.documents import Document, pattern_of


def run(tmp_path: Path, text: str) -> None:
    path = tmp_path / "document.md"
    path.write_text(text)
    with ExitStack() as stack:
        Document(path, tmp_path, stack).run()


GOOD = """
<!-- file: greet.py -->
```python
print("hello")
print("at 9999")
```

```console
$ python greet.py
hello
at 9999
$ echo one; echo two; \\
> echo three
one
...
```

```python
>>> one = 1
```

```python
>>> one + one
2
>>> one / 0
Traceback (most recent call last):
    ...
ZeroDivisionError: division by ...
```

```python
import greet

print("again,", greet.__name__, "was imported")
```

<!-- prints -->
```text
hello
...
again, ... imported
```

<!-- background -->
```console
$ python -c 'import time; print("ready", flush=True); print("and more", flush=True); time.sleep(60)'
ready
```

<!-- background prints -->
```text
and ...
```
"""


def test_a_good_document(tmp_path: Path) -> None:
    run(tmp_path, GOOD)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("```python\n1 / 0\n```\n", "ZeroDivisionError"),
        ("```python\n>>> 1 + 1\n3\n```\n", "Expected:\n    3\nGot:\n    2"),
        ("```console\n$ echo one\ntwo\n```\n", "should print\ntwo\n\nand printed\none"),
        ("```console\n$ echo one; echo two\none\n```\n", "and printed\none\ntwo"),
        ("```console\n$ echo one\n```\n", "and printed\none"),
        ("```python\nprint(1)\n```\n\n<!-- prints -->\n```text\n2\n```\n", "should print\n2"),
        ("<!-- background -->\n```console\n$ echo no\nready\n```\n", "should print\nready\n\nand printed\nno"),
        ("```toml\n[server]\n```\n", "what is a block of 'toml' for"),
        ("<!-- not run -->\n```python\n```\n", "say why"),
    ],
)
def test_what_is_wrong_is_noticed(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(AssertionError) as caught:
        run(tmp_path, text)
    assert says in str(caught.value)
    assert "document.md:" in str(caught.value)


def test_an_ellipsis_is_anything_on_its_line() -> None:
    assert pattern_of("a ... c\n").match("a b c\n")
    assert not pattern_of("a ... c\n").match("a b\nc\n")
    assert pattern_of("a\n...\nc\n").match("a\nb\nb\nc\n")
    assert not pattern_of("a\n...\nc\n").match("a\nb\n")
    assert pattern_of("a\n", begun=True).match("a\nb\n")
