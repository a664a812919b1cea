"""Real Kafka brokers of one's own in KRaft mode: one, or three with what is written on two at least. Standard library
alone. One thread, unless a method says otherwise."""

import base64
import concurrent.futures
import os
import pathlib
import re
import secrets
import shutil
import signal
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "kafka"))
import broker  # noqa: E402  (lives beside the fixture that it serves)

SETTINGS_OF_THREE = {
    "default.replication.factor": "3", "min.insync.replicas": "2", "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3", "transaction.state.log.min.isr": "2",
    "share.coordinator.state.topic.replication.factor": "3", "share.coordinator.state.topic.min.isr": "2",
    "unclean.leader.election.enable": "false", "controlled.shutdown.enable": "true"}


class Cluster:
    """`count` brokers, each its own controller. `advertised(number, port)` may give another host:port for clients (a
    proxy's); brokers speak among themselves directly. Use as a context manager."""

    def __init__(self, folder, count=1, advertised=None, settings=None):
        self.folders = [folder / f"broker-{number}" for number in range(1, count + 1)]
        self.advertised, self.settings = advertised, settings or {}
        self.count = count
        self.ports, self.internal = [], []
        self.jars = broker.jars_folder()

    @property
    def bootstrap(self):
        """What clients are given."""
        return ",".join(self.advertised(number, port) if self.advertised else f"127.0.0.1:{port}"
                        for number, port in enumerate(self.ports))

    @property
    def direct(self):
        """The brokers themselves, whatever they advertise."""
        return ",".join(f"127.0.0.1:{port}" for port in self.internal)

    def __enter__(self):
        try:
            for _ in range(3):  # somebody may take a port between its choice and its use
                if self._try_start():
                    return self
            raise AssertionError("the brokers do not start:\n" + self.end_of_logs())
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise

    def __exit__(self, *exception):
        # Their data goes with them, and the last of three would wait for the others.
        for folder in self.folders:
            if broker.running_pid(folder) is not None:
                broker.kill(folder)
            shutil.rmtree(folder, ignore_errors=True)

    def _try_start(self):
        ports = broker.free_ports(3 * self.count)
        self.ports, self.internal, controllers = (ports[i * self.count:(i + 1) * self.count] for i in range(3))
        cluster_id = "A" + base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")[1:]
        for number, folder in enumerate(self.folders):
            if broker.running_pid(folder) is not None:
                broker.kill(folder)
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            (folder / "server.properties").write_text(self._properties(number, folder, controllers))
            formatted = subprocess.run(
                broker.java(self.jars, "-Xmx256m", "-XX:TieredStopAtLevel=1",
                            ["kafka.tools.StorageTool", "format", "--ignore-formatted", "-t", cluster_id,
                             "-c", str(folder / "server.properties")]),
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
            if formatted.returncode != 0:
                raise AssertionError(f"formatting failed:\n{formatted.stdout}")
        return self._launch_all()

    def _launch_all(self):
        # None starts before its controllers agree, so all at once.
        with concurrent.futures.ThreadPoolExecutor(self.count) as threads:
            return all(threads.map(lambda folder: broker.launch(folder, self.jars) is not None, self.folders))

    def _properties(self, number, folder, controllers):
        port, inside = self.ports[number], self.internal[number]
        text = (broker.RECIPE / "server.properties").read_text()
        for name, value in (("PORT", port), ("CONTROLLER_PORT", controllers[number]), ("DATA_DIR", folder / "data")):
            text = text.replace(f"@{name}@", str(value))
        public = self.advertised(number, port) if self.advertised else f"127.0.0.1:{port}"
        settings = {
            "node.id": str(number + 1),
            "controller.quorum.voters": ",".join(f"{i + 1}@127.0.0.1:{p}" for i, p in enumerate(controllers)),
            "listeners": f"PLAINTEXT://127.0.0.1:{port},INSIDE://127.0.0.1:{inside},"
                         f"CONTROLLER://127.0.0.1:{controllers[number]}",
            "advertised.listeners": f"PLAINTEXT://{public},INSIDE://127.0.0.1:{inside}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,INSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "INSIDE",
            **(SETTINGS_OF_THREE if self.count > 1 else {}), **self.settings}
        for name, value in settings.items():
            text = re.sub(rf"^{re.escape(name)}=.*\n", "", text, flags=re.MULTILINE)
            text += f"{name}={value}\n"
        return text

    def pid(self, number):
        return broker.running_pid(self.folders[number])

    def kill(self, number):
        broker.kill(self.folders[number])

    def stop(self, number):
        """In order: its partitions are given to others first."""
        broker.stop(self.folders[number])

    def resume(self, number):
        broker.resume(self.folders[number])

    def resume_all(self):
        if not self._launch_all():
            raise AssertionError("the brokers do not start again:\n" + self.end_of_logs())

    def signal(self, number, which):
        os.kill(self.pid(number), which)

    def pause(self, number):
        self.signal(number, signal.SIGSTOP)

    def go_on(self, number):
        self.signal(number, signal.SIGCONT)

    def end_of_logs(self, lines=15):
        return "\n".join(
            f"--- {folder.name}\n" + "\n".join((folder / "broker.log").read_text(errors="replace").splitlines()[-lines:])
            for folder in self.folders if (folder / "broker.log").exists())
