"""The ledger of consent: proof of who agreed to what, when and in which words, that shows when it was tampered with.

Each row carries the hash of the row before it of the same person. What identifies or quotes the person stands in a
part of its own, of which the chain holds the hash alone: it can be erased, and the rest still verifies. The newest rows
are in the store, older ones in files, a segment each.
"""
