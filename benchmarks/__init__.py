"""`make bench`: ratios measured inside one run, since machines are noisy. Nothing here is part of the test
suite."""
