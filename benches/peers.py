#!/usr/bin/env python3
"""How fast is this program beside the limits of the machine and other people's servers?

Runs `resetstorm serve`, the canned responders of a measuring kit (the bounds) and the installed
peers (dnsmasq, nginx) in turns, loads each with the kit's clients, and prints a Markdown table:
what each does in a second of its own CPU time, and the ratios with their goals.

    cargo build --release
    benches/peers.py KIT target/release/resetstorm
    benches/peers.py KIT target/release/resetstorm --rows tftp,http --rounds 1 --keep all.jsonl
    benches/peers.py KIT target/release/resetstorm --table all.jsonl

KIT is the folder of the kit, with the programs tftpblast, tftpsink, httpblast, httpsink, tvsblast,
tvssink and cryptobench built in `target/release` of it or of their own folders. With --keep each
figure is appended to a file, so that a sitting can be taken in pieces; --table prints the table of
such a file and measures nothing.

The measured side has CPU 0 for itself and the load CPU 1. CPU seconds are utime and stime of
/proc/PID/stat over the measured time: they hardly move when other programs want the core, where
times by the clock do. So ratios of one sitting hold, and rates by the clock are not told. Loopback
only; ends what it started. Python 3 and nothing else; openssl for the peers' key; dnsmasq listens
on port 69 and needs root.

The HTTP rows ask for the fleet's own configurations if httpblast asks for the names of our phones
(its README tells where they stand), else for the same files out of a folder (`serve --files`).
"""

import argparse
import contextlib
import http.client
import json
import os
import pathlib
import platform
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

SERVER_CPU, CLIENT_CPU = 0, 1
# Seconds; the system counts in hundredths.
CPU_LEAST = 0.2
PHONES = 2_000
OPEN_AT_ONCE = 50_000
PROGRAMS = ["tftpblast", "tftpsink", "httpblast", "httpsink", "tvsblast", "tvssink", "cryptobench"]

# One node that signs with SHA-512, whatever ports are free.
SCENARIO = """
schema = 1
name   = "peers"
[cluster]
release    = "14"
sign-cache = "lazy"
[[cluster.node]]
name     = "pub"
address  = "127.0.0.1"
services = ["callmanager", "tftp", "tvs", "capf"]
ports    = {{ tftp = 0, http = 0, https = 0, tvs = 0, capf = 0 }}
[fleet]
phones = {phones}
"""

NGINX = """
daemon off; worker_processes 1; error_log {dir}/error.log crit; pid {dir}/pid; user root;
events {{ worker_connections 8192; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000;
  client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
  uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
  server {{
    listen 127.0.0.1:{http} backlog=4096;
    listen 127.0.0.1:{https} ssl backlog=4096;
    ssl_certificate {dir}/peer.pem; ssl_certificate_key {dir}/peer.key;
    ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache off; ssl_session_tickets off;
    root {root};
  }}
}}
"""


class Lacking(Exception):
    """A figure cannot be taken, and why."""


def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def pinned(cpu):
    """For a child: only this CPU, if the machine has it, and as many descriptors as allowed."""
    def prepare():
        if os.cpu_count() > cpu:
            os.sched_setaffinity(0, {cpu})
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return prepare


@contextlib.contextmanager
def running(command, cpu=SERVER_CPU, **more):
    """A server, until the block ends."""
    more.setdefault("stdout", subprocess.DEVNULL)
    server = subprocess.Popen([str(word) for word in command], preexec_fn=pinned(cpu),
                              stderr=subprocess.DEVNULL, **more)
    try:
        yield server
    finally:
        if server.poll() is None:
            server.send_signal(signal.SIGINT if "resetstorm" in str(command[0]) else signal.SIGTERM)
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def until(condition, what, patience=60):
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            raise Lacking(f"{what} did not come up")
        time.sleep(0.02)


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def binds(port):
    """Whether somebody has this UDP port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
        return False


def memory(pid, field):
    """A field of /proc/PID/status in bytes."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1_024
    raise Lacking(f"no {field} of the server")


