"""Exercise 5: group commit."""


def batches(arrivals: list[int], sync: int) -> list[list[int]]:
    """Take what is there; when the sync is over, take what has come meanwhile."""
    taken: list[list[int]] = []
    waiting = list(arrivals)
    now = 0
    while waiting:
        now = max(now, waiting[0])
        batch = [time for time in waiting if time <= now]
        waiting = waiting[len(batch) :]
        taken.append(batch)
        now += sync
    return taken
