#!/usr/bin/env python3
"""What does a request cost our servers in CPU time, and what does it cost others?

    cargo build --release
    python3 benches/peers.py --rounds 5 > table.md

Each server in turn gets the same fixed rate from `resetstorm capacity --rate`, well below its
knee: the server on CPU 0, the generator on CPU 1, one answer in a hundred missing fails the
round. The figure is the CPU time of the server, user and system, by each start of the load, as
the kernel counted it; it hardly moves when neighbours are busy, where rates do. Medians of the
rounds, lowest and highest in brackets. Peers from Debian: dnsmasq-base, nginx-light, openssl;
one that is not installed has no row. dnsmasq takes port 69, so that is for root. Loopback only.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
HOLD_S, WARM_UP_S = 4.0, 0.5
# A connection each, as phones ask.
NGINX = """daemon off; worker_processes 1; pid {dir}/nginx.pid; error_log /dev/null;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_timeout 0;
client_body_temp_path {dir}/t; proxy_temp_path {dir}/t; fastcgi_temp_path {dir}/t;
uwsgi_temp_path {dir}/t; scgi_temp_path {dir}/t;
server {{ listen 127.0.0.1:6988 reuseport backlog=4096; root {dir}/files; }} }}
"""


def start(words, ready, **more):
    """A server on CPU 0 that is `ready`."""
    child = subprocess.Popen(["taskset", "-c", "0", *words], stdin=subprocess.DEVNULL, **more)
    deadline = time.monotonic() + 30
    while not ready():
        if child.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"{words[0]} did not start")
        time.sleep(0.05)
    return child


def cpu_s(pid):
    """CPU time of a process and of its children that still live."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return own + sum(cpu_s(int(child)) for child in children)


def bound(port):
    """Whether somebody has this UDP or TCP port."""
    found = subprocess.run(["ss", "-Hlntu", f"sport = :{port}"], capture_output=True, text=True)
    return found.stdout.strip() != ""


class Bench:
    def __init__(self, args, folder):
        self.args, self.dir = args, folder
        files = folder / "files"
        files.mkdir()
        for name, size in (("f8k", 8_192), ("f100k", 102_400)):
            (files / name).write_bytes(os.urandom(size))
            (files / name).chmod(0o644)
            (folder / f"{name}.txt").write_text(f"{name}\n")
        folder.chmod(0o755)

    def ours(self):
        """Our cluster with the files, its ports and where its certificates are."""
        out = self.dir / "ports.json"
        out.write_text("")
        ports = [f"--set=cluster.node.pub.ports.{name}=0" for name in ("tftp", "http", "https", "tvs")]
        words = [self.args.program, "serve", str(HOME / "scenarios/https-provisioning.toml"), *ports,
                 "--files", str(self.dir / "files"), "--state", str(self.dir / "state"),
                 "--phones", "100", "--quiet", "--format", "json"]
        with open(out, "w") as to:
            child = start(words, lambda: out.read_text().rstrip().endswith("}"), stdout=to,
                          stderr=subprocess.DEVNULL)
        node = next(n for n in json.loads(out.read_text())["nodes"] if n["node"] == "pub")
        return child, node

    def dnsmasq(self):
        words = ["dnsmasq", "-C", "/dev/null", "--no-daemon", "--port=0", "--enable-tftp",
                 f"--tftp-root={self.dir / 'files'}", "--tftp-max=4000", "--user=root",
                 "--listen-address=127.0.0.1", "--bind-interfaces", "--quiet-tftp"]
        child = start(words, lambda: bound(69), stderr=subprocess.DEVNULL)
        return child, {"tftp": 69}

    def nginx(self):
        conf = self.dir / "nginx.conf"
        conf.write_text(NGINX.format(dir=self.dir))
        child = start(["nginx", "-c", str(conf)], lambda: bound(6988), stderr=subprocess.DEVNULL)
        return child, {"http": 6988}

    def load(self, pid, target, rate):
        """CPU microseconds of the server by each start, or None if it lost some."""
        words = ["taskset", "-c", "1", self.args.program, "capacity", *target, "--rate", str(rate),
                 "--hold", f"{HOLD_S}s", "--warm-up", f"{int(WARM_UP_S * 1000)}ms", "--format", "json",
                 "--out", str(self.dir / "runs")]
        before = cpu_s(pid)
        run = subprocess.run(words, capture_output=True, text=True)
        spent = cpu_s(pid) - before
        try:
            level = json.loads(run.stdout)["capacity"]["steps"][0]
        except (ValueError, KeyError, IndexError):
            print(run.stderr[-600:], file=sys.stderr)
            return None
        if level["ok"] < 0.99 * level["planned"]:
            print(f"{' '.join(target)}: {level['ok']} of {level['planned']}", file=sys.stderr)
            return None
        return spent * 1e6 / (rate * (HOLD_S + WARM_UP_S))


