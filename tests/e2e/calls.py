"""Seeded synthetic calls, of the same shape as the real file, for machines where the real one is not at hand."""

import csv
import datetime
import random

COLUMNS = ["lat", "lng", "title", "time", "township", "address"]


def synthetic_rows(seed, count=600):
    """`count` rows in time order, minute resolution, many sharing a minute, some places lying in two townships."""
    rng = random.Random(seed)
    townships = [f"TOWNSHIP {letter}" for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"]
    places = [(f"{40 + n / 977:.7f}", f"{-75 - n / 1033:.7f}") for n in range(60)]
    kinds = ["EMS: FALL VICTIM", "EMS: CARDIAC EMERGENCY", "Fire: FIRE ALARM", "Traffic: VEHICLE ACCIDENT -"]
    now = datetime.datetime(2017, 3, 1)
    rows = []
    for _ in range(count):
        now += datetime.timedelta(minutes=rng.choice([0, 0, 0, 1, 1, 2, 5, 9, 31]))
        place = rng.randrange(len(places))
        # Every fifth place lies in two townships, so that its calls travel on two partitions.
        township = townships[(place + (rng.randrange(2) if place % 5 == 0 else 0)) % len(townships)]
        lat, lng = places[place]
        rows.append([lat, lng, rng.choice(kinds), now.strftime("%Y-%m-%d %H:%M"), township, f"ROAD {place}"])
    return rows


def shuffled_rows(path, seed):
    """The rows of a calls CSV in another order (row numbers follow the new order; times stay)."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))[1:]
    random.Random(seed).shuffle(rows)
    return rows


def write_rows(path, rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(rows)
