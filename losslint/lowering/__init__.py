"""From source text to the typed IR: the only place, fixes aside, that knows libcst."""
