"""What a plan refuses, and how texts are filled in."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from longwire.config.settings import load
from longwire.deploy.plan import Plan, check
from longwire.deploy.text import fill
from longwire.exceptions import ConfigurationError
from tests.deploy.plans import BASE

if TYPE_CHECKING:
    from longwire.deploy.plan import Store


@pytest.mark.parametrize("domain", ["ws.example.com", "a.b-c.example.co", "xn--bcher-kva.example"])
def test_a_domain_that_can_be(domain: str) -> None:
    assert check(BASE._replace(domain=domain)).domain == domain


@pytest.mark.parametrize(
    "domain",
    [
        "",
        "example",
        "-a.example",
        "a-.example",
        "a..b",
        "ws.example.com/",
        "*.example",
        "é.example",
    ],
)
def test_a_domain_that_cannot_be(domain: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^--domain: expected ws\.example\.com, say$"):
        check(BASE._replace(domain=domain))


@pytest.mark.parametrize("field", ["store", "python", "architecture"])
def test_a_plan_of_ones_own_is_checked_too(field: str) -> None:
    wrong: Any = {field: "else"}
    with pytest.raises(ConfigurationError, match=r"^--[a-z]+: expected "):
        check(BASE._replace(**wrong))


def test_the_queue_hides_a_part_for_six_times_the_timeout() -> None:
    assert [BASE._replace(timeout=one).visibility_timeout for one in (3, 30, 900)] == [
        18,
        180,
        5400,
    ]


@pytest.mark.parametrize(
    ("routes", "path"),
    [((), "/"), (("/{x}",), "/"), (("/{x}", "/a b"), "/a%20b"), (("/a&b=c#d",), "/a%26b%3Dc%23d")],
)
def test_the_path_of_the_url_is_one_without_parameters(routes: tuple[str, ...], path: str) -> None:
    assert BASE._replace(routes=routes).url_path == path


@pytest.mark.parametrize("store", ["redis", "postgresql"])
def test_a_secret_dsn_that_fits_is_one_that_longwire_takes(store: Store) -> None:
    """With what it says of replay."""
    scheme = "rediss" if store == "redis" else store
    for replay in (False, True):
        pattern = BASE._replace(store=store, replay=replay).dsn_pattern
        for query in ("", "?replay=true", "?ttl=60&replay=true", "?replay=true&ttl=60"):
            dsn = (
                f"{scheme}://u:p@host/0{query}"
                if store == "redis"
                else f"{scheme}://u:p@h/d{query}"
            )
            assert load(None, dsn).replay == ("replay" in query)
            assert bool(re.fullmatch(pattern, dsn)) == (not replay or "replay" in query)


def test_a_text_is_filled_in() -> None:
    text = """\
%if a
a is <<name>>
%if not b
    and b is not
%else
    and b is
%end
%else
no a
%end
%if c or d
c or d
%end
${left} {{alone}} %x
"""
    facts = {"name": "x<<y>>", "a": True, "b": 0, "c": None, "d": "yes"}
    assert fill(text, facts) == "a is x<<y>>\n    and b is not\nc or d\n${left} {{alone}} %x\n"
    assert fill(text, {**facts, "a": False, "d": False}) == "no a\n${left} {{alone}} %x\n"
    for missing in ("name", "c"):
        with pytest.raises(KeyError, match=missing):
            fill(text, {name: value for name, value in facts.items() if name != missing})


def test_the_files_beside_the_app() -> None:
    plan = Plan("chat", "lambda_function.handler", ("lambda_function.py", "x"), requires=("a", "b"))
    assert plan.files() == {"requirements.txt": "a\nb\n", "lambda_function.py": "x"}
    assert BASE.files().keys() == {"requirements.txt"}
