"""Looks into the file that load.py writes.

usage: seen.py FILE STATUS SINCE    prints how long after that time such an answer came first; exits with 1 if none did
       seen.py FILE slowest         prints how long the slowest answer took, in seconds
"""

import sys

with open(sys.argv[1]) as file:
    rows = [line.split() for line in file]
answers = [(float(row[0]), int(row[1]), float(row[2])) for row in rows if len(row) == 3]

if sys.argv[2] == "slowest":
    print(max(took for _, _, took in answers))
else:
    status, since = int(sys.argv[2]), float(sys.argv[3])
    first = next((when for when, what, _ in answers if what == status and when > since), None)
    if first is None:
        sys.exit(1)
    print(f"{first - since:.1f}")