class Sitting:
    """All that is measured: where programs and files are, and the figures so far."""

    def __init__(self, options, scratch):
        self.kit, self.ours = pathlib.Path(options.kit).resolve(), pathlib.Path(options.program).resolve()
        self.seconds, self.keep = options.seconds, options.keep
        self.scratch = scratch
        self.provider = options.provider
        self.figures = []
        self.lacks = {}

    def program(self, name):
        places = [self.kit / "target/release" / name, *self.kit.glob(f"*/target/release/{name}")]
        for place in places:
            if place.is_file():
                return place
        raise Lacking(f"{name} of the kit is not built")

    def peer(self, name):
        found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
        if not found:
            raise Lacking(f"{name} is not installed")
        return found

    def say(self, row, who, value):
        figure = {"row": row, "who": who, "value": value}
        self.figures.append(figure)
        if self.keep:
            with open(self.keep, "a") as kept:
                kept.write(json.dumps(figure) + "\n")
        print(f"  {row}: {who} {value:,.4g}", file=sys.stderr)

    def blast(self, name, *words, seconds=None, warmup=0.7):
        """What a client of the kit says after its time; nothing may have failed."""
        length = seconds or self.seconds
        command = [self.program(name), *words, "--json", "--warmup", warmup, "--duration", length]
        if os.cpu_count() > CLIENT_CPU:
            command += ["--pin", CLIENT_CPU]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True,
                              timeout=length + warmup + 60, preexec_fn=pinned(CLIENT_CPU))
        if done.returncode != 0:
            raise Lacking(f"{name}: {(done.stderr or done.stdout).strip()[-200:]}")
        said = json.loads(done.stdout)
        if said.get("pid_cpu", 1) * said["secs"] < CPU_LEAST:
            raise Lacking(f"the server had less than {CPU_LEAST} s of its CPU: other programs had it")
        faults = ["fails", "connect_err", "tls_err", "proto_err", "short", "wrong", "timeout"]
        failed = sum(said.get(fault, 0) for fault in faults)
        if failed:
            print(f"  {name}: {failed} failed", file=sys.stderr)
        return said

    # What is served

    def files(self):
        """A folder with files of fixed length, and the trees of a fleet, made once."""
        plain = self.scratch / "plain"
        if not plain.exists():
            plain.mkdir()
            for name, length in [("f8k", 8_192), ("f100k", 102_400)]:
                (plain / name).write_bytes(os.urandom(length))
            subprocess.run([self.program("httpblast"), "--make", plain, "--phones", str(PHONES)],
                           check=True, capture_output=True)
        return plain

    @contextlib.contextmanager
    def our_server(self, phones=PHONES, tree=False):
        scenario = self.scratch / f"of-{phones}.toml"
        scenario.write_text(SCENARIO.format(phones=phones))
        command = [self.ours, "serve", scenario, "--files", self.files(), "--format", "json"]
        command += ["--state", self.scratch / f"state-{phones}", "--crypto", self.provider]
        folder = self.scratch / "tree"
        if tree:
            # All signatures are made for it, and are in the cache afterwards.
            command += ["--write-files", folder]
        with running(command, stdout=subprocess.PIPE, text=True) as server:
            text = ""
            while True:
                line = server.stdout.readline()
                text += line
                if not line or line == "}\n":
                    break
            if not text:
                raise Lacking("our server did not start")
            node = json.loads(text)["nodes"][0]
            node["pid"], node["tree"] = server.pid, folder / "pub"
            yield node

    def peer_key(self):
        key, certificate = self.scratch / "peer.key", self.scratch / "peer.pem"
        if not key.exists():
            subprocess.run([self.peer("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-sha256",
                            "-days", "30", "-subj", "/CN=peer.example", "-keyout", key, "-out", certificate],
                           check=True, capture_output=True)
        return certificate, key

    @contextlib.contextmanager
    def dnsmasq(self, root):
        if binds(69):
            raise Lacking("port 69 is taken, or not ours to take")
        command = [self.peer("dnsmasq"), "-C", "/dev/null", "--no-daemon", "--port=0", "--enable-tftp",
                   f"--tftp-root={root}", "--tftp-max=4000", "--listen-address=127.0.0.1",
                   "--bind-interfaces", "--user=root", "--quiet-tftp"]
        with running(command) as server:
            until(lambda: binds(69), "dnsmasq", 10)
            yield 69, server.pid

    @contextlib.contextmanager
    def nginx(self, root):
        ports = {"http": free_port(), "https": free_port()}
        certificate, _ = self.peer_key()
        config = self.scratch / "nginx.conf"
        config.write_text(NGINX.format(dir=self.scratch, root=root, **ports))
        with running([self.peer("nginx"), "-c", config, "-e", self.scratch / "error.log"]) as master:
            until(lambda: listens(ports["http"]), "nginx", 10)
            children = pathlib.Path(f"/proc/{master.pid}/task/{master.pid}/children")
            until(lambda: children.read_text().split(), "nginx", 10)
            yield {**ports, "pid": int(children.read_text().split()[0]), "certificate": certificate}

    @contextlib.contextmanager
    def sink(self, name, *words, udp=False):
        port = free_port(socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
        command = [self.program(name), "--listen", f"127.0.0.1:{port}", *words]
        with running(command) as server:
            until(lambda: binds(port) if udp else listens(port), name, 10)
            yield port, server.pid

    # TFTP

    def tftp(self):
        """Files of 8 KB and 100 KB, 100 transfers in flight; a signed configuration of each phone."""
        plain = self.files()
        rows = [
            ("TFTP, 8 KB at 512", ["--name", "f8k"], 512, 1, plain),
            ("TFTP, 8 KB at 1428", ["--name", "f8k"], 1428, 1, plain),
            ("TFTP, 100 KB at 1428", ["--name", "f100k"], 1428, 1, plain),
            ("TFTP, 100 KB at 1428, windows of 8", ["--name", "f100k"], 1428, 8, plain),
            ("TFTP, signed configurations at 512", None, 512, 1, None),
            ("TFTP, signed configurations at 1428", None, 1428, 1, None),
        ]
        with self.our_server(tree=True) as ours:
            names = self.scratch / "names"
            of_phones = sorted(ours["tree"].glob("SEP*.cnf.xml.sgn"))
            names.write_text("".join(path.name + "\n" for path in of_phones))
            for row, wanted, blksize, window, root in rows:
                root = root or ours["tree"]
                wanted = wanted or ["--names-file", names]
                file = root / wanted[1] if wanted[0] == "--name" else of_phones[0]

                # The responder has one file.
                only = ["--name", file.name]

                def read(who, port, pid, window=window):
                    asked = only if who == "bound" else wanted
                    words = ["--server", f"127.0.0.1:{port}", *asked, "--root", root, "--blksize", blksize,
                             "--tsize", "--mode", "shared", "--concurrency", 100, "--watch-pid", pid]
                    if window > 1:
                        words += ["--windowsize", window]
                    self.say(row, who, self.blast("tftpblast", *words)["per_server_cpu_s"])

                gso = ["--windowsize", window, "--gso"] if window > 1 else ["--io", "single"]
                bound = self.sink("tftpsink", "--file", file, "--blksize", blksize, *gso, udp=True)
                self.of(row, "bound", bound, lambda at: read("bound", *at))
                self.of(row, "ours", contextlib.nullcontext(ours), lambda at: read("ours", at["tftp"], at["pid"]))
                # dnsmasq takes no windowsize.
                self.of(row, "dnsmasq", self.dnsmasq(root), lambda at: read("dnsmasq", *at, window=1))

    def many(self):
        """50,000 configurations asked for within half a second: requests that had to be sent again."""
        row = "50,000 transfers open at once"
        with self.our_server(phones=OPEN_AT_ONCE) as ours:
            names = self.scratch / "names-many"
            names.write_text("".join(f"SEP{0x0C75BD000000 + phone:012X}.cnf.xml\n" for phone in range(OPEN_AT_ONCE)))
            before = memory(ours["pid"], "VmRSS")
            words = ["--server", f"127.0.0.1:{ours['tftp']}", "--names-file", names, "--blksize", 512,
                     "--mode", "shared", "--sockets", 8, "--concurrency", OPEN_AT_ONCE, "--ramp-ms", 500]
            said = self.blast("tftpblast", *words, seconds=15, warmup=0)
            self.say(row, "RRQs sent again per 100", 100 * said["rrq_rexmit"] / max(1, said["transfers"]))
            self.say(row, "transfers", said["transfers"])
            self.say(row, "failed", said["fails"])
            self.say(row, "bytes a transfer", (memory(ours["pid"], "VmHWM") - before) / OPEN_AT_ONCE)

    # HTTP

    def web_root(self, ours):
        """The folder that the peers serve, with the lengths of a configuration and of a list."""
        made = self.scratch / "made"
        if not made.exists():
            subprocess.run([self.program("httpblast"), "--make", made, "--phones", "1"], check=True, capture_output=True)
        name = next(path.name for path in made.iterdir() if path.name.startswith("SEP"))
        root = ours["tree"] if (ours["tree"] / name).is_file() else self.files()
        lengths = [(root / prefix).stat().st_size for prefix in (name, "ITL" + name.split(".")[0] + ".tlv")]
        return root, ["--len-cnf", lengths[0], "--len-itl", lengths[1]]

    def http(self):
        """Configurations over HTTP, 100 connections in flight; one of each, and four files of each."""
        with self.our_server(tree=True) as ours:
            root, lengths = self.web_root(ours)
            fleet = "the fleet's files" if root == ours["tree"] else "files of a folder"
            for row, words in [(f"HTTP, a connection each ({fleet})", []),
                               (f"HTTP, 4 files a connection ({fleet})", ["--per-conn", 4, "--seq", "ctl,itl,cnf,cnf"])]:
                def fetch(who, port, pid):
                    said = self.blast("httpblast", "--server", f"127.0.0.1:{port}", *words, *lengths, "--phones", PHONES,
                                      "--concurrency", 100, "--watch-pid", pid)
                    self.say(row, who, said["per_server_cpu_s"])

                self.of(row, "bound", self.sink("httpsink", *lengths), lambda at: fetch("bound", *at))
                self.of(row, "ours", contextlib.nullcontext(ours), lambda at: fetch("ours", at["http"], at["pid"]))
                self.of(row, "nginx", self.nginx(root), lambda at: fetch("nginx", at["http"], at["pid"]))

    def https(self):
        """A configuration over HTTPS with RSA-2048, TLS 1.2, a full handshake each."""
        row = "HTTPS, RSA-2048, TLS 1.2"
        with self.our_server(tree=True) as ours:
            root, lengths = self.web_root(ours)
            certificate, key = self.peer_key()
            own = self.scratch / f"state-{PHONES}/pub/CallManager.pem"

            def fetch(who, port, pid, pin):
                said = self.blast("httpblast", "--server", f"127.0.0.1:{port}", *lengths, "--phones", PHONES, "--tls", "1.2",
                                  "--pin-cert", pin, "--concurrency", 100, "--watch-pid", pid)
                self.say(row, who, said["per_server_cpu_s"])

            sink = self.sink("httpsink", *lengths, "--cert", certificate, "--key", key, "--provider", self.kit_provider())
            self.of(row, "bound", sink, lambda at: fetch("bound", *at, certificate))
            self.of(row, "ours", contextlib.nullcontext(ours), lambda at: fetch("ours", at["https"], at["pid"], own))
            self.of(row, "nginx", self.nginx(root), lambda at: fetch("nginx", at["https"], at["pid"], certificate))
            self.of(row, "sign rate", contextlib.nullcontext(), lambda _: self.sign_rate(row))

    def kit_provider(self):
        return "aws" if self.provider.startswith("aws") else "ring"

    def sign_rate(self, row):
        """Bare RSA-2048 signatures of the provider in a CPU second."""
        done = subprocess.run([self.program("cryptobench"), "prim", "--rounds", "1", "--ms", "50"], text=True,
                              capture_output=True, check=True, preexec_fn=pinned(SERVER_CPU))
        name = "aws-lc-rs" if self.provider.startswith("aws") else "ring"
        for line in done.stdout.splitlines():
            words = line.split()
            if words[:3] == ["rsa2048", "sign", "sha256"] and name in words:
                return self.say(row, "sign rate", float(words[words.index("median") + 1]))
        raise Lacking("cryptobench tells no RSA-2048 sign rate")

    # TVS

    def tvs(self):
        """Look-ups with a full RSA-2048 handshake, 100 and 2,000 in flight."""
        with self.our_server(tree=True) as ours:
            certificate, key = self.peer_key()
            folder = self.scratch / f"state-{PHONES}/pub"
            # Handshakes come in waves of all that are in flight: several must fit.
            for row, flight, warmup, length in [("TVS, 100 in flight", 100, 1, max(3, self.seconds)),
                                                ("TVS, 2,000 in flight", 2_000, 5, max(12, self.seconds))]:
                def ask(who, port, pid, pin):
                    said = self.blast("tvsblast", "--server", f"127.0.0.1:{port}", "--cert", folder / "CallManager.pem",
                                      "--expect", "any", "--pin-cert", pin, "--tls", "1.2", "--concurrency", flight,
                                      "--watch-pid", pid, warmup=warmup, seconds=length)
                    self.say(row, who, said["per_server_cpu_s"])

                sink = self.sink("tvssink", "--cert", certificate, "--key", key, "--provider", self.kit_provider())
                self.of(row, "bound", sink, lambda at: ask("bound", *at, certificate))
                self.of(row, "ours", contextlib.nullcontext(ours),
                        lambda at: ask("ours", at["tvs"], at["pid"], folder / "TVS.pem"))
                self.of(row, "sign rate", contextlib.nullcontext(), lambda _: self.sign_rate(row))

    # Whole runs

    def summary(self, *words):
        out = self.scratch / "run"
        shutil.rmtree(out, ignore_errors=True)
        command = [self.ours, *words, "--out", out, "--progress", "none"]
        with open(os.devnull, "w") as nothing:
            child = subprocess.Popen([str(word) for word in command], stdout=nothing, stderr=subprocess.PIPE, text=True)
            told = child.stderr.read()
            _, status, used = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
        found = list(out.rglob("summary.json"))
        if not found:
            raise Lacking(f"no summary: {told[-200:]}")
        return json.loads(found[0].read_text()), used

    def parts(self, blksize=512):
        """CPU seconds of the client and of the bound for each piece of a boot, by the kit."""
        costs = {}
        with self.our_server(tree=True) as ours:
            lists, config = ours["tree"] / "ITLFile.tlv", next(ours["tree"].glob("SEP*.cnf.xml.sgn"))
            shared = ["--blksize", blksize, "--mode", "shared", "--concurrency", 2_000]
            for what, file in [("list", lists), ("config", config)]:
                with self.sink("tftpsink", "--file", file, "--blksize", blksize, "--io", "single", udp=True) as (port, pid):
                    said = self.blast("tftpblast", "--server", f"127.0.0.1:{port}", "--name", file.name, "--tsize", *shared,
                                      "--watch-pid", pid, warmup=1)
                costs[what] = 1 / said["per_client_cpu_s"], 1 / said["per_server_cpu_s"]
            said = self.blast("tftpblast", "--server", f"127.0.0.1:{ours['tftp']}", "--name", "CTLSEP000000000000.tlv",
                              "--expect-error", 1, "--rotate", 1, "--mode", "shared", "--concurrency", 100,
                              "--watch-pid", ours["pid"])
            costs["missing"] = 1 / said["per_client_cpu_s"], 1 / said["per_server_cpu_s"]
            certificate, key = self.peer_key()
            with self.sink("tvssink", "--cert", certificate, "--key", key, "--provider", self.kit_provider(),
                           "--tls", "1.3") as (port, pid):
                said = self.blast("tvsblast", "--server", f"127.0.0.1:{port}", "--cert", certificate, "--expect", "any",
                                  "--pin-cert", certificate, "--tls", "1.3", "--provider", self.kit_provider(),
                                  "--watch-pid", pid, warmup=1.5)
            costs["lookup"] = 1 / said["per_client_cpu_s"], 1 / said["per_server_cpu_s"]
        speed = {(row["what"], row["with"]): row["per_second"] for row in self.speed()}
        costs["verify"] = 1 / speed["verify", "rsa 2048 sha512"], 0
        costs["sign"] = 0, 1 / speed["sign", "rsa 2048 sha512"]
        return costs

    def speed(self):
        done = subprocess.run([self.ours, "speed", "--each", "300ms", "--format", "json", "-q", "--crypto", self.provider],
                              capture_output=True, text=True, check=True)
        return json.loads(done.stdout)["rows"]

    def sha1(self):
        """Signatures of 8 KB by RSA-2048, old and new."""
        row = "SHA-1 signing"
        for speed in self.speed():
            if speed["what"] == "sign" and speed["with"] in ("rsa 2048 sha1", "rsa 2048 sha512"):
                self.say(row, speed["with"], speed["per_second"])

    def storm(self, row, phones):
        """A whole storm, phones and servers in one program: CPU of the phones, and all of it."""
        costs = self.parts()
        scenario = self.scratch / "storm.toml"
        scenario.write_text(STORM.format(phones=phones))
        told, used = self.summary("run", scenario, "--crypto", self.provider)
        ready = told["phones"]["ready"]
        if ready != phones:
            raise Lacking(f"{phones - ready} phones are not ready")
        counts = {"list": phones, "config": phones, "missing": 2 * phones, "lookup": told["tvs"]["lookups"],
                  "verify": told["signatures"]["verified"], "sign": told["signatures"]["made"]}
        client, server = (sum(counts[what] * costs[what][side] for what in counts) for side in (0, 1))
        cpu = told["cpu_s"]
        self.say(row, "boots a CPU second of the phones", phones / cpu["swarm"])
        self.say(row, "by the parts", phones / client)
        self.say(row, "CPU of both ends / arithmetic", (cpu["swarm"] + cpu["serve"]) / (client + server))
        self.say(row, "seconds / arithmetic on two cores", told["fleet_ready_s"]["last"] / ((client + server) / 2))
        self.say(row, "MB", used.ru_maxrss / 1_024)

    def swarm(self):
        self.storm("swarm, 20,000 phones", 20_000)

    def whole(self):
        self.storm("the whole, 50,000 phones", 50_000)

    def sim(self):
        """A million phones of whole-cluster in virtual time, one thread."""
        row = "sim, a million phones of whole-cluster"
        scenario = pathlib.Path(__file__).resolve().parent.parent / "scenarios/whole-cluster.toml"
        _, used = self.summary("sim", scenario, "--phones", 1_000_000)
        self.say(row, "CPU seconds", used.ru_utime + used.ru_stime)
        self.say(row, "MB", used.ru_maxrss / 1_024)

    def of(self, row, who, place, work):
        """One figure; where it cannot be taken the table says why."""
        try:
            with place as at:
                work(at)
        except (Lacking, OSError, subprocess.SubprocessError, ValueError) as error:
            self.lack(row, who, error)

    def lack(self, row, who, error):
        self.lacks[row, who] = str(error)
        print(f"  {row}: {who}: {error}", file=sys.stderr)
        if self.keep:
            with open(self.keep, "a") as kept:
                kept.write(json.dumps({"row": row, "who": who, "lack": str(error)}) + "\n")


# Phones of 8.6 ask TVS about a new signer; SHA-512, because SHA-1 would be the only thing measured.
OLD = 'release    = "8.6"\nfile-signature = "sha512"'
STORM = SCENARIO.replace("peers", "storm").replace('release    = "14"', OLD) + """start = "itl-current"
[phone]
boot-time = "0s"
think     = "0s"
[[event]]
when       = "fleet-settled"
regenerate = {{ certificate = "CallManager", node = "pub" }}
[[event]]
after   = "previous"
restart = {{ service = "tvs", node = "pub" }}
[[event]]
after   = "previous"
restart = {{ service = "tftp", node = "pub" }}
[[event]]
after        = "previous"
reset-phones = {{ spread = "5s" }}
[run]
max-wall = "10m"
"""


# By row: ours, what it is divided by, and the goal of that ratio; negative where less is better.
GOALS = {
    "TFTP, 8 KB at 512": [("ours", "bound", 0.78), ("ours", "dnsmasq", 1.6)],
    "TFTP, 8 KB at 1428": [("ours", "bound", 0.74), ("ours", "dnsmasq", 1.8)],
    "TFTP, 100 KB at 1428": [("ours", "bound", 0.85), ("ours", "dnsmasq", 1.2)],
    "TFTP, 100 KB at 1428, windows of 8": [("ours", "bound", None), ("ours", "dnsmasq", 3.0)],
    "TFTP, signed configurations at 512": [("ours", "bound", 0.78), ("ours", "dnsmasq", 1.6)],
    "TFTP, signed configurations at 1428": [("ours", "bound", 0.74), ("ours", "dnsmasq", 1.8)],
    "50,000 transfers open at once": [("RRQs sent again per 100", None, -0.0), ("bytes a transfer", None, -1_024.0)],
    "HTTP, a connection each": [("ours", "bound", 0.70), ("ours", "nginx", 1.0)],
    "HTTP, 4 files a connection": [("ours", "bound", 0.78), ("ours", "nginx", 1.15)],
    "HTTPS, RSA-2048, TLS 1.2": [("ours", "sign rate", 0.74), ("ours", "bound", None), ("ours", "nginx", None)],
    "TVS, 100 in flight": [("ours", "sign rate", 0.74), ("ours", "bound", None)],
    "TVS, 2,000 in flight": [("ours", "sign rate", None), ("ours", "bound", None)],
    "swarm, 20,000 phones": [("boots a CPU second of the phones", "by the parts", 0.75)],
    "the whole, 50,000 phones": [("boots a CPU second of the phones", "by the parts", 0.75),
                                 ("CPU of both ends / arithmetic", None, -1.08),
                                 ("seconds / arithmetic on two cores", None, -1.08), ("MB", None, None)],
    "SHA-1 signing": [("rsa 2048 sha512", "rsa 2048 sha1", -1.1)],
    "sim, a million phones of whole-cluster": [("CPU seconds", None, -5.0), ("MB", None, -300.0)],
}
ROWS = ["tftp", "many", "http", "https", "tvs", "sha1", "swarm", "whole", "sim"]


def shown(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def spread(values):
    several = f" ({shown(min(values))}–{shown(max(values))})" if len(values) > 1 else ""
    return f"{shown(statistics.median(values))}{several}, {len(values)}"


def table(figures, lacks):
    """The figures as medians (lowest to highest) and their ratios, as Markdown."""
    by_row = {}
    for figure in figures:
        by_row.setdefault(figure["row"], {}).setdefault(figure["who"], []).append(figure["value"])
    lines = ["| row | figures: median (lowest–highest), n | ratio | goal | met |", "| --- | --- | --- | --- | --- |"]
    for row, by in by_row.items():
        told = "; ".join(f"{who} {spread(values)}" for who, values in by.items())
        told += "".join(f"; {who}: {why}" for (of, who), why in lacks.items() if of == row and who not in by)
        for ours, other, goal in GOALS.get(row.split(" (")[0], [(who, None, None) for who in by]):
            if ours not in by or (other and other not in by):
                continue
            value = statistics.median(by[ours]) / (statistics.median(by[other]) if other else 1)
            name = f"x {other}" if other else ours
            wish = "" if goal is None else (f"≥ {goal:g}" if str(goal)[0] != "-" else f"≤ {-goal:g}")
            met = "" if goal is None else ("yes" if (value >= goal if wish[0] == "≥" else value <= -goal) else "no")
            text = f"{value:.2f}" if other else shown(value)
            lines.append(f"| {row} | {told} | {text} {name} | {wish} | {met} |")
            row, told = "", ""
    for (row, who), why in lacks.items():
        if row not in by_row:
            lines.append(f"| {row} | not taken: {who}: {why} | | | |")
    both = [by_row.get(f"TVS, {flight} in flight", {}).get("ours") for flight in ("2,000", "100")]
    if all(both):
        many, few = map(statistics.median, both)
        lines.append(f"| TVS, 2,000 against 100 in flight | | {many / few:.2f} | ≥ 0.9 | {'yes' if many / few >= 0.9 else 'no'} |")
    return "\n".join(lines)


def versions(ours):
    """Lines that say what was measured on what."""
    def first(*command):
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            return (done.stdout or done.stderr).splitlines()[0]
        except (OSError, IndexError):
            return f"{command[0]} is not installed"
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    yield f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} CPUs ({cpu}), Linux {platform.release()}, Python {platform.python_version()}"
    yield f"{first(str(ours), '--version')}; {first('rustc', '--version')}"
    yield f"{first('dnsmasq', '--version')}; {first('nginx', '-v')}; {first('openssl', 'version')}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kit", help="folder of the measuring kit, built")
    parser.add_argument("program", help="our program, a release build")
    parser.add_argument("--rounds", type=int, default=5, help="turns of everything (default 5)")
    parser.add_argument("--rows", default=",".join(ROWS), help=f"of {', '.join(ROWS)} (default all)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement (default 2)")
    parser.add_argument("--provider", default="ring", help="ring or aws-lc-rs, if built in (default ring)")
    parser.add_argument("--keep", help="append each figure to this file, a JSON object a line")
    parser.add_argument("--table", help="print the table of such a file, measure nothing")
    options = parser.parse_args()
    os.environ["PATH"] += ":/usr/sbin:/usr/local/sbin"
    if options.table:
        lines = [json.loads(line) for line in open(options.table)]
        lacks = {(line["row"], line["who"]): line["lack"] for line in lines if "lack" in line}
        print("\n".join(versions(options.program)) + "\n\n" + table([line for line in lines if "value" in line], lacks))
        return
    with tempfile.TemporaryDirectory() as scratch:
        os.chmod(scratch, 0o755)
        sitting = Sitting(options, pathlib.Path(scratch))
        for turn in range(options.rounds):
            for row in options.rows.split(","):
                print(f"{row}, turn {turn + 1}", file=sys.stderr)
                try:
                    getattr(sitting, row)()
                except (Lacking, OSError, subprocess.SubprocessError, ValueError, KeyError) as error:
                    sitting.lack(row, "all", f"{type(error).__name__}: {error}")
        print("\n".join(versions(sitting.ours)) + "\n\n" + table(sitting.figures, sitting.lacks))


if __name__ == "__main__":
    main()
