"""The scripts that the store runs, one atomic step each."""
