"""Everything that a text needs to know of the configuration, behind one face."""

from collections.abc import Iterator

from router.config import Settings
from router.records import LEDGER
from router.routing.accounts import Account, read_accounts
from router.routing.listening import Listening
from router.routing.plans import Plans
from router.routing.routes import Routes
from router.types import Channel, Plan


class Routing:
    """Answers, for each text, where it belongs and what follows."""

    def __init__(self, settings: Settings) -> None:
        self.accounts: dict[str, Account] = read_accounts(settings)
        replies = (account.reply_lane for account in self.accounts.values() if account.reply_lane)
        #: Wherever what is in the outbox can be meant to go.
        self.lanes = (*settings.destinations, *replies, LEDGER)
        self.api_dedupe_seconds = settings.store.dedupe_hours * 3600
        self.replies_per_hour = settings.limits.replies_per_hour
        self.join_seconds = settings.limits.join_seconds
        self._programs = settings.programs
        self._routes = Routes(settings, self.accounts)
        self._plans = Plans(settings, self._routes)
        self._listening = Listening(settings.programs, self._routes.keys, self._routes.unrouted.values())
        self.find = self._routes.find
        self.number_called = self._routes.number_called
        self.number_for = self._routes.number_for
        self.unasked = self._routes.unasked
        self.match = self._listening.match
        self.explain = self._listening.explain
        self.plan = self._plans.plan
        self.call_plan = self._plans.call_plan
        self.block_plan = self._plans.block_plan
        self.bearing_on = self._plans.bearing_on

    @property
    def programs(self) -> tuple[str, ...]:
        """The programs, by id."""
        return tuple(self._programs)

    def channel(self, program: str) -> Channel:
        """The channel of a program."""
        return self._programs[program].channel

    def texts_per_second(self, account: str) -> dict[str, float]:
        """How many texts each number of an account may send."""
        return self._routes.rates[account]

    def silent_accounts(self) -> list[str]:
        """The accounts of numbers whose replies neither the carrier's answer takes nor can be sent."""
        accounts = [account for name, account in self.accounts.items() if self._routes.rates[name]]
        return [each.name for each in accounts if not each.carrier.replies_inline and not each.carrier.sends]

    def reply_lane(self, account: str, plan: Plan, *, texted: bool = True) -> tuple[str, ...]:
        """Where the reply to a text waits, if it has one that has to be sent. What was not texted is always sent."""
        found = self.accounts.get(account)
        if found is None or not found.reply_lane or not plan.replies:
            return ()
        return () if texted and found.carrier.replies_inline else (found.reply_lane,)

    def parts(self) -> Iterator[object]:
        """What it holds the most of."""
        yield from self._plans.parts()
        yield from self._listening.parts()
