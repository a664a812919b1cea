"""The oracle finds nothing in right outputs, and every planted bug in wrong ones."""

import copy
import datetime
import random
import unittest

import oracle
import planting

BEGIN = datetime.datetime(2023, 11, 14, tzinfo=datetime.timezone.utc)
REPARTITION = "correlation-faults.events-by-place-repartition"


def event(number, partition, offset, key, place, kind="alarm"):
    time = BEGIN + datetime.timedelta(seconds=number)
    return {"partition": partition, "offset": offset, "key": key,
            "headers": {"ce_source": "/faults", "ce_id": str(number), "ce_sequence": f"{number:012d}",
                        "ce_time": time.isoformat().replace("+00:00", "Z")},
            "value": {"number": number, "key": key, "place": place, "kind": kind}}


def right_history(stamps):
    """Three hundred alarms, and the outputs that they must have, one transaction for each detection."""
    made = random.Random(1)
    offsets = [0, 0]
    events = []
    for number in range(300):
        key = made.randrange(6)
        partition = key % 2
        events.append(event(number, partition, offsets[partition], f"k{key}", f"p{made.randrange(4)}"))
        offsets[partition] += 1
    events.sort(key=lambda record: (record["partition"], record["offset"]))
    history = {"input": events, "end": {"0": offsets[0], "1": offsets[1]},
               "committed_offsets": {"0": offsets[0], "1": offsets[1]}, "outputs": {}, "uncommitted": {}}
    detections, incidents, forwards = [], [], []
    transaction = 0
    for (rule, key), found in oracle.expected(history).items():
        told = []
        for evidence in found:
            transaction += 1
            told.append(f"{rule}-{key}-{evidence[-1]}")
            values = ((detections, {"id": told[-1], "rule": rule, "group_key": [key], "evidence": list(evidence),
                                    "incident": f"{rule}-{key}"}),
                      (incidents, {"id": f"{rule}-{key}", "revision": len(told), "detections": list(told)}),
                      (forwards, None))
            for i, (records, value) in enumerate(values, 1):
                headers = {}
                if stamps:
                    headers = {"tocsin.transaction": f"worker-0/1/{transaction}/{i}/{len(values)}",
                               "tocsin.inputs": f"faults.events:0:{transaction * 10}-{transaction * 10 + 9}"}
                records.append({"partition": 0, "offset": len(records), "key": key, "headers": headers,
                                **({"value": value} if value else {})})
    history["outputs"] = {"detections": detections, "incidents.correlated": incidents, REPARTITION: forwards}
    history["uncommitted"] = copy.deepcopy(history["outputs"])
    return history


class OracleTest(unittest.TestCase):
    def test_right_outputs_are_right(self):
        for stamps in (False, True):
            history = right_history(stamps)
            self.assertGreater(len(history["outputs"]["detections"]), 20)
            self.assertEqual(oracle.check(history), [])

    def test_planted_bugs_are_found(self):
        for stamps in (False, True):
            history = right_history(stamps)
            for name in planting.PLANTS:
                for seed in range(20):
                    planted = planting.plant(name, history, random.Random(seed))
                    self.assertNotEqual(oracle.check(planted), [], f"{name}, seed {seed}, stamps {stamps}")

    def test_stamps_alone_show_a_tear_a_repeat_and_a_swap(self):
        history = right_history(True)
        self.assertEqual(list(oracle.check_stamps(history)), [])
        torn = planting.plant("tear of forwarded events", history, random.Random(1))
        self.assertEqual([kind for kind, _ in oracle.check_stamps(torn)], ["torn"])
        for name, kind in (("duplicate", "doubled"), ("swap", "out of order"), ("tear", "torn"), ("drop", "torn")):
            planted = planting.plant(name, history, random.Random(2))
            self.assertIn(kind, [found for found, _ in oracle.check_stamps(planted)], name)

    def test_inputs_taken_in_twice_are_found(self):
        history = right_history(True)
        history["outputs"]["detections"][3]["headers"]["tocsin.inputs"] = "faults.events:0:15-24"
        self.assertIn("doubled", [kind for kind, _ in oracle.check_inputs(history)])

    def test_dead_letters_that_are_lost_or_too_many_are_found(self):
        history = right_history(False)
        poison = copy.deepcopy(history["input"][0])
        poison["offset"], poison["headers"] = 10_000, {oracle.POISON: "no id"}
        history["input"].append(poison)
        letter = {"partition": 0, "offset": 0, "key": None, "headers": {"dlq.partition": str(poison["partition"]),
                                                                        "dlq.offset": "10000"}}
        for letters, kinds in (([], ["lost"]), ([letter], []), ([letter, letter], ["doubled"]),
                               ([letter, {**letter, "headers": {"dlq.partition": "0", "dlq.offset": "1"}}], ["surplus"])):
            history["outputs"]["faults.events.dlq"] = letters
            self.assertEqual([kind for kind, _ in oracle.check_dead_letters(history)], kinds)

    def test_offsets_that_are_behind_are_found(self):
        history = right_history(False)
        history["committed_offsets"]["1"] -= 1
        self.assertEqual([kind for kind, _ in oracle.check_offsets(history)], ["offsets"])

    def test_an_event_that_came_twice_counts_once(self):
        history = right_history(False)
        again = copy.deepcopy(history["input"][10])
        again["offset"] = 10_000
        history["input"].append(again)
        self.assertEqual(oracle.check(history), [])


if __name__ == "__main__":
    unittest.main()