def signatures_per_s():
    """RSA-2048 signatures a CPU second of OpenSSL on CPU 0."""
    words = ["taskset", "-c", "0", "openssl", "speed", "-seconds", "2", "-mr", "rsa2048"]
    said = subprocess.run(words, capture_output=True, text=True).stdout
    line = next(line for line in said.splitlines() if line.startswith("+F2:"))
    return 1 / float(line.split(":")[3])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--program", default=str(HOME / "target/release/resetstorm"))
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    tftp = lambda name, block: lambda b, at: ["--tftp", f"127.0.0.1:{at['tftp']}", "--block-size",
                                              str(block), "--names", str(b.dir / f"{name}.txt")]
    http = lambda b, at: ["--http", f"127.0.0.1:{at['http']}", "--names", str(b.dir / "f8k.txt")]
    tvs = lambda b, at: ["--tvs", f"127.0.0.1:{at['tvs']}", "--insecure", "--ask",
                         str(b.dir / "state/pub/CallManager.pem")]
    rows = [("TFTP, 8 KB in blocks of 512", tftp("f8k", 512), 1_500, ["ours", "dnsmasq"]),
            ("TFTP, 8 KB in blocks of 1428", tftp("f8k", 1_428), 3_000, ["ours", "dnsmasq"]),
            ("TFTP, 100 KB in blocks of 1428", tftp("f100k", 1_428), 300, ["ours", "dnsmasq"]),
            ("HTTP, 8 KB, a connection each", http, 3_000, ["ours", "nginx"]),
            ("TVS, a lookup and its handshake", tvs, 500, ["ours"])]
    installed = {"ours": True, "dnsmasq": shutil.which("dnsmasq"), "nginx": shutil.which("nginx")}
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(args, Path(folder))
        for _ in range(args.rounds):
            for title, target, rate, servers in rows:
                for name in filter(installed.get, servers):
                    child, at = getattr(bench, name)()
                    try:
                        figure = bench.load(child.pid, target(bench, at), rate)
                    finally:
                        child.terminate()
                        child.wait()
                    figures.setdefault((title, name), []).extend([] if figure is None else [figure])
            figures.setdefault("sign", []).append(1e6 / signatures_per_s())
    sign = statistics.median(figures["sign"])
    print("| what | rate, 1/s | server | CPU by start, µs | ratio |\n|---|---|---|---|---|")
    for title, _, rate, servers in rows:
        ours = figures.get((title, "ours"))
        for name in servers:
            got = figures.get((title, name))
            if not got or not ours:
                print(f"| {title} | {rate} | {name} | not measured | |")
                continue
            ratio = f"{statistics.median(got) / statistics.median(ours):.2f} × ours" if name != "ours" else ""
            if title.startswith("TVS"):
                ratio = f"{sign / statistics.median(got):.2f} of OpenSSL's sign rate"
            span = f"{statistics.median(got):.0f} ({min(got):.0f}–{max(got):.0f}), n={len(got)}"
            print(f"| {title} | {rate} | {name} | {span} | {ratio} |")
    print(f"\nOne RSA-2048 signature of OpenSSL: {sign:.0f} µs.")


if __name__ == "__main__":
    main()
