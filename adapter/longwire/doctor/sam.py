"""A template of SAM -> the same of CloudFormation, by AWS's own translator."""

from __future__ import annotations

import copy
import logging
import os
from typing import TYPE_CHECKING, Any

from longwire.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

TRANSFORM = "AWS::Serverless-2016-10-31"


def is_sam(template: Mapping[str, Any]) -> bool:
    """Tell whether a template is yet to be transformed."""
    transforms = template.get("Transform")
    return TRANSFORM in (transforms if isinstance(transforms, list) else [transforms])


def transform(template: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the template that CloudFormation makes of it.

    Raises:
        ConfigurationError: SAM refuses it.
        ModuleNotFoundError: the translator is not installed.
    """
    from boto3.session import Session
    from samtranslator.model.exceptions import InvalidDocumentException
    from samtranslator.parser.parser import Parser
    from samtranslator.translator.translator import Translator

    # It asks for nothing of AWS; but it wants to know where it is.
    session = Session(region_name=os.environ.get("AWS_REGION", "us-east-1"))
    logging.getLogger("samtranslator").setLevel(logging.CRITICAL)
    try:
        given = copy.deepcopy(dict(template))
    except RecursionError:
        raise ConfigurationError(f"{name}: nested too deeply for a template") from None
    folders = _local_paths_away(given)
    loops = [name for name in _section(given, "Resources") if name.startswith("Fn::")]
    for name in loops:  # another transform's; what they make is not here
        del given["Resources"][name]
    translator = Translator({}, Parser(), boto_session=session)
    try:
        made: dict[str, Any] = translator.translate(given, _defaults(given))
    except InvalidDocumentException as error:
        causes = "; ".join(_cause(one) for one in error.causes) or str(error)
        raise ConfigurationError(f"{name}: SAM refuses the template: {causes}") from None
    except RecursionError:
        raise ConfigurationError(f"{name}: nested too deeply for a template") from None
    _local_paths_back(made, folders)
    if loops:
        made["Fn::Transform"] = loops
    return made


def _cause(error: object) -> str:
    return str(getattr(error, "message", error)).partition("\n")[0]


def _defaults(template: Mapping[str, Any]) -> dict[str, Any]:
    parameters = template.get("Parameters")
    if not isinstance(parameters, dict):
        return {}
    return {
        name: one["Default"]
        for name, one in parameters.items()
        if isinstance(one, dict) and "Default" in one
    }


_PATHS = {
    "AWS::Serverless::Function": "CodeUri",
    "AWS::Serverless::LayerVersion": "ContentUri",
}
_NOWHERE = "s3://longwire-doctor/"


def _local_paths_away(template: Mapping[str, Any]) -> dict[str, str]:
    """Put places in S3 where folders are: the translator takes nothing else.

    Returns:
        the folder of each key in S3.
    """
    found: dict[str, str] = {}
    given = _section(_section(template, "Globals"), "Function").get("CodeUri")
    for number, raw in enumerate(_section(template, "Resources").values()):
        if not isinstance(raw, dict) or (name := _PATHS.get(str(raw.get("Type")))) is None:
            continue
        properties = raw.setdefault("Properties", {})
        if not isinstance(properties, dict) or "InlineCode" in properties:
            continue
        if properties.get("PackageType") == "Image":
            continue
        path = properties.get(name, given if name == "CodeUri" else None)
        if path is None:
            path = "."
        if isinstance(path, str) and not path.startswith("s3://"):
            key = f"local{number}"
            found[key] = path
            properties[name] = _NOWHERE + key
    if isinstance(given, str) and not given.startswith("s3://"):
        _section(_section(template, "Globals"), "Function").pop("CodeUri")
    return found


def _local_paths_back(template: Mapping[str, Any], folders: Mapping[str, str]) -> None:
    for raw in _section(template, "Resources").values():
        properties = _section(raw, "Properties")
        for name in ("Code", "Content"):
            content = properties.get(name)
            if isinstance(content, dict) and content.get("S3Key") in folders:
                properties[name] = {"Longwire::Folder": folders[content["S3Key"]]}


def _section(template: Any, name: str) -> Any:
    section = template.get(name) if isinstance(template, dict) else None
    return section if isinstance(section, dict) else {}


def origins(made: Mapping[str, Any], template: Mapping[str, Any]) -> dict[str, str]:
    """Return of which resource of the template each one was made: its id begins with that one's."""
    given = sorted(_section(template, "Resources"), key=len, reverse=True)
    found = {}
    for name in _section(made, "Resources"):
        origin = next((one for one in given if name.startswith(one)), None)
        if origin is not None:
            found[name] = origin
    return found
