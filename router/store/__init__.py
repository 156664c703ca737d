"""The store: a Redis-protocol server. Every command, key name and expiry stands in this folder."""

from router.store.commits import Commit, Commits, Committed
from router.store.connection import Store
from router.store.dead import DeadLetter, DeadLetters
from router.store.directory import Directory
from router.store.exports import Exports
from router.store.imports import Applied, Imports, Stated, Stays, Target
from router.store.ledger import NO_HEAD, Head, Ledger, LedgerState
from router.store.outbox import LEDGER, Entry, Lease, Outbox, Parked, Steps
from router.store.parts import Added, Group, Part, Parts
from router.store.people import Block, Consent, People, Person
from router.store.quota import Quota
from router.store.workers import Workers

__all__ = [
    "LEDGER",
    "NO_HEAD",
    "Added",
    "Applied",
    "Block",
    "Commit",
    "Commits",
    "Committed",
    "Consent",
    "DeadLetter",
    "DeadLetters",
    "Directory",
    "Entry",
    "Exports",
    "Group",
    "Head",
    "Imports",
    "Lease",
    "Ledger",
    "LedgerState",
    "Outbox",
    "Parked",
    "Part",
    "Parts",
    "People",
    "Person",
    "Quota",
    "Stated",
    "Stays",
    "Steps",
    "Store",
    "Target",
    "Workers",
]
