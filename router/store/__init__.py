"""The store: a Redis-protocol server. Every command, key name and expiry stands in this folder."""

from router.store.commits import Commit, Commits, Committed
from router.store.connection import Store
from router.store.dead import DeadLetter, DeadLetters, NoSuchLetter
from router.store.outbox import Entry, Lease, LeaseLost, Outbox, Parked, Steps, read_message
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
    "LeaseLost",
    "NoSuchLetter",
    "Outbox",
    "Parked",
    "People",
    "Person",
    "Steps",
    "Store",
    "Workers",
    "read_message",
]
