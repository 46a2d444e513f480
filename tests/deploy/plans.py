"""The plans that templates are tried with."""

from __future__ import annotations

import itertools
from typing import Any

from longwire.deploy.plan import STORES, Plan, check

BASE = Plan(name="chat", handler="main.handler", routes=("/rooms/{room}", "/ws"))
# Each with the values that it may have, the usual one first.
OPTIONS: dict[str, tuple[Any, ...]] = {
    "store": STORES,
    "answers_http": (False, True),
    "replay": (False, True),
    "authorizer": (None, "auth.authorize"),
    "fanout": (False, True),
    "sweep": (False, True),
    "domain": (None, "ws.example.com"),
    "logs": (False, True),
    "alarms": (False, True),
}
ALL = {name: values[-1] for name, values in OPTIONS.items() if name != "store"}


def every() -> dict[str, Plan]:
    """Return a plan for all that can be said together, with logs and alarms for what is there."""
    plans: dict[str, Plan] = {}
    for values in itertools.product(*OPTIONS.values()):
        given = dict(zip(OPTIONS, values, strict=True))
        if not (given["logs"] and given["alarms"]):
            continue
        said = [name.replace("_", "") for name in OPTIONS if name != "store" and given[name]]
        plans["-".join([given["store"], *said])] = check(BASE._replace(**given))
    return plans


def few() -> dict[str, Plan]:
    """Return each store, alone and with all else; each option alone; and what else is a number."""
    plans: dict[str, Plan] = {store: BASE._replace(store=store) for store in STORES}
    plans |= {f"{store}-all": BASE._replace(store=store, **ALL) for store in STORES}
    plans |= {name.replace("_", ""): BASE._replace(**{name: value}) for name, value in ALL.items()}
    plans["s3-replay"] = BASE._replace(store="s3", replay=True)
    plans["redis-sweep"] = BASE._replace(store="redis", sweep=True)
    plans["postgresql-replay"] = BASE._replace(store="postgresql", replay=True)
    plans["named-table"] = BASE._replace(resource="my_table")
    plans["named-bucket"] = BASE._replace(store="s3", resource="my-bucket")
    plans["numbers"] = BASE._replace(
        python="3.11", architecture="x86_64", memory=1769, timeout=12, fanout=True, alarms=True
    )
    sources = ("route.request.header.Authorization", "route.request.querystring.room")
    plans["sources"] = BASE._replace(authorizer="app.auth.ask", identity_source=sources)
    plans["no-routes"] = BASE._replace(routes=(), handler="app.main.handler")
    plans["odd-path"] = BASE._replace(routes=('/"$x\\ &#é',))
    return {name: check(plan) for name, plan in plans.items()}
