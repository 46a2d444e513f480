"""Which variables a suspended function will still read."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from longwire.asgi.hints.liveness import line_of_attribute, read_later

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import CoroutineType


def use(*values: object) -> None:
    pass


class Wait:
    """Awaited once, suspends; then it returns what is sent."""

    def __await__(self) -> Generator[None, str, str]:
        return (yield)


async def assigned_next(wait: Wait) -> None:
    one = two = ""
    while one != two + "quit":
        one = await wait


async def unpacked_next(wait: Wait) -> None:
    one, two = "", [""]
    while True:
        one, *two = list(await wait)
        use(one, two)


async def read_first(wait: Wait) -> None:
    one = two = 0
    while True:
        await wait
        one += 1
        two = one
        use(two)


async def on_the_stack(wait: Wait) -> None:
    one = 0
    while True:
        one += len(await wait)


async def in_another_branch(wait: Wait) -> None:
    one = two = 0
    while True:
        if await wait:
            use(one)
        else:
            two = 1
            use(two)


async def after_the_loop(wait: Wait) -> None:
    one = two = 0
    while await wait:
        two = 1
    use(one, two)


async def deleted(wait: Wait) -> None:
    one = 0
    await wait
    one = 1
    del one


async def in_a_handler(wait: Wait) -> None:
    one = two = ""
    try:
        two = await wait
    except ValueError:
        use(one, two)


async def in_a_finally(wait: Wait) -> None:
    one = ""
    try:
        await wait
    finally:
        use(one)


async def in_a_function(wait: Wait) -> None:
    one = ""

    def show() -> None:
        use(one)

    await wait
    show()


async def in_a_comprehension(wait: Wait) -> None:
    one, two = [1], 2
    await wait
    use([-two for two in one])
    two = 3
    use(two)


async def around_a_loop(wait: Wait) -> None:
    for one in range(3):
        for _ in range(one):
            await wait


async def in_a_with(wait: Wait) -> None:
    with contextlib.suppress(ValueError) as one:
        await wait
    use(one)


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (assigned_next, {"wait", "two"}),
        (unpacked_next, {"wait"}),
        (read_first, {"one"}),
        (on_the_stack, {"one"}),
        (in_another_branch, {"one"}),
        (after_the_loop, {"one", "two"}),
        (deleted, set()),
        (in_a_handler, {"one"}),
        (in_a_finally, {"one"}),
        (in_a_function, {"one", "show"}),
        (in_a_comprehension, {"one"}),
        (around_a_loop, {"one"}),
        (in_a_with, {"one"}),
    ],
)
def test_a_variable_counts_if_it_is_read_before_it_is_assigned(
    function: Any, names: set[str]
) -> None:
    """In loops, branches, handlers and what is half evaluated."""
    waiting: CoroutineType[Any, Any, None] = function(Wait())
    waiting.send(None)
    assert waiting.cr_frame is not None
    found = read_later(waiting.cr_frame)
    waiting.close()
    assert found - {"wait"} == names - {"wait"}


class Attributes:
    def __init__(self) -> None:
        self.assigned = 0
        self.changed: list[int] = []

    def change(self) -> None:
        use(self.assigned)
        self.changed.append(1)
        self.assigned = 1


@pytest.mark.parametrize(("name", "line"), [("assigned", 3), ("changed", 2), ("other", None)])
def test_an_attribute_is_found_where_it_changes(name: str, line: int | None) -> None:
    """Rather than where it begins, or is read."""
    codes = [Attributes.__init__.__code__, Attributes.change.__code__]
    found = line_of_attribute(iter(codes), name)
    expected = line and (__file__, codes[1].co_firstlineno + line)
    assert found == expected
