"""One file per engagement platform, all of one shape: options, wants, ensure_aliases, deliver."""
