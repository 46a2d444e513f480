"""The roles of functions that are deployed, with all of their policies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from longwire.doctor.looking import MissingError
from longwire.doctor.naming import role_in
from longwire.doctor.resources import Place, Resource
from longwire.doctor.roles import MANAGED
from longwire.doctor.values import UNKNOWN

if TYPE_CHECKING:
    from longwire.doctor.looking import AWSReader


def look_at_roles(looker: AWSReader, resources: list[Resource]) -> list[Resource]:
    """Look at the roles that the functions have."""
    found: list[Resource] = []
    for one in resources:
        arn = one.get("Role")
        if one.type != "AWS::Lambda::Function" or not isinstance(arn, str):
            continue
        name = role_in(arn)
        if name in [other.id for other in found]:
            continue
        place = Place(f"{one.place.name} role {name}")
        try:
            found.append(Resource("AWS::IAM::Role", place, name, _role(looker, name)))
        except MissingError:
            continue
    return found


def _role(looker: AWSReader, name: str) -> dict[str, Any]:
    before = len(looker.refused)
    role: dict[str, Any] = {"RoleName": name}
    policies: list[Any] = []
    for policy in looker.pages("iam", "ListRolePolicies", "PolicyNames", **role):
        said = looker.ask("iam", "GetRolePolicy", **role, PolicyName=policy)
        policies.append({"PolicyDocument": said.get("PolicyDocument", UNKNOWN)})
    for one in looker.pages("iam", "ListAttachedRolePolicies", "AttachedPolicies", **role):
        policies.append({"PolicyDocument": _managed(looker, one["PolicyArn"])})
    if len(looker.refused) > before:
        policies.append(UNKNOWN)
    return {"RoleName": name, "Policies": policies}


def _managed(looker: AWSReader, arn: str) -> Any:
    if (known := MANAGED.get(arn.rpartition("/")[2])) is not None and ":aws:policy/" in arn:
        return {"Statement": [{"Effect": "Allow", "Action": list(known), "Resource": "*"}]}
    try:
        version = (
            looker.ask("iam", "GetPolicy", PolicyArn=arn).get("Policy", {}).get("DefaultVersionId")
        )
        if version is None:
            return UNKNOWN
        said = looker.ask("iam", "GetPolicyVersion", PolicyArn=arn, VersionId=version)
    except MissingError:
        return UNKNOWN
    return said.get("PolicyVersion", {}).get("Document", UNKNOWN)
