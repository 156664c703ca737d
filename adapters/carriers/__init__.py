"""One file per carrier, all of one shape: options, verify, parse, answer."""
