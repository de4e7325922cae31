"""See run.sh."""

import concurrent.futures
import datetime
import json
import os
import random
import signal
import subprocess
import sys
import zoneinfo

from cronsim import CronSim, CronSimError

ZONES = """UTC Europe/Berlin Europe/Dublin America/New_York America/St_Johns America/Sao_Paulo Africa/Cairo Asia/Kathmandu Asia/Tehran
    Australia/Lord_Howe Pacific/Auckland Pacific/Apia Antarctica/Troll""".split()
TIMES = 120
zoneinfo.reset_tzpath([])  # the package's own tables, whatever this machine has


def field(random, least, most, stars):
    """One field: mostly what people write."""
    one = lambda: random.randint(least, most)
    low, high = sorted((one(), one()))
    kinds = ["*"] * stars + [f"*/{random.randint(1, max(2, (most - least) // 2))}"] + [str(one())] * 2
    # 5-5/2 is left out: cronsim takes it for "from 5 on"
    kinds += [f"{low}-{high}", f"{one()},{one()}", f"{low}-{high}/{random.randint(1, 7)}" if low < high else str(low)]
    return random.choice(kinds)


def expression(random):
    minute, hour = field(random, 0, 59, 1), field(random, 0, 5, 2)  # where clocks change
    day, month, weekday = "*", "*", "*"
    if random.random() < 0.3:
        day = random.choice(["1", "15", "28-31", "L", "1,15", "1-7"])
    if random.random() < 0.2:
        month = random.choice(["3", "10", "MAR,OCT", "1-6", "*/2"])
    if random.random() < 0.3:
        weekday = random.choice(["SUN", "0", "7", "MON-FRI", "1#2", "sat,sun", "5-7"])
    seconds = [field(random, 0, 59, 0)] if random.random() < 0.1 else []
    return " ".join([*seconds, minute, hour, day, month, weekday])


def ours(longshore, cron, zone, after, n):
    command = [longshore, "schedules", "next", cron, "--timezone", zone, "--after", after.isoformat(), "-n", str(n), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        return None, done.stderr.strip()
    return [datetime.datetime.fromisoformat(item.replace("Z", "+00:00")) for item in json.loads(done.stdout)["items"]], None


def theirs(cron, zone, after, n):
    times = CronSim(cron.upper(), after.astimezone(zoneinfo.ZoneInfo(zone)))
    try:
        return [next(times).astimezone(datetime.timezone.utc) for _ in range(n)]
    except StopIteration:
        return []


def first_shown(cron, zone, after, until):
    """The first instant at which the clock shows what the expression asks for, looked for second by second or minute by minute."""
    fields = CronSim(cron.upper(), after)
    step = datetime.timedelta(seconds=1 if len(cron.split()) == 6 else 60)
    at = after.replace(second=0) + step
    while at <= until:
        shown = at.astimezone(zoneinfo.ZoneInfo(zone))
        if shown.second in fields.seconds and shown.minute in fields.minutes and shown.hour in fields.hours and shown.month in fields.months:
            if fields.match_day(shown.date()):
                return at
        at += step
    return None


def hangs(*_):
    raise TimeoutError


def compare(longshore, seed):
    r = random.Random(seed)
    cron, zone = expression(r), r.choice(ZONES)
    fields = cron.split()
    if len(fields) == 6 and "*" not in (fields[1][0], fields[2][0]):
        zone = "UTC"  # with seconds, cronsim lets fixed times follow elapsed time, too, since Debian's cron knows none
    # days before a change of the clocks in most of these zones, or any day
    year, month = r.randint(1995, 2036), r.choice([3, 3, 4, 9, 10, 10, 11, 12])
    after = datetime.datetime(year, month, r.randint(1, 28), r.randint(0, 23), r.randint(0, 59), r.randint(0, 59), tzinfo=datetime.timezone.utc)
    signal.signal(signal.SIGALRM, hangs)
    signal.alarm(10)
    try:
        expected = theirs(cron, zone, after, TIMES)
    except CronSimError as error:
        return cron, zone, "refused", str(error)
    except TimeoutError:
        return cron, zone, "cronsim hangs", f"after {after}"
    finally:
        signal.alarm(0)
    found, fault = ours(longshore, cron, zone, after, TIMES)
    if fault:
        return cron, zone, "refused by us", fault
    if not expected:
        return cron, zone, "never", ""
    for n, (one, other) in enumerate(zip(found, expected)):
        if one != other:
            # cronsim walks from hour to hour, and loses its way where clocks change by half an hour or at midnight; what follows
            # elapsed time needs no rule, so that anybody can find it
            elapsed = "*" in (fields[-5][0], fields[-4][0])
            if elapsed and first_shown(cron, zone, found[n - 1] if n else after, max(one, other)) == one:
                return cron, zone, "same, cronsim aside", ""
            return cron, zone, "differs", f"after {after}: time {n} is {one}, cronsim says {other}; before it {found[n - 1] if n else '-'}"
    return cron, zone, "same", ""


def main(longshore):
    seed, expressions = int(os.environ.get("SEED", "1")), int(os.environ.get("EXPRESSIONS", "800"))
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        results = list(pool.map(compare, [longshore] * expressions, [f"{seed}-{n}" for n in range(expressions)], chunksize=20))
    counts = {}
    for cron, zone, verdict, why in results:
        counts[verdict] = counts.get(verdict, 0) + 1
        if verdict not in ("same", "same, cronsim aside", "never"):
            print(f"{verdict}: {cron!r} in {zone}: {why}")
    print(f"{expressions} expressions, {TIMES} due times each: {counts}")
    if counts.get("same", 0) < expressions * 0.9 or set(counts) - {"same", "same, cronsim aside", "never", "cronsim hangs"}:
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1])
