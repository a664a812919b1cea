"""The answers of the pack public-safety's three rules by brute force: no code shared with the product.

An event is a dict of the CSV's columns plus `row` (1 is the first line after the header). Events are judged in the
order (time, row); a window is trailing, (t - timespan, t]; a rule fires at the event that makes its condition true
and then forgets that key's events; a detection joins the open incident of its (rule, key) when it comes at most
join_within after that incident's last detection.
"""

import csv
import datetime

RULES = {
    # name: (key, distinct value or None, at least, timespan in minutes, join_within in minutes)
    "repeat-location": ("place", None, 2, 10, 30),
    "multi-agency": ("place", "agency", 2, 10, 30),
    "area-surge": ("township", None, 5, 30, 60),
}


def read_rows(path):
    """Rows of a calls CSV as dicts with row, minute (datetime), place, agency, township."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = []
        for number, row in enumerate(csv.DictReader(file), start=1):
            rows.append(
                {
                    "row": number,
                    "minute": datetime.datetime.strptime(row["time"], "%Y-%m-%d %H:%M"),
                    "place": f"{row['lat']},{row['lng']}",
                    "agency": row["title"].split(":")[0],
                    "township": row["township"],
                }
            )
        return rows


def answers(rows):
    """{rule: {"detections": [(key, "2016-01-15T13:24:00Z", (row, …)), …] sorted, "incidents": count}}."""
    ordered = sorted(rows, key=lambda row: (row["minute"], row["row"]))
    result = {}
    for name, (key_field, value_field, at_least, timespan, join_within) in RULES.items():
        windows = {}
        last_detection = {}
        detections = []
        incidents = 0
        for row in ordered:
            key, now = row[key_field], row["minute"]
            start = now - datetime.timedelta(minutes=timespan)
            window = [old for old in windows.get(key, []) if old["minute"] > start] + [row]
            size = len({old[value_field] for old in window}) if value_field else len(window)
            windows[key] = window
            if size < at_least:
                continue
            windows[key] = []
            detections.append((key, now.strftime("%Y-%m-%dT%H:%M:%SZ"), tuple(old["row"] for old in window)))
            last = last_detection.get(key)
            if last is None or now - last > datetime.timedelta(minutes=join_within):
                incidents += 1
            last_detection[key] = now
        result[name] = {"detections": sorted(detections), "incidents": incidents}
    return result
