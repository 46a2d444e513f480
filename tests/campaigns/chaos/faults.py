"""What goes wrong in one conversation, drawn from its random numbers, and counted."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from random import Random

# Requests that a driver sends again when their answer was lost, as `longwire_backends.aws` does;
# the conditional ones (`take`, `update`) are not among them.
REPEATABLE = frozenset(
    {"put", "get", "group_add", "group_discard", "group_members", "groups", "connections"}
    | {"journal", "drop_journal"}
)

STORE_FAULTS = ("request lost", "reply lost", "late effect", "slow", "repeated")
POST_FAULTS = (
    "refused",
    "request lost",
    "reply lost",
    "late effect",
    "slow",
    "429",
    "500",
    "500 after delivery",
)

# Where a process is killed: at a request of this kind. "any" makes more of them hit the frequent
# ones, and "app" is where the app awaits something of its own.
DEATHS = (
    "any",
    "any",
    "app",
    "put",
    "put",
    "get",
    "update",
    "take",
    "post",
    "post",
    "delete",
    "take",
    "ghost update",
    "ghost update",
    "group_add",
    "group_members",
    "group_discard_all",
)
# And those of `replay`.
DEATHS_IN_TURNS = ("append",) * 6 + ("journal",) * 2


class Weather(NamedTuple):
    """How bad it is in one conversation.

    Attributes:
        store: how many of the store's answers are not as they should be, from 0 to 1.
        posts: likewise of the management API's.
        app: how many of the app's own requests take long.
        deaths: how many processes are killed.
        disorder: whether messages overtake each other, and `$disconnect` comes as it likes.
        ttl: seconds after which records expire.
    """

    store: float = 0.0
    posts: float = 0.0
    app: float = 0.0
    deaths: int = 0
    disorder: bool = False
    ttl: int = 7800

    @property
    def is_calm(self) -> bool:
        """Whether nothing goes wrong, so that all that is said has to arrive."""
        return self == Weather()

    @property
    def is_peaceful(self) -> bool:
        """Whether no request fails or is slow, and no process dies."""
        return not (self.store or self.posts or self.app or self.deaths)


def draw_weather(random: Random) -> Weather:
    """Draw the weather: in one of eight conversations nothing goes wrong."""
    if random.random() < 1 / 8:
        return Weather()
    rates = (0.0, 0.0, 0.02, 0.1, 0.3)
    drawn = Weather(
        store=random.choice(rates),
        posts=random.choice(rates),
        app=random.choice((0.0, 0.0, 0.1)),
        deaths=random.choice((0, 0, 1, 1, 2, 4)),
        disorder=random.random() < 0.6,
        ttl=random.choice((7800, 7800, 7800, 20, 3)),
    )
    return drawn._replace(disorder=True) if drawn.is_calm else drawn


class Death:
    """A process is killed at the `number`-th request of a kind, before or after its effect."""

    def __init__(self, random: Random, *, replay: bool) -> None:
        self.at = random.choice(DEATHS + DEATHS_IN_TURNS * replay)
        self.number = random.randint(0, 40) if self.at == "any" else int(random.expovariate(0.6))
        self.before = random.random() < 0.5

    def strikes(self, name: str) -> bool:
        """Count a request; tell whether it is the one."""
        if self.at not in ("any", name):
            return False
        self.number -= 1
        return self.number == -1


class Faults:
    """Decides about each request, and notes what it has decided.

    Attributes:
        done: how often each fault was injected.
        kills: in which phase processes were killed, and how often.
        of_store: whether the store has ever failed, so that events may say so.
        of_posts: likewise for the management API.
    """

    def __init__(self, weather: Weather, random: Random, *, replay: bool = False) -> None:
        self.weather = weather
        self.done: Counter[str] = Counter()
        self.kills: Counter[str] = Counter()
        self.of_store = self.of_posts = False
        self.healed = False
        self._random = random
        self._deaths = [Death(random, replay=replay) for _ in range(weather.deaths)]

    def death(self, name: str) -> Death | None:
        """Return what kills the process that makes this request, if something does."""
        struck = [death for death in self._deaths if death.strikes(name)]
        return struck[0] if struck and not self.healed else None

    def store(self, name: str) -> str:
        """Return what happens to a request to the store; "" for nothing."""
        fault = self._draw(self.weather.store, STORE_FAULTS)
        if fault == "repeated" and name.removeprefix("ghost ") not in REPEATABLE:
            fault = "slow"
        self.of_store = self.of_store or bool(fault)
        return self._noted("store: ", fault)

    def post(self) -> str:
        """Return what happens to a request to the management API; "" for nothing."""
        fault = self._draw(self.weather.posts, POST_FAULTS)
        self.of_posts = self.of_posts or bool(fault)
        return self._noted("posts: ", fault)

    def app(self) -> str:
        """Return what happens to a request of the app's own; "" for nothing."""
        return self._noted("app: ", self._draw(self.weather.app, ("slow",)))

    def note(self, what: str) -> None:
        self.done[what] += 1

    def travel(self) -> float:
        """Return how long a request or an answer is on its way, in seconds."""
        return self._random.uniform(0.0001, 0.003)

    def delay(self) -> float:
        """Return for how long a fault holds a request back, in seconds."""
        return self._random.choice((0.01, 0.05, 0.2, 0.5, 1.0, 2.5))

    def patience(self) -> float:
        """Return when a network says that a request is lost, in seconds; mostly never in time."""
        return self._random.choice((0.001, 0.2, 1.0, 60.0))

    def _draw(self, rate: float, faults: tuple[str, ...]) -> str:
        if self.healed or self._random.random() >= rate:
            return ""
        return self._random.choice(faults)

    def _noted(self, prefix: str, fault: str) -> str:
        if fault:
            self.note(prefix + fault)
        return fault
