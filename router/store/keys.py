"""The names of keys. All keys of a sender carry its shard's hash tag, and so stand in one slot of a cluster.

The scripts in `lua/` make names of the same shard from the key that they are given. Theirs alone are, for each bucket
of the dedupe window, the hashes `seen:LENGTH:INDEX` (digest of a message id → digest of an answer) and
`answers:LENGTH:INDEX`, for each hour `replies:HOUR` (`SENDER:NUMBER` → how many texts of ours that person had from that
number), and `turns` (destination → the last call of lua/settle.lua that was numbered).
"""

from zlib import crc32


class Keys:
    """Key names under one prefix, for a fixed number of shards."""

    def __init__(self, prefix: str, shards: int) -> None:
        self._prefix = prefix
        self.meta = f"{prefix}:meta"
        self.workers = f"{prefix}:workers"
        self.shards = shards
        self._prefix = prefix
        self._tags = tuple(f"{prefix}:{{{shard}}}:" for shard in range(shards))

    def shard_of(self, sender: str) -> int:
        """The shard that all of a sender's keys and events belong to."""
        return crc32(sender.encode("utf-8", "surrogatepass")) % self.shards

    def person(self, sender: str) -> str:
        """Hash: `consent:PROGRAM`, `consent:@ACCOUNT`, `consent:@all` (states), `asked:PROGRAM` (when a doubtful text
        was asked about), `alias:DESTINATION`, `lang` (the language that the person speaks), `named` (callers know
        the person, and nothing more), `block:ACCOUNT/NUMBER` (since when a carrier or a network sends the person
        nothing from there), `ledger` (the last of the person's rows).
        """
        return f"{self._tags[self.shard_of(sender)]}person:{sender}"

    def external_shard(self, digest: bytes) -> int:
        """The shard that knows whom an external id means: that of the id, not of the sender."""
        return int.from_bytes(digest[:2], "big") % self.shards

    def externals(self, shard: int) -> str:
        """How the names of a shard's `external` begin."""
        return f"{self._tags[shard]}external:"

    def external(self, digest: bytes) -> str:
        """Hash: digest of an external id → the sender it means; ids whose digests begin alike share one."""
        return f"{self.externals(self.external_shard(digest))}{digest[:2].hex()}"

    def moved(self, sender: str) -> str:
        """List: the numbers that those who had this number have moved to, written like an external id's, one by one."""
        return f"{self._tags[self.shard_of(sender)]}moved:{sender}"

    def moved_from(self) -> str:
        """A pattern for the keys of all `moved`."""
        return f"{self._prefix}:{{*}}:moved:*"

    def quota(self, name: str, window: int) -> str:
        """Counter: calls of the API within a window of time."""
        return f"{self._prefix}:quota:{name}:{window}"

    def people(self, shard: int | None = None) -> str:
        """A pattern for the keys of all people, or all of a shard."""
        return f"{self._prefix}:{{{'*' if shard is None else shard}}}:person:*"

    def ledger(self, shard: int) -> str:
        """List: rows of the ledger that are not in files yet, see lua/settle.lua."""
        return f"{self._tags[shard]}ledger"

    def ledger_state(self, shard: int) -> str:
        """Hash: how many rows and segments the ledger has, see lua/settle.lua."""
        return f"{self._tags[shard]}ledger:state"

    def erasures(self, shard: int) -> str:
        """Hash: sender → last of the rows to be erased in the ledger, until that is done."""
        return f"{self._tags[shard]}ledger:erasures"

    def outbox(self, shard: int) -> str:
        """Stream: what has been decided and must be delivered, in the order of acceptance."""
        return f"{self._tags[shard]}outbox"

    def unhandled(self, shard: int) -> str:
        """Stream, capped: authentic requests and texts that nobody could be told of."""
        return f"{self._tags[shard]}unhandled"

    def parts(self, shard: int, name: str) -> str:
        """Hash: what has come of a long text, see lua/join.lua."""
        return f"{self._tags[shard]}parts:{name}"

    def joined(self, shard: int, name: str) -> str:
        """Hash: id of a part that was joined → what is known of the text that it completed."""
        return f"{self._tags[shard]}joined:{name}"

    def deadlines(self, shard: int) -> str:
        """Sorted set: names of the parts that wait, by the end of their time in unix seconds."""
        return f"{self._tags[shard]}deadlines"

    def dead(self, shard: int) -> str:
        """Stream: deliveries given up on."""
        return f"{self._tags[shard]}dead"

    def lease(self, shard: int) -> str:
        """String: `owner:token` of the worker that holds the shard."""
        return f"{self._tags[shard]}lease"

    def fence(self, shard: int) -> str:
        """Counter of the leases given."""
        return f"{self._tags[shard]}fence"

    def positions(self, shard: int) -> str:
        """Hash: destination → the outbox entry up to which everything is settled there."""
        return f"{self._tags[shard]}positions"

    def ahead(self, shard: int) -> str:
        """Hash: destination → JSON list of entries settled beyond its position."""
        return f"{self._tags[shard]}ahead"

    def parked(self, shard: int, destination: str) -> str:
        """Hash: sender → how many of its entries wait for its alias."""
        return f"{self._tags[shard]}parked:{destination}"

    def parked_entries(self, shard: int, destination: str, sender: str) -> str:
        """List: the sender's waiting entries, oldest first."""
        return f"{self._tags[shard]}parked:{destination}:{sender}"
