#!/usr/bin/env python3
"""Writes storm-day.csv: made-up emergency calls of one day of storm on an island that does not exist.

The seed is fixed, so the file is the same on every run:  python3 storm_day.py > storm-day.csv

Everything in it is invented: the island lies in the empty Atlantic, its townships and streets are nowhere. The day
is in 2015, before the first real call that the pack is tested with, so that real data replayed later is not late.

What happens, so that each rule has something to say:
  - a quiet noon and evening: single calls, far apart;
  - from 14:00 the storm moves from west to east; each township has its hour of many calls (area-surge);
  - crashes and fires at known corners are called in several times (repeat-location) and bring several agencies
    (multi-agency); two of those corners lie on the line between two townships and are reported under both.
"""
import csv
import datetime
import random
import sys

SEED = 20150623
DAY = datetime.datetime(2015, 6, 23)
ROWS = 300

# Township, its centre, and the hour at which the storm reaches it. Between them they lie in all six partitions of the
# stream, so that none of these is silent while the others speak.
TOWNSHIPS = [
    ("ASHCOMBE", 46.210, -30.240, 14.0),
    ("BRINDLE HOLLOW", 46.224, -30.205, 14.4),
    ("CULVER BAY", 46.198, -30.182, 14.9),
    ("EASTHAVEN", 46.231, -30.150, 15.4),
    ("FENWICK SANDS", 46.205, -30.121, 16.0),
    ("FOXLEIGH", 46.240, -30.098, 16.5),
    ("GREYLING", 46.190, -30.083, 17.0),
    ("KELDON", 46.215, -30.052, 17.6),
]
STREETS = ["HARBOUR RD", "MILL LN", "CHAPEL ST", "QUARRY RD", "LONG ACRE", "BEACON HILL", "ORCHARD ST", "FERRY RD",
           "STATION RD", "CASTLE WAY"]
KINDS = {
    "EMS": ["FALL VICTIM", "CARDIAC EMERGENCY", "RESPIRATORY EMERGENCY", "HEAD INJURY", "UNCONSCIOUS SUBJECT"],
    "Fire": ["FIRE ALARM", "BUILDING FIRE", "ELECTRICAL FIRE", "WIRES DOWN", "PUMP DETAIL"],
    "Traffic": ["VEHICLE ACCIDENT", "DISABLED VEHICLE", "ROAD OBSTRUCTION", "HAZARDOUS ROAD CONDITIONS"],
}
WEIGHTS = {"quiet": (6, 2, 3), "storm": (3, 4, 6)}


def main():
    rng = random.Random(SEED)
    rows = []

    def call(minute, township, place, kind, address):
        rows.append((minute, *place, kind, township, address))

    def somewhere(township):
        name, lat, lng, _ = township
        place = (f"{lat + rng.uniform(-.012, .012):.7f}", f"{lng + rng.uniform(-.016, .016):.7f}")
        return name, place, " & ".join(rng.sample(STREETS, 2))

    def any_kind(mood):
        agency = rng.choices(list(KINDS), WEIGHTS[mood])[0]
        return f"{agency}: {rng.choice(KINDS[agency])}"

    # Quiet hours before and after.
    for _ in range(40):
        name, place, address = somewhere(rng.choice(TOWNSHIPS))
        call(rng.choice([rng.randrange(11 * 60, 14 * 60), rng.randrange(19 * 60, 21 * 60)]), name, place,
             any_kind("quiet"), address)

    # Single calls everywhere all through the storm.
    for township in TOWNSHIPS:
        for start in range(14 * 60 - 10, 19 * 60, 40):
            name, place, address = somewhere(township)
            call(start + rng.randrange(40), name, place, any_kind("quiet"), address)

    # The storm over each township.
    for township in TOWNSHIPS:
        for _ in range(13):
            name, place, address = somewhere(township)
            call(int(township[3] * 60 + rng.triangular(0, 75, 20)), name, place, any_kind("storm"), address)

    # Crashes and fires that many see.
    for _ in range(24):
        at = rng.randrange(len(TOWNSHIPS))
        township = TOWNSHIPS[at]
        name, place, address = somewhere(township)
        start = int(township[3] * 60 + rng.uniform(0, 60))
        kinds = rng.choice([["Traffic: VEHICLE ACCIDENT", "EMS: VEHICLE ACCIDENT"],
                            ["Fire: BUILDING FIRE", "EMS: BURN VICTIM", "Traffic: ROAD OBSTRUCTION"],
                            ["Fire: WIRES DOWN", "Fire: WIRES DOWN"],
                            ["Traffic: ROAD OBSTRUCTION", "Traffic: VEHICLE ACCIDENT", "EMS: HEAD INJURY"]])
        on_the_line = rng.random() < .3
        for number, kind in enumerate(kinds):
            neighbour = TOWNSHIPS[min(at + 1, len(TOWNSHIPS) - 1)][0]
            call(start + number * rng.randrange(0, 5), neighbour if on_the_line and number % 2 else name, place, kind,
                 address)

    # Fill up to the round number with evening calls, then sort as a dispatch log is: by time.
    while len(rows) < ROWS:
        name, place, address = somewhere(rng.choice(TOWNSHIPS))
        call(rng.randrange(18 * 60, 21 * 60), name, place, any_kind("quiet"), address)
    rows.sort(key=lambda row: row[0])

    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(["lat", "lng", "title", "time", "township", "address"])
    for minute, lat, lng, kind, township, address in rows[:ROWS]:
        time = DAY + datetime.timedelta(minutes=minute)
        out.writerow([lat, lng, kind, time.strftime("%Y-%m-%d %H:%M"), township, address])


if __name__ == "__main__":
    main()
