"""What somebody must read and type before anything is made or removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.live import costs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.live.account import Account
    from tests.live.costs import Cost
    from tests.live.leftovers import Leftover


def before_making(
    account: Account, name: str, made: Sequence[str], bill: Sequence[Cost]
) -> list[str]:
    """Say what will be created, where and for how much; the last line is the question."""
    where = f", an emulator at {account.endpoint}" if account.endpoint else ""
    return [
        f"In account {account.number}, region {account.region}{where}, this creates:",
        *(f"  {one}" for one in made),
        f"All names begin with {name}, and all of it is removed at the end, also after a failure",
        "or Ctrl-C. It takes half an hour to an hour. At most it costs, by list prices:",
        *(f"  ${cost.dollars:8.4f}  {cost.amount:,.6g} {cost.what}" for cost in bill),
        f"  ${costs.total(bill):8.4f}  in all",
        f"Type the number of the account to go on ({account.number}): ",
    ]


def before_removing(account: Account, found: Sequence[Leftover]) -> list[str]:
    """Say what will be removed; the last line is the question."""
    return [
        f"In account {account.number}, region {account.region}, this removes:",
        *(f"  {leftover.kind} {leftover.name}" for leftover in found),
        f"Type the number of the account to go on ({account.number}): ",
    ]


def confirmed(
    account: Account, said: Sequence[str], tell: Callable[[str], None], ask: Callable[[str], str]
) -> bool:
    """Say it, and tell whether the number of the account was typed."""
    *lines, question = said
    for line in lines:
        tell(line)
    try:
        return ask(question).strip() == account.number
    except EOFError:
        return False
