"""YAML and JSON as people write them, and as somebody might to do harm."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from longwire.doctor.documents import UnreadableError, line_at, read_document

SHORT_FORMS = """\
Resources:
  Function:
    Type: AWS::Lambda::Function
    Properties:
      # A comment
      Role: !GetAtt Role.Arn
      Name: !Sub "${AWS::StackName}-chat"
      List: !Join [":", [a, !Ref B]]
      If: !If [C, !Ref "AWS::NoValue", 1]
      Text: |
        some
        lines
      Timeout: 29
      On: true
      Date: 2012-10-17
"""


def test_short_forms_are_written_out() -> None:
    document = read_document(SHORT_FORMS, "template.yaml")
    properties = document.value["Resources"]["Function"]["Properties"]
    assert properties == {
        "Role": {"Fn::GetAtt": ["Role", "Arn"]},
        "Name": {"Fn::Sub": "${AWS::StackName}-chat"},
        "List": {"Fn::Join": [":", ["a", {"Ref": "B"}]]},
        "If": {"Fn::If": ["C", {"Ref": "AWS::NoValue"}, 1]},
        "Text": "some\nlines\n",
        "Timeout": 29,
        "On": True,
        "Date": "2012-10-17",
    }
    place = ("Resources", "Function", "Properties")
    assert line_at(document.lines, place[:2]) == 2
    assert line_at(document.lines, (*place, "Role")) == 6
    assert line_at(document.lines, (*place, "Timeout")) == 13


@pytest.mark.parametrize("indent", [1, 2, "\t"])
def test_json_has_the_same_lines_as_its_text(indent: Any) -> None:
    value = {"Resources": {"A": {"Properties": {"List": [1, {"b}": '\\"{'}], 'c"d': "x\ny"}}}}
    text = json.dumps(value, indent=indent)
    document = read_document(text, "template.json")
    assert document.value == value
    path = ("Resources", "A", "Properties")
    lines = text.splitlines()
    for key in ("List", 'c"d'):
        line = line_at(document.lines, (*path, key))
        assert line is not None
        assert json.dumps(key) in lines[line - 1]


def test_what_is_in_one_line_has_no_lines() -> None:
    assert read_document('{"Resources": {}}\n', "plan.json").lines == {}


def test_a_byte_order_mark_is_no_mistake() -> None:
    assert read_document('\ufeff{"a": 1}', "a.json").value == {"a": 1}


def test_an_anchor_is_what_it_stands_for() -> None:
    text = "a: &one {x: 1}\nb: *one\nc: {<<: *one, y: 2}\n"
    assert read_document(text, "a.yaml").value == {
        "a": {"x": 1},
        "b": {"x": 1},
        "c": {"x": 1, "y": 2},
    }


BAD = {
    "a: [1": "broken YAML",
    "a: b: c": "broken YAML",
    "\ta: 1": "broken YAML",
    '{"a": 1,}': "broken JSON",
    '{"a": ': "broken JSON",
    "a: *nobody": "nobody",
    "? [a]\n: 1": "must be a text",
    "Resources:\n  A: 1\n  A: 2": "'A' is there twice",
    "[" * 100_000: "nested too deeply",
    "a: " + "[" * 5000: "nest",
    '{"a":' * 100_000: "nested too deeply",
    "a: !!python/object/apply:os.system [exit]": None,
}


@pytest.mark.parametrize("text", BAD)
def test_what_is_broken_is_one_line(text: str) -> None:
    expected = BAD[text]
    if expected is None:
        assert read_document(text, "a.x").value == {"a": ["exit"]}
        return
    with pytest.raises(UnreadableError) as raised:
        read_document(text, "a.x")
    assert expected in str(raised.value)
    assert "\n" not in str(raised.value)


def test_aliases_do_not_explode() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    began = time.monotonic()
    with pytest.raises(UnreadableError, match="repeat too much"):
        read_document("\n".join(lines), "bomb.yaml")
    assert time.monotonic() - began < 20


def test_an_alias_of_what_it_is_in_is_refused() -> None:
    with pytest.raises(UnreadableError, match="is not defined"):
        read_document("a: &a [*a]", "a.yaml")
