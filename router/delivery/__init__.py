"""From the outbox to the platforms: a worker holds shards, a lane takes one shard's events to one destination."""
