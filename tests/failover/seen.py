"""Looks into the file that load.py writes.

usage: seen.py FILE STATUS SINCE    exits with 0 if there was such an answer after that time
       seen.py FILE slowest         prints how long the slowest answer took, in seconds
"""

import sys


def lines(path: str) -> list[tuple[float, int, float]]:
    with open(path) as file:
        rows = [line.split() for line in file]
    return [(float(row[0]), int(row[1]), float(row[2])) for row in rows if len(row) == 3]


def first(path: str, status: int, since: float) -> float | None:
    """When that status was first seen after a time."""
    return next((when for when, what, _ in lines(path) if what == status and when > since), None)


if __name__ == "__main__":
    if sys.argv[2] == "slowest":
        print(max(took for _, _, took in lines(sys.argv[1])))
    else:
        sys.exit(first(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])) is None)
