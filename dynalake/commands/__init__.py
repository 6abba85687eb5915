"""One module a command: NAME, EXAMPLE and `run`. Heavy imports stand inside `run`, so that --help is quick."""
