"""The store: a Redis-protocol server. Every command, key name and expiry stands in this folder."""

from router.store.commits import Commit, Commits, Committed
from router.store.connection import Store
from router.store.dead import DeadLetter, DeadLetters
from router.store.outbox import Entry, Lease, Outbox, Parked, Steps
from router.store.parts import Added, Group, Part, Parts
from router.store.people import Block, Consent, People, Person
from router.store.workers import Workers

__all__ = [
    "Added",
    "Block",
    "Commit",
    "Commits",
    "Committed",
    "Consent",
    "DeadLetter",
    "DeadLetters",
    "Entry",
    "Group",
    "Lease",
    "Outbox",
    "Parked",
    "Part",
    "Parts",
    "People",
    "Person",
    "Steps",
    "Store",
    "Workers",
]
