"""Help for tests: the fixtures of `testing.plugin`, patience, and a cluster of plain Python."""
