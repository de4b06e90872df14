"""Which steps are recorded."""

# The schedule of a recorder that is not told one: each of the first steps, then one in INTERVAL. The interval grows
# tenfold at LONG_RUN steps and at each power of ten of them, so that a run of any length keeps about as many rows.
FIRST_STEPS, INTERVAL, LONG_RUN = 50, 25, 25_000


def due(number: int, every: int | None) -> bool:
    """Whether step ``number``, counted from 1, is recorded: one in ``every``, or with None by the usual schedule."""
    if every is not None:
        return (number - 1) % every == 0
    if number <= FIRST_STEPS:
        return True
    interval = INTERVAL
    while number >= LONG_RUN * interval // INTERVAL:
        interval *= 10
    return number % interval == 0
