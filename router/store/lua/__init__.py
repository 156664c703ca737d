"""The scripts that the store runs, one atomic step each. They make the names of a shard's keys as `keys.py` does."""
