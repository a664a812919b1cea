"""A whole running system of one's own: `tocsin up` on free ports, with all state and the profile in a temporary folder."""

import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("TOCSIN_BIN", ROOT / "build" / "release" / "bin"))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(what, condition, timeout):
    """Polls until condition() is true; an AssertionError that names `what` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout} s for {what}")
        time.sleep(0.1)  # the poll interval; the condition decides


class System:
    """Use as a context manager. `up_options` go to `tocsin up` as they are."""

    def __init__(self, *up_options):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="tocsin-e2e-"))
        self.data = self.folder / "data"
        self.gateway, self.registry, self.kafka = (f"127.0.0.1:{free_port()}" for _ in range(3))
        self.up_options = up_options
        self.environment = dict(os.environ, XDG_CONFIG_HOME=str(self.folder / "config"), NO_COLOR="1")

    def __enter__(self):
        try:
            self.up()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *exception):
        subprocess.run([BIN / "tocsin", "down", "--data", self.data], env=self.environment, check=False,
                       capture_output=True, timeout=60)
        if exception and exception[0] is not None:
            self.print_logs()
        shutil.rmtree(self.folder, ignore_errors=True)

    def up(self):
        result = subprocess.run(
            [BIN / "tocsin", "up", "--detach", "--no-demo", "--data", self.data, "--gateway", self.gateway,
             "--registry", self.registry, "--kafka", self.kafka, *self.up_options],
            env=self.environment, capture_output=True, text=True, timeout=180)
        if result.returncode != 0:
            raise AssertionError(f"tocsin up failed with {result.returncode}:\n{result.stdout}\n{result.stderr}")

    def down(self):
        subprocess.run([BIN / "tocsin", "down", "--data", self.data], env=self.environment, check=True,
                       capture_output=True, timeout=60)

    def run(self, *arguments, check=True, timeout=120, **options):
        result = subprocess.run([BIN / "tocsin", *map(str, arguments)], env=self.environment, capture_output=True,
                                text=True, timeout=timeout, **options)
        if check and result.returncode != 0:
            raise AssertionError(f"tocsin {' '.join(map(str, arguments))}: exit {result.returncode}\n"
                                 f"{result.stdout}\n{result.stderr}")
        return result

    def start(self, *arguments, **options):
        return subprocess.Popen([BIN / "tocsin", *map(str, arguments)], env=self.environment, text=True, **options)

    def json(self, *arguments):
        return json.loads(self.run(*arguments, "-o", "json").stdout)

    def token(self, role):
        return self.run("token", "--role", role).stdout.strip()

    def processes(self):
        """{name: pid} of everything that the supervisor runs."""
        return {process["name"]: process["pid"] for process in self.json("status")["processes"]}

    def kill(self, name):
        """kill -9, and waits until the supervisor has another one running."""
        pid = self.processes()[name]
        os.kill(pid, signal.SIGKILL)
        wait_for(f"{name} to be restarted", lambda: self.processes().get(name) not in (None, 0, pid), 30)

    def replay(self, path, *options):
        return self.run("replay", "--pack", "public-safety", "--csv", path, "--speed", "max", *options)

    def print_logs(self):
        for log in sorted((self.data / "logs").glob("*.log")):
            lines = log.read_text(errors="replace").splitlines()
            print(f"--- the end of {log.name}", *lines[-25:], sep="\n")

    def detections(self, rule):
        """Sorted [(key, time, (row, …))], as the oracle gives them."""
        found = []
        for detection in self.json("detections", "list", "--rule", rule):
            rows = tuple(sorted(int(event["sequence"]) for event in detection["evidence"]))
            found.append((",".join(detection["groupKey"]), detection["time"], rows))
        return sorted(found)

    def incident_count(self, rule):
        return len(self.json("incidents", "list", "--rule", rule))

    def await_answers(self, test, expected, timeout=30):
        """Waits until every rule has as many detections as expected, then compares every one, and the incidents."""
        def complete():
            return all(len(self.json("detections", "list", "--rule", rule)) >= len(answer["detections"])
                       for rule, answer in expected.items())
        try:
            wait_for("the detections", complete, timeout)
        except AssertionError:
            pass  # the comparison below says which are missing
        for rule, answer in expected.items():
            want = sorted((key, when, tuple(sorted(rows))) for key, when, rows in answer["detections"])
            test.assertEqual(self.detections(rule), want, rule)
            test.assertEqual(self.incident_count(rule), answer["incidents"], rule)

    def http(self, method, path, headers=None, body=None):
        host, port = self.gateway.split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=10)
        connection.request(method, path, body=body, headers=headers or {})
        return connection.getresponse()
