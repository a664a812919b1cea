"""What asks and what is compared with: wrk, and an nginx that serves files."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "tests" / "compat" / "registry"))
from running import JSON_TYPE, broker, wait_for  # noqa: E402

TICKS = os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """The measurement cannot be made, or what was measured is not what was asked for."""


def program(name):
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin")
    if found is None:
        raise BenchError(f"{name} is missing: start this as ./dev bench registry, which installs it")
    return found


def wrk(url, script, arguments, headers, connections, threads, seconds):
    """One run of wrk; its numbers. BenchError when an answer was not 200, or did not come."""
    command = [program("wrk"), "-c", connections, "-t", threads, "-d", seconds, "--timeout", "10s",
               "-s", HERE / script]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    done = subprocess.run([str(part) for part in [*command, url, "--", *arguments]], capture_output=True, text=True,
                          check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("NUMBERS ")]
    if done.returncode != 0 or len(lines) != 1:
        raise BenchError(f"wrk failed:\n{done.stdout}{done.stderr}")
    numbers = json.loads(lines[0].removeprefix("NUMBERS "))
    if numbers["failed"] or numbers["refused"] or not numbers["requests"]:
        raise BenchError(f"{url}: {numbers['requests']} requests, {numbers['refused']} not answered with 200, "
                         f"{numbers['failed']} not at all")
    numbers["per_second"] = numbers["requests"] / numbers["seconds"]
    return numbers


def cpu_seconds(pid):
    """Of a process and its children, so far."""
    total = 0
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(stat.parent.name) == pid or int(fields[1]) == pid:
            total += int(fields[11]) + int(fields[12])
    return total / TICKS


class Nginx:
    """Serves `files` ({path: bytes}) from a folder on a free port. Use as a context manager."""

    def __init__(self, folder, files):
        self.folder = folder
        self.port, = broker.free_ports(1)
        self.process = None
        for path, content in files.items():
            file = folder / "files" / path.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        # As fast as it goes with files: no log, files stay open, connections for ever; the registry's headers.
        (folder / "nginx.conf").write_text(f"""daemon off;
worker_processes {os.cpu_count()};
pid {folder}/nginx.pid;
{"user root;" if os.geteuid() == 0 else ""}
events {{ worker_connections 1024; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000000;
  open_file_cache max=5000 inactive=10m;
  open_file_cache_valid 10m;
  server_tokens off;
  etag off;
  types {{ }}
  default_type {JSON_TYPE};
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{self.port} reuseport;
    root {folder}/files;
    add_header cache-control no-store;
  }}
}}
""")

    def __enter__(self):
        self.process = subprocess.Popen(
            [program("nginx"), "-p", self.folder, "-e", self.folder / "error.log", "-c", self.folder / "nginx.conf"],
            stdin=subprocess.DEVNULL, stdout=sys.stderr, stderr=sys.stderr)
        wait_for("nginx", (self.folder / "nginx.pid").exists, 10)
        return self

    def __exit__(self, *exception):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"
