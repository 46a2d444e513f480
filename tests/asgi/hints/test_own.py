"""Which code is the app's own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel
from starlette.endpoints import WebSocketEndpoint

import longwire.handler
from longwire.asgi.hints import own
from tests.asgi.hints import quiet

if TYPE_CHECKING:
    from pathlib import Path


class Model(BaseModel):
    n: int = 0


class Endpoint(WebSocketEndpoint):
    @property
    def one(self) -> int:
        return 1

    @staticmethod
    def two() -> int:
        return max(2 for _ in "2")

    @classmethod
    def three(cls) -> Any:
        return lambda: 3


@pytest.mark.parametrize(
    ("kind", "is_class", "is_data"),
    [
        (Model, True, True),
        (Endpoint, True, False),
        (quiet.Frame, True, True),
        (quiet.User, True, False),
        (BaseModel, False, False),
        (dict, False, False),
        (json.JSONDecoder, False, False),
        (asyncio.Queue, False, False),
        (longwire.handler.Longwire, False, False),
    ],
)
def test_a_class_is_the_app_s_own_or_a_library_s(kind: type, is_class: bool, is_data: bool) -> None:
    """And holds plain data only if it has not inherited from something that knows more."""
    assert own.is_class(kind) is is_class
    assert own.is_data(kind) is is_data


def test_a_frame_is_the_app_s_own_or_not() -> None:
    """Code that has been made of text belongs to whoever has made it."""
    assert own.is_frame(sys._getframe())
    made: dict[str, Any] = {"sys": sys, "__name__": __name__}
    exec("frame = sys._getframe()", made)
    assert not own.is_frame(made["frame"])


def test_all_code_of_a_class_is_found() -> None:
    """Not that of the library's class it has inherited from."""
    names = {code.co_name for code in own.functions(Endpoint)}
    assert {"one", "two", "three", "<lambda>"} <= names
    assert "dispatch" not in names


def test_a_place_is_named_from_where_the_process_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wholly where it lies elsewhere, or where that folder is gone."""
    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    inside, outside = str(folder / "app.py"), str(tmp_path / "other.py")
    assert own.place(inside, 3) == "app.py:3"
    assert own.place(outside, 3) == f"{outside}:3"
    os.rmdir(folder)
    assert own.place(outside, 3) == f"{outside}:3"
