"""The other side, for tests: real HTTP servers on loopback that behave as the platforms are documented to behave."""
