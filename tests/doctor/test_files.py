"""Files and folders as tools write them, and what is none of them."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest

from longwire.cli.main import main
from longwire.doctor.diagnosis import diagnose
from longwire.doctor.documents import UnreadableError
from longwire.doctor.files import read
from longwire.exceptions import ConfigurationError
from tests.doctor.stacks import GONE, TEMPLATES, changed, codes_of

APP = "from longwire import Longwire\n\nhandler = Longwire(None)\n"


def codes(path: Path) -> set[str]:
    return {one.code for template in read(path) for one in diagnose(template.stack)}


def write(path: Path, template: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(template if isinstance(template, str) else json.dumps(template, indent=1))
    return path


FOLDERS = [
    ".serverless/cloudformation-template-update-stack.json",
    "cdk.out/Chat.template.json",
    "cdk.out/assembly-Prod/Chat.template.json",
    ".aws-sam/build/template.yaml",
    "template.yaml",
    "template.json",
]


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_has_the_template_that_a_tool_has_made(name: str, tmp_path: Path) -> None:
    write(tmp_path / name, changed({"Default": GONE}))
    assert codes(tmp_path) == {"route-missing"}
    assert codes((tmp_path / name).parent) == {"route-missing"}


def test_all_stacks_of_a_cdk_app_are_looked_at(tmp_path: Path) -> None:
    write(tmp_path / "cdk.out/A.template.json", changed({}))
    write(tmp_path / "cdk.out/B.template.json", changed({"ApiPermission": GONE}))
    found = [(Path(one.name).name, diagnose(one.stack)) for one in read(tmp_path / "cdk.out")]
    assert [(name, [one.code for one in several]) for name, several in found] == [
        ("A.template.json", []),
        ("B.template.json", ["invoke-permission"]),
    ]


def test_none_of_many_stacks_is_left_out(tmp_path: Path) -> None:
    for number in range(60):
        write(tmp_path / f"cdk.out/{number:02}.template.json", {"Resources": {}})
    assert len(read(tmp_path)) == 60


NONE = {
    "main.tf": ('resource "aws_s3_bucket" "a" {\n}\n', "terraform show -json"),
    "terraform.tfstate": ('{"version": 4, "terraform_version": "1.11.4"}', "terraform show -json"),
    "serverless.yml": ("service: chat\nprovider:\n  name: aws\n", "osls package"),
    "app.py": ("import aws_cdk\n", "cdk synth"),
    "cdk.json": ('{"app": "python app.py"}', "cdk synth"),
    "compose.yaml": ("services:\n  web: {}\n", "no template"),
    "plan.json": ('{"format_version": "1.2", "planned_values": {}, "errored": true}', "has failed"),
    "list.json": ("[1, 2]", "no template"),
    "text.yaml": ("just a text", "no template"),
    "empty.yaml": ("", "is empty"),
    "blank.yaml": (" \n\n", "is empty"),
    "resources.yaml": ("Resources: [a]", "Resources are no mapping"),
    "comments.yaml": ("# nothing\n", "no template"),
}


@pytest.mark.parametrize("name", NONE)
def test_what_is_no_template_says_what_to_do(name: str, tmp_path: Path) -> None:
    text, expected = NONE[name]
    with pytest.raises(UnreadableError) as raised:
        read(write(tmp_path / name, text))
    assert expected in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_plan_that_is_binary_says_what_to_do(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "plan", "w") as archive:
        archive.writestr("tfplan", "x")
    with pytest.raises(UnreadableError, match="terraform show -json"):
        read(tmp_path / "plan")


def test_other_bytes_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\x80\x81\x82")
    with pytest.raises(UnreadableError, match="no text"):
        read(tmp_path / "a.yaml")


def test_what_powershell_writes_is_read(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_bytes(json.dumps(changed({})).encode("utf-16"))
    assert codes(tmp_path / "plan.json") == set()


def test_a_folder_without_templates_says_so(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match="has no template"):
        read(tmp_path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match="is not there"):
        read(tmp_path / "nowhere.yaml")


@pytest.mark.skipif(os.getuid() == 0 if hasattr(os, "getuid") else True, reason="root reads all")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", changed({}))
    path.chmod(0)
    with pytest.raises(UnreadableError, match="cannot be read"):
        read(path)


def test_a_large_template_is_read(tmp_path: Path) -> None:
    """Five megabytes: five times what CloudFormation takes."""
    template = changed({"Default": GONE})
    for number in range(12_000):
        properties = {"TopicName": f"topic{number}", "DisplayName": "x" * 300}
        template["Resources"][f"Topic{number}"] = {
            "Type": "AWS::SNS::Topic",
            "Properties": properties,
        }
    path = write(tmp_path / "large.json", template)
    assert path.stat().st_size > 5_000_000
    assert codes(path) == {"route-missing"}


def test_thousands_of_functions_are_looked_at() -> None:
    """More than one stack may have; each is found by its name."""
    template = changed({})
    resources = template["Resources"]
    for number in range(400):
        resources[f"Function{number}"] = {**resources["Function"]}
        target = {"Fn::GetAtt": [f"Function{number}", "Arn"]}
        resources[f"Integration{number}"] = {
            "Type": "AWS::ApiGatewayV2::Integration",
            "Properties": {
                "ApiId": {"Ref": "Api"},
                "IntegrationType": "AWS_PROXY",
                "IntegrationUri": target,
            },
        }
        resources[f"Route{number}"] = {
            "Type": "AWS::ApiGatewayV2::Route",
            "Properties": {
                "ApiId": {"Ref": "Api"},
                "RouteKey": f"route{number}",
                "Target": {"Fn::Sub": f"integrations/${{Integration{number}}}"},
            },
        }
    assert codes_of(template) == {"invoke-permission"}


# SAM


def test_a_template_of_sam_is_transformed(tmp_path: Path) -> None:
    pytest.importorskip("samtranslator")
    assert codes(TEMPLATES / "sam.yaml") == set()
    text = (TEMPLATES / "sam.yaml").read_text(encoding="utf-8")
    path = write(tmp_path / "template.yaml", text.replace("/*/@connections/*", "/@connections/*"))
    (one,) = [finding for template in read(path) for finding in diagnose(template.stack)]
    assert one.code == "manage-connections-arn"
    assert one.line is not None
    assert "Policies" in text.splitlines()[one.line - 1]


def test_loops_beside_sam_make_a_template_incomplete(tmp_path: Path) -> None:
    pytest.importorskip("samtranslator")
    text = (TEMPLATES / "sam.yaml").read_text(encoding="utf-8")
    text = text.replace("AWS::Serverless-2016", "[AWS::LanguageExtensions, AWS::Serverless-2016")
    text = text.replace("2016-10-31", "2016-10-31]").replace("        $default:", "        other:")
    text += "  Fn::ForEach::Topics: [T, [a], {'Topic${T}': {Type: AWS::SNS::Topic}}]\n"
    assert codes(write(tmp_path / "template.yaml", text)) == {"incomplete"}


def test_what_sam_refuses_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("samtranslator")
    template = (
        "Transform: AWS::Serverless-2016-10-31\n"
        "Resources:\n"
        "  A: {Type: AWS::Serverless::Function, Properties: {Runtime: python3.13}}\n"
    )
    with pytest.raises(ConfigurationError, match="SAM refuses the template") as raised:
        read(write(tmp_path / "template.yaml", template))
    assert "\n" not in str(raised.value)


# The package

CODE = {
    "": {"main.py": APP},
    "handler-missing": {"mian.py": APP},
    "handler-attribute": {"main.py": APP.replace("handler =", "hanlder =")},
    "package-longwire": {"main.py": APP, "requirements.txt": "fastapi\n"},
    "package-dev": {"main.py": APP, "requirements.txt": "longwire[dev]\n"},
}


@pytest.mark.parametrize("code", CODE)
@pytest.mark.parametrize("packed", [False, True])
def test_the_package_is_looked_at(code: str, packed: bool, tmp_path: Path) -> None:
    files = CODE[code]
    if packed:
        with zipfile.ZipFile(tmp_path / "app.zip", "w") as archive:
            for name, text in files.items():
                archive.writestr(name, text)
    else:
        for name, text in files.items():
            write(tmp_path / "app" / name, text)
    template = changed({"Function/Metadata": {"aws:asset:path": "app.zip" if packed else "app"}})
    assert codes(write(tmp_path / "a.template.json", template)) == ({code} if code else set())


ELF = b"\x7fELF\x02\x01\x01" + b"\0" * 11
MODULES = {
    "redis_c.cpython-313-aarch64-linux-gnu.so": (ELF + b"\xb7\0" + b"\0" * 9, False),
    "redis_c.abi3.so": (ELF + b"\xb7\0" + b"\0" * 9, False),
    "redis_c.cpython-313-x86_64-linux-gnu.so": (ELF + b"\x3e\0" + b"\0" * 9, True),
    "redis_c.cpython-311-aarch64-linux-gnu.so": (ELF + b"\xb7\0" + b"\0" * 9, True),
    "redis_c.cpython-313-darwin.so": (b"\xcf\xfa\xed\xfe" + b"\0" * 20, True),
    "redis_c.cp313-win_amd64.pyd": (b"MZ" + b"\0" * 20, True),
}


@pytest.mark.parametrize("name", MODULES)
def test_compiled_modules_are_of_the_functions_machine(name: str, tmp_path: Path) -> None:
    data, wrong = MODULES[name]
    write(tmp_path / "app/main.py", APP)
    write(tmp_path / "app/longwire/__init__.py", "")
    write(tmp_path / "app/longwire-1.dist-info/METADATA", "")
    (tmp_path / "app" / name).write_bytes(data)
    template = changed({"Function/Metadata": {"aws:asset:path": "app"}})
    found = codes(write(tmp_path / "a.template.json", template))
    assert found == ({"package-architecture"} if wrong else set())


def test_a_driver_is_in_the_package(tmp_path: Path) -> None:
    write(tmp_path / "app/main.py", APP)
    requirements = write(tmp_path / "app/requirements.txt", "longwire\n")
    dsn = {"Fn::Sub": "postgresql://u:${Password}@db.example.com/chat"}
    changes = {
        "Function/Metadata": {"aws:asset:path": "app"},
        "Function/Properties/Environment/Variables/LONGWIRE_DSN": dsn,
        "Table": GONE,
        "Policy/Properties/PolicyDocument/Statement/1": GONE,
    }
    path = write(tmp_path / "a.template.json", changed(changes))
    assert codes(path) == {"package-driver"}
    for enough in ("longwire[http,postgresql]==1.0", "longwire[psycopg]==1.0"):
        requirements.write_text(f"{enough}\n")
        assert codes(path) == set()


def test_code_that_imports_longwire_is_ours(tmp_path: Path) -> None:
    write(tmp_path / "app/main.py", APP)
    template = changed(
        {
            "Function/Metadata": {"aws:asset:path": "app"},
            "Function/Properties/Environment": {"Variables": {}},
            "Function/Properties/Timeout": 3,
            "Sweep": GONE,
        }
    )
    assert codes(write(tmp_path / "a.template.json", template)) == {"dsn-missing", "timeout-short"}


def test_extensions_of_layers_are_counted(tmp_path: Path) -> None:
    for number in range(10):
        write(tmp_path / f"layer/extensions/one{number}", "#!/bin/sh\n")
    template = changed(
        {
            "Layer": {
                "Type": "AWS::Lambda::LayerVersion",
                "Metadata": {"aws:asset:path": "layer"},
                "Properties": {"Content": {"S3Bucket": "a", "S3Key": "b"}},
            },
            "Function/Properties/Layers": [{"Ref": "Layer"}],
        }
    )
    assert codes(write(tmp_path / "a.template.json", template)) == {"extension-slots"}


# The command


def test_the_command_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "a.json", changed({"Default": GONE}))
    assert main(["doctor", str(path)]) == 1
    first, why, instead, last = capsys.readouterr().out.splitlines()
    line = path.read_text().splitlines().index('  "Api": {') + 1
    assert first == f"{path}:{line}: error route-missing (Api): the API has no route $default"
    assert why.startswith("    why:     ")
    assert instead.startswith("    instead: ")
    assert last == "1 error"


def test_the_command_prints_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "a.json", changed({"Parts/Properties/BatchSize": 10}))
    assert main(["doctor", str(path), "--json"]) == 0  # a note is nothing to mend
    said = json.loads(capsys.readouterr().out)
    assert said["counts"] == {"error": 0, "warning": 0, "note": 1}
    (one,) = said["findings"]
    assert sorted(one) == [
        "code",
        "file",
        "instead",
        "line",
        "message",
        "resource",
        "severity",
        "why",
    ]
    assert (one["code"], one["severity"], one["resource"]) == ("batch-size", "note", "Parts")


def test_the_command_finds_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", str(write(tmp_path / "a.json", changed({})))]) == 0
    assert capsys.readouterr().out == "nothing found\n"


def test_wrong_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", str(write(tmp_path / "a.json", "{"))]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1


def test_control_characters_of_a_template_do_not_reach_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    template = changed({"Default/Properties/RouteResponseSelectionExpression": "x"})
    template["Resources"]["Default"]["Properties"]["RouteKey"] = "\x1b[2J"
    main(["doctor", str(write(tmp_path / "a.json", template))])
    assert "\x1b" not in capsys.readouterr().out
