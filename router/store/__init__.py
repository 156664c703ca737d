"""The store: a Redis-protocol server. Every command, key name and expiry stands in this folder."""

from router.store.commits import Commit, Commits, Committed
from router.store.connection import Store
from router.store.dead import DeadLetter, DeadLetters
from router.store.outbox import Entry, Lease, Outbox, Parked, Steps
from router.store.people import Consent, People, Person
from router.store.workers import Workers

__all__ = [
    "Commit",
    "Commits",
    "Committed",
    "Consent",
    "DeadLetter",
    "DeadLetters",
    "Entry",
    "Lease",
    "Outbox",
    "Parked",
    "People",
    "Person",
    "Steps",
    "Store",
    "Workers",
]
