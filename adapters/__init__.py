"""Everything that knows the outside world: carriers (texts come from them) and platforms (events go to them)."""
