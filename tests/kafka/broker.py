#!/usr/bin/env python3
"""One real Kafka broker for a test run, by the recipe in cli/broker/README.md.

    broker.py start --state DIR    a fresh broker on free ports; returns when it has started
    broker.py stop --state DIR     ends it
    broker.py kill --state DIR     ends it at once (SIGKILL)
    broker.py resume --state DIR   starts it again on its ports and its data

DIR holds its data, its log (broker.log), its pid and, in `address`, host:port. ctest calls both as the fixture
kafka_broker; by hand they serve a test under a debugger (then: TOCSIN_TEST_KAFKA=$(cat DIR/address) the-test).
"""

import argparse
import base64
import os
import pathlib
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time

RECIPE = pathlib.Path(__file__).resolve().parents[2] / "cli" / "broker"
START_SECONDS = 60
STOP_SECONDS = 15


def fail(message):
    sys.exit(f"broker.py: {message}")


def jars_folder():
    """Where cli/broker/fetch has put the jars; fetches them where that has not happened yet."""
    if os.environ.get("TOCSIN_KAFKA_JARS"):
        return os.environ["TOCSIN_KAFKA_JARS"]
    done = subprocess.run([RECIPE / "fetch"], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        fail("the broker's jars are not there (above)")
    return done.stdout.strip()


def free_ports(count):
    """Ports that nobody listens on now. All are held until the last is found, so that they differ."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def java(jars, *arguments):
    return ["java", "-XX:+UseSerialGC", f"-Dlog4j2.configurationFile={RECIPE / 'log4j2.xml'}",
            "-Dlog4j2.disable.jmx=true", *arguments[:-1], "-cp", f"{jars}/*", *arguments[-1]]


def running_pid(state):
    """The broker's pid, if that process lives and is this folder's broker and no other that got its number."""
    try:
        pid = int((state / "pid").read_text())
        command = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    return pid if str(state / "server.properties").encode() in command else None


def stop(state):
    pid = running_pid(state)
    if pid is None:
        return
    os.kill(pid, signal.SIGCONT)
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while running_pid(state) is not None:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            deadline += STOP_SECONDS
        time.sleep(0.05)


def kill(state):
    pid = running_pid(state)
    if pid is None:
        fail(f"no broker of {state} runs")
    os.kill(pid, signal.SIGKILL)
    while running_pid(state) is not None:
        time.sleep(0.01)


def resume(state):
    if launch(state, jars_folder()) is None:
        fail(f"the broker does not start again; see {state / 'broker.log'}")


def launch(state, jars):
    """Starts the broker in `state` as it is configured there; None, when it ends before it has started."""
    with open(state / "broker.log", "ab") as log:
        seen = log.tell()
        # A session of its own: Ctrl-C at the terminal ends ctest, and the next start cleans up here.
        broker = subprocess.Popen(
            java(jars, "-Xms128m", "-Xmx512m", ["kafka.Kafka", str(state / "server.properties")]),
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=state, start_new_session=True)
    (state / "pid").write_text(str(broker.pid))
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if b"Kafka Server started" in (state / "broker.log").read_bytes()[seen:]:
            return broker.pid
        if broker.poll() is not None:
            return None
        time.sleep(0.05)
    broker.kill()
    broker.wait()
    return None


def start(state):
    if shutil.which("java") is None:
        fail("java is missing. On Debian: apt-get install openjdk-17-jdk-headless")
    jars = jars_folder()
    stop(state)
    for _ in range(3):  # somebody may take a port between its choice and its use
        shutil.rmtree(state, ignore_errors=True)
        state.mkdir(parents=True)
        port, controller_port = free_ports(2)
        text = (RECIPE / "server.properties").read_text()
        for name, value in (("PORT", port), ("CONTROLLER_PORT", controller_port), ("DATA_DIR", state / "data")):
            text = text.replace(f"@{name}@", str(value))
        (state / "server.properties").write_text(text)
        cluster_id = "A" + base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")[1:]
        formatted = subprocess.run(
            java(jars, "-Xmx256m", "-XX:TieredStopAtLevel=1",
                 ["kafka.tools.StorageTool", "format", "--ignore-formatted", "-t", cluster_id,
                  "-c", str(state / "server.properties")]),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if formatted.returncode != 0:
            fail(f"formatting failed:\n{formatted.stdout}")
        if launch(state, jars) is not None:
            (state / "address").write_text(f"127.0.0.1:{port}")
            return
    fail(f"the broker does not start; {state / 'broker.log'} says:\n"
         + (state / "broker.log").read_text(errors="replace")[-4000:])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=["start", "stop", "kill", "resume"])
    parser.add_argument("--state", required=True, type=lambda text: pathlib.Path(text).resolve())
    arguments = parser.parse_args()
    {"start": start, "stop": stop, "kill": kill, "resume": resume}[arguments.verb](arguments.state)


if __name__ == "__main__":
    main()
