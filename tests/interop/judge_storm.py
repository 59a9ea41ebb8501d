"""Decides a storm again from the bytes on the wire, with nothing of ours: a capture goes in, and
what must have become of every phone comes out, to be compared with the `summary.json` of the run.

    judge_storm.py CAPTURE SUMMARY [--tftp PORT] [--tvs PORT] [--tvs-certificates N]

Every address that asks for a file is a phone. It is followed through its boots: which file it asked
which server for, what it got, and whether it had to take it by the lists that it held then (formats
and rules are those of real phones: CTL before ITL before TVS, roles, RSA signatures). Phones must
come from the factory, without lists, so that the capture says what they hold; then nothing else has
to be known. Their first boot is power-on, which no summary counts.

Dialogues with TVS are encrypted. What is used of them is who was asked in which order, whether the
phone ended the handshake, and the lengths of question and answer, which must be those that the file
in question and the certificate of its signer (it is in the lists of the capture) call for. Which
certificate a server presented cannot be seen; but phones that took it and phones that refused it
must fit together: with at most N certificates of each server (1), one after the other.

It knows TFTP, not HTTP, and TVS servers by address, not by name; services may restart only while no
phone boots, or a phone that has the older list would count as ready.

Exits with 0 if every count agrees, with 1 if one does not, and with 2 if the capture cannot be
decided, because something is missing or a phone did what no phone does.
"""

import argparse
import collections
import hashlib
import json
import struct
import sys
import xml.etree.ElementTree as ElementTree

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

SAST, CCM, CCM_TFTP, TFTP, CAPF, TVS = 0, 1, 2, 3, 4, 21
CTL_FILE, ITL_FILE, CONFIG = "CTL", "ITL", "config"
DIGESTS = {1: hashes.SHA1(), 3: hashes.SHA512()}
CONTAINERS = {3, 7, 9}
PADDING = 13
# Roles of a record of the CTL, and of the ITL or TVS, that let it vouch for a file.
BY_CTL = {CTL_FILE: {SAST}, ITL_FILE: {SAST, CCM_TFTP}, CONFIG: {CCM_TFTP, TFTP}}
BY_ITL = {CTL_FILE: {SAST}, ITL_FILE: {SAST}, CONFIG: {CCM_TFTP, TFTP}}
TVS_SERVERS_MAX = 3
# TLS 1.3: content type and tag of AES-GCM or ChaCha20 in each record; an alert has two bytes.
SEALED = 17
ALERT = SEALED + 2


class Undecided(Exception):
    """The capture does not say what became of the phones."""


# --- Lists and signed files ---


def elements(data, start, end, enter=()):
    """Tags, values and offsets between two offsets; containers are entered."""
    at = start
    while at < end:
        tag = data[at]
        if tag == PADDING and enter:
            at += 1
            continue
        (length,) = struct.unpack(">H", data[at + 1:at + 3])
        if at + 3 + length > end:
            raise ValueError(f"tag {tag} at {at} runs past {end}")
        yield tag, data[at + 3:at + 3 + length], at
        at += 3 if tag in enter else 3 + length


def normal_name(raw):
    """A name whatever the order of its attributes, case of keys and quotes."""
    text = raw.rstrip(b"\0").decode()
    parts = (part.partition("=") for part in text.split(";"))
    return tuple(sorted((key.strip().upper(), value.strip('" ')) for key, _, value in parts))


def identity(issuer, serial):
    return normal_name(issuer), serial.lstrip(b"\0")


class Signed:
    """A file with a header: who signed it, over which bytes, and what it says."""

    def __init__(self, data):
        self.data = data
        if data[:1] != b"\1" or data[5:6] != b"\2":
            raise ValueError("no header")
        (self.header,) = struct.unpack(">H", data[8:10])
        if not 11 <= self.header <= len(data):
            raise ValueError(f"header length {self.header}")
        fields = {}
        for tag, value, at in elements(data, 0, self.header, CONTAINERS):
            fields[tag] = value
            if tag == 12:
                self.covered = data[:at] + data[at + 3 + len(value):]
        self.digest, self.signature = fields[8][0], fields[12]
        self.subject, self.issuer, self.serial = fields[4], fields[6], fields[5]
        self.signer = identity(self.issuer, self.serial)
        self.body = data[self.header:]

    def fits(self, key):
        """Whether a key (RSAPublicKey or SubjectPublicKeyInfo, DER) has made the signature."""
        try:
            public = serialization.load_der_public_key(key)
            public.verify(self.signature, self.covered, padding.PKCS1v15(), DIGESTS[self.digest])
            return True
        except InvalidSignature:
            return False


class Record:
    """A certificate that a list names."""

    def __init__(self, fields):
        self.role = struct.unpack(">H", fields[4])[0]
        self.holder = identity(fields[5], fields[6])
        self.key = fields[7]
        self.certificate = fields.get(9)
        self.hash = fields[11] if 11 in fields else hashlib.sha1(self.certificate or b"").digest()

    def is_rsa(self):
        """EC keys are points and no DER."""
        return self.key[:1] == b"\x30"


class TrustList(Signed):
    def __init__(self, data):
        super().__init__(data)
        self.records, at = [], self.header
        while at < len(data):
            tag, value, _ = next(elements(data, at, len(data)))
            (length,) = struct.unpack(">H", value)
            if tag != 1 or length < 5 or at + length > len(data):
                raise ValueError(f"record at {at}")
            fields = {tag: value for tag, value, _ in elements(data, at, at + length)}
            if 5 in fields:
                self.records.append(Record(fields))
            at += length

    def find(self, roles, holder):
        fitting = (r for r in self.records if r.role in roles and r.holder == holder)
        return next(fitting, None)

    def has(self, *roles):
        return any(record.role in roles for record in self.records)

    def is_blank(self):
        return not self.has(CCM_TFTP, TFTP, TVS)

    def named(self, *roles):
        """Whom it names in these roles, by certificates with RSA keys."""
        return {r.holder for r in self.records if r.role in roles and r.is_rsa()}


# --- The wire ---


def packets(path):
    """IPv4 packets of a capture in the classic format: protocol, sender, receiver, segment."""
    with open(path, "rb") as file:
        data = file.read()
    magic, link = struct.unpack("<I16xI", data[:24])
    if (magic, link) != (0xA1B2C3D4, 1):
        raise Undecided("this is no classic pcap of Ethernet frames")
    at = 24
    while at + 16 <= len(data):
        kept, length = struct.unpack("<8xII", data[at:at + 16])
        if kept != length:
            raise Undecided("packets are cut")
        frame = data[at + 16:at + 16 + kept]
        at += 16 + kept
        if frame[12:14] != b"\x08\0":
            continue
        ip = frame[14:]
        segment = ip[(ip[0] & 15) * 4:struct.unpack(">H", ip[2:4])[0]]
        if ip[9] in (6, 17):
            ports = struct.unpack(">HH", segment[:4])
            sender, receiver = (".".join(map(str, ip[n:n + 4])) for n in (12, 16))
            yield ip[9], (sender, ports[0]), (receiver, ports[1]), segment


class Asked:
    """A phone asks a server for a file."""

    def __init__(self, file, server):
        self.file, self.server = file, server

    def __str__(self):
        return f"ask {self.server} for {self.file}"


class Answer:
    """The server's answer: content, or None if it has no such file."""

    def __init__(self, content):
        self.content = content

    def __str__(self):
        return "be answered"


class Transfer:
    """Blocks of one pair of ports."""

    def __init__(self):
        self.size, self.blocks = 512, {}

    def whole(self, last):
        """The content, if the phone has acknowledged its last block."""
        if len(self.blocks.get(last, b"" if last else bytes(self.size))) >= self.size:
            return None
        if set(self.blocks) != set(range(1, last + 1)):
            return None
        return b"".join(self.blocks[n] for n in range(1, last + 1))


class Connection:
    """A TCP connection of a phone to a TVS server."""

    def __init__(self, number, server):
        self.number, self.server = number, server
        self.parts = {True: {}, False: {}}

    def __str__(self):
        return f"ask TVS at {self.server}"

    def add(self, number, from_phone, segment):
        payload = segment[(segment[12] >> 4) * 4:]
        (sequence,) = struct.unpack(">I", segment[4:8])
        if payload:
            self.parts[from_phone].setdefault(sequence, (number, payload))

    def sealed(self, from_phone):
        """Packet and length of the encrypted records of one side."""
        stream, arrived = b"", []
        for _, (number, payload) in sorted(self.parts[from_phone].items()):
            stream += payload
            arrived.append((len(stream), number))
        at, found = 0, []
        while at + 5 <= len(stream):
            kind, (length,) = stream[at], struct.unpack(">H", stream[at + 3:at + 5])
            at += 5 + length
            number = next((number for end, number in arrived if end >= at), None)
            if kind == 23 and number is not None:
                found.append((number, length))
        return found

    def outcome(self, question):
        """"refused" if the phone ended the handshake, "silent" if nobody answered a question of
        so many bytes, else the length of the answer."""
        said = self.sealed(True)
        asked = [number for number, length in said if length == question + SEALED]
        if asked:
            later = [n for number, n in self.sealed(False) if number > asked[0] and n != ALERT]
            return later[0] - SEALED if later else "silent"
        if [length for _, length in said] == [ALERT]:
            return "refused"
        if said:
            raise Undecided(f"question of {question} bytes expected at {self.server}: {said}")
        return "silent"


class Wire:
    """What phones and servers said to each other, phone by phone, in order."""

    def __init__(self, tftp, tvs):
        self.tftp, self.tvs = tftp, tvs
        self.heard = collections.defaultdict(list)
        self.pending, self.transfers, self.connections = {}, {}, {}
        # The last ITL of each server, and all certificates that any list has brought.
        self.newest_itl, self.certificates = {}, {}

    def read(self, path):
        for number, (protocol, sender, receiver, segment) in enumerate(packets(path)):
            if protocol == 17:
                self.datagram(sender, receiver, segment[8:])
            else:
                self.tcp(number, sender, receiver, segment)

    def tcp(self, number, sender, receiver, segment):
        if receiver[1] == self.tvs:
            if segment[13] & 0x12 == 0x02 and (sender, receiver) not in self.connections:
                opened = Connection(number, receiver)
                self.connections[sender, receiver] = opened
                self.heard[sender[0]].append(opened)
            self.connections[sender, receiver].add(number, True, segment)
        elif sender[1] == self.tvs:
            self.connections[receiver, sender].add(number, False, segment)

    def datagram(self, sender, receiver, data):
        if len(data) < 4:
            return
        opcode, block = struct.unpack(">HH", data[:4])
        if opcode == 1 and receiver[1] == self.tftp:
            self.request(sender, receiver[0], data[2:].split(b"\0")[0].decode())
        elif opcode == 4 and sender[0] in self.pending:
            self.acknowledged(sender, receiver, block)
        elif receiver[0] in self.pending:
            self.from_server(sender, receiver, opcode, block, data[4:])

    def request(self, phone, server, file):
        asked = self.pending.get(phone[0])
        # The same again is a repetition, as long as there is no answer.
        if asked is None or (asked.file, asked.server) != (file, server):
            asked = Asked(file, server)
            self.pending[phone[0]] = asked
            self.heard[phone[0]].append(asked)

    def from_server(self, server, phone, opcode, block, rest):
        asked = self.pending[phone[0]]
        if asked is None or asked.server != server[0]:
            return
        transfer = self.transfers.setdefault((phone, server, asked), Transfer())
        if opcode == 6:
            words = struct.pack(">H", block) + rest
            options = words.lower().split(b"\0")
            if b"blksize" in options:
                transfer.size = int(options[options.index(b"blksize") + 1])
        elif opcode == 3:
            transfer.blocks.setdefault(block, rest)
        elif opcode == 5 and block == 1:
            self.conclude(phone[0], None)

    def acknowledged(self, phone, server, block):
        transfer = self.transfers.get((phone, server, self.pending[phone[0]]))
        content = transfer and transfer.whole(block)
        if content is not None:
            self.conclude(phone[0], content)

    def conclude(self, phone, content):
        asked, self.pending[phone] = self.pending[phone], None
        self.heard[phone].append(Answer(content))
        if content and asked.file.endswith(".tlv"):
            read = TrustList(content)
            if asked.file.startswith("ITL"):
                self.newest_itl[asked.server] = read
            for record in read.records:
                if record.certificate:
                    self.certificates[record.holder] = record


# --- The phones ---


class Refused(Exception):
    """A phone has to refuse a file; `stuck` if nobody can help it."""

    def __init__(self, stuck):
        super().__init__()
        self.stuck = stuck


def read_file(kind, content):
    """A file that has a header; a phone refuses it if it does not parse."""
    try:
        return Signed(content) if kind == CONFIG else TrustList(content)
    except (ValueError, KeyError, IndexError, struct.error) as error:
        raise Refused(stuck=False) from error


def tvs_hashes(held):
    """Of the TVS certificates that a phone's lists name."""
    lists = [one for one in held.values() if one]
    return {record.hash for one in lists for record in one.records if record.role == TVS}


def vouching(held, kind, file):
    """Who vouches for the signer of a file, and the key, if the signature has to be checked."""
    ctl, itl = held[CTL_FILE], held[ITL_FILE]
    usable_itl = itl is not None and not itl.is_blank()
    if ctl is None and not usable_itl:
        return "blank" if itl else "first", None
    for trusted, roles, path in ((ctl, BY_CTL, "by_ctl"), (itl, BY_ITL, "by_itl")):
        record = trusted and trusted.find(roles[kind], file.signer)
        if record:
            return path, record.key
    if not usable_itl:
        raise Refused(stuck=not tvs_hashes(held))
    return "by_tvs", None


class Phone:
    def __init__(self, address, wire, counts):
        self.wire, self.counts = wire, counts
        self.rest = collections.deque(wire.heard[address])
        self.lists = {CTL_FILE: None, ITL_FILE: None}
        self.members, self.cache = [], {}
        self.home = self.server = None
        self.outcome, self.alarms = None, set()
        # What it says about servers of TVS: packet, server, hashes that it holds, whether it took
        # the server's certificate.
        self.testimony = []
        self.name = self.rest[0].file[3:-4] if isinstance(self.rest[0], Asked) else ""
        if not self.name.startswith("SEP"):
            raise Undecided(f"{address} does not begin with its CTL")

    def follow(self):
        counts, self.counts = self.counts, collections.Counter()
        self.boot()
        self.counts = counts
        self.alarms.clear()
        while self.rest:
            self.boot()

    def boot(self):
        self.stuck = self.failed = False
        self.server = self.home
        for kind in (CTL_FILE, ITL_FILE, CONFIG):
            content = self.fetch(kind)
            if content is None:
                continue
            part = "configs" if kind == CONFIG else "lists"
            try:
                path = self.judge(kind, content)
                self.counts[f"trust.{part}.accepted_{path}"] += 1
                self.counts["config.applied"] += kind == CONFIG
            except Refused as refused:
                self.counts[f"trust.{part}.refused"] += 1
                self.alarms.add(part)
                self.stuck |= refused.stuck
                self.failed |= not refused.stuck
        self.outcome = "stuck" if self.stuck else "failed" if self.failed else "ready"

    # Files

    def names(self, kind):
        if kind != CONFIG:
            return [f"{kind}{self.name}.tlv", f"{kind}File.tlv"]
        suffix = ".cnf.xml.sgn" if any(self.lists.values()) else ".cnf.xml"
        return [self.name + suffix, "XMLDefault" + suffix]

    def fetch(self, kind):
        """The content of a file; None if there is none."""
        for name in self.names(kind):
            if kind == CTL_FILE and name == "CTLFile.tlv" and not self.is_next(name):
                return None
            content = self.ask(name)
            if content or self.failed:
                return content
        if kind == CONFIG:
            self.failed = True
        return None

    def is_next(self, name):
        return bool(self.rest) and isinstance(self.rest[0], Asked) and self.rest[0].file == name

    def ask(self, name):
        """What a phone gets for a name from the servers of its list, one after the other."""
        counts = self.counts
        asked = self.next_asked(name)
        while True:
            counts["tftp.requests"] += 1
            self.server = asked.server
            if self.rest and isinstance(self.rest[0], Answer):
                break
            counts["tftp.errors"] += 1
            if not self.is_next(name) or self.rest[0].server == self.server:
                self.failed, self.server = True, self.home
                return None
            counts["tftp.failovers"] += 1
            asked = self.rest.popleft()
        content = self.rest.popleft().content
        if content is None:
            counts["tftp.not_found"] += 1
        else:
            counts["tftp.transfers"] += 1
            counts["tftp.bytes"] += len(content)
        return content

    def next_asked(self, name):
        asked = self.rest.popleft() if self.rest else None
        if not isinstance(asked, Asked) or asked.file != name:
            raise Undecided(f"{self.name} had to ask for {name}, not to {asked or 'end'}")
        self.home = self.home or asked.server
        self.server = self.server or self.home
        if asked.server != self.server:
            raise Undecided(f"{self.name} asks {asked.server} for {name}, not {self.server}")
        return asked

    # Decisions

    def judge(self, kind, content):
        """By what the phone takes a file."""
        if kind == CONFIG and not any(self.lists.values()):
            return self.install(kind, content, "first")
        file = read_file(kind, content)
        path, key = vouching(self.lists, kind, file)
        if path == "by_tvs":
            if file.signer in self.cache:
                self.counts["tvs.cache_hits"] += 1
                path, key = "by_tvs_cache", self.cache[file.signer]
            else:
                key = self.ask_tvs(file)
        if key is not None:
            self.counts["signatures.verified"] += 1
            if not file.fits(key):
                raise Refused(stuck=False)
        return self.install(kind, file, path)

    def install(self, kind, file, path):
        if kind == CONFIG:
            self.members = tvs_members(file.body if isinstance(file, Signed) else file)
        else:
            self.lists[kind] = file
        return path

    # TVS

    def ask_tvs(self, file):
        """The key of a signer that no list names, if TVS vouches for it."""
        counts, refused = self.counts, 0
        named = tvs_hashes(self.lists)
        members = self.members[:TVS_SERVERS_MAX] if named else []
        for place, server in enumerate(members):
            opened = self.rest.popleft() if self.rest else None
            if not isinstance(opened, Connection) or opened.server != server:
                raise Undecided(f"{self.name} had to ask TVS at {server}, not to {opened or 'end'}")
            outcome = opened.outcome(question_length(file))
            if outcome != "silent":
                took = outcome != "refused"
                self.testimony.append((opened.number, server, named, took))
            if outcome not in ("refused", "silent"):
                counts["tvs.lookups"] += 1
                return self.vouched(file, outcome)
            refused += outcome == "refused"
            counts["tvs.failed"] += 1
            counts["tvs.failovers"] += place + 1 < len(members)
        raise Refused(stuck=refused == len(members))

    def vouched(self, file, length):
        """The key in an answer of so many bytes: a header of 10 and the status, and if that is
        good the certificate, one to three roles and a time to live."""
        if length == 14:
            raise Refused(stuck=False)
        record = self.wire.certificates.get(file.signer)
        if record is None:
            raise Undecided(f"{self.name}: TVS vouches for a signer that no list shows")
        roles = length - 14 - 3 - len(record.certificate) - 3 - 7
        if not 1 <= roles <= 3:
            raise Undecided(f"{self.name}: TVS answers with {length} bytes")
        self.cache[file.signer] = record.key
        return record.key


def question_length(file):
    """Header, device name `CP-8841-SEP001122334455` behind a byte, subject, issuer, serial."""
    names = (b"\1CP-8841-SEP001122334455", file.subject, file.issuer, file.serial)
    return 10 + sum(3 + len(name) for name in names)


def tvs_members(config):
    """Addresses and ports of TVS in a configuration, first to be asked first."""
    try:
        members = ElementTree.fromstring(config).findall("./TVS/members/member")
        ordered = sorted(members, key=lambda member: int(member.get("priority")))
        return [(one.findtext("address"), int(one.findtext("port"))) for one in ordered]
    except ElementTree.ParseError as error:
        raise Refused(stuck=False) from error


# --- The verdict ---


def is_stale(ctl, wire):
    """Whether a CTL lacks a certificate that the servers' newest lists name: of the files' signers
    or of CAPF. What changes on nodes that serve no files is not in a capture."""
    for ours, theirs in (((CCM, CCM_TFTP, TFTP), (CCM_TFTP, TFTP)), ((CAPF,), (CAPF,))):
        now = set().union(*(itl.named(*theirs) for itl in wire.newest_itl.values()))
        if not now <= ctl.named(*ours):
            return True
    return False


def certificates_presented(testimony):
    """How many certificates each TVS server must have presented, one after the other, for its
    phones to have done what they did."""
    everything = set().union(*(named for _, _, named, _ in testimony)) | {"known to nobody"}
    left, counted = {}, collections.Counter()
    for _, server, named, took in sorted(testimony, key=lambda said: said[0]):
        fitting = (everything & named) if took else (everything - named)
        left[server] = left.get(server, set()) & fitting
        if not left[server]:
            left[server] = fitting
            counted[server] += 1
    return counted


def judge_all(wire):
    counts, phones = collections.Counter(), []
    for address in wire.heard:
        phone = Phone(address, wire, counts)
        phone.follow()
        phones.append(phone)
    counts["phones.total"] = len(phones)
    for outcome in ("ready", "stuck", "failed"):
        counts[f"phones.{outcome}"] = sum(phone.outcome == outcome for phone in phones)
    counts["phones.list_alarms"] = sum("lists" in phone.alarms for phone in phones)
    counts["phones.config_alarms"] = sum("configs" in phone.alarms for phone in phones)
    ctls = [phone.lists[CTL_FILE] for phone in phones]
    counts["phones.stale_ctl"] = sum(ctl is not None and is_stale(ctl, wire) for ctl in ctls)
    return counts, phones


def judged_paths():
    """What of a summary is judged."""
    ways = ("first", "blank", "by_ctl", "by_itl", "by_tvs_cache", "by_tvs")
    for part in ("lists", "configs"):
        yield from (f"trust.{part}.accepted_{way}" for way in ways)
        yield f"trust.{part}.refused"
    outcomes = ("total", "ready", "stuck", "failed", "list_alarms", "config_alarms", "stale_ctl")
    yield from (f"phones.{outcome}" for outcome in outcomes)
    transfers = ("requests", "transfers", "bytes", "not_found", "errors", "failovers")
    yield from (f"tftp.{transfer}" for transfer in transfers)
    yield from (f"tvs.{what}" for what in ("lookups", "failed", "failovers", "cache_hits"))
    yield from ("config.applied", "signatures.verified")


def compare(counts, summary):
    agree = True
    for path in judged_paths():
        said = summary
        for key in path.split("."):
            said = said[key]
        same = counts[path] == said
        agree &= same
        print(f"{'agree   ' if same else 'DISAGREE'} {path}: judged {counts[path]}, told {said}")
    return agree


def show_lists(phones):
    for kind in (CTL_FILE, ITL_FILE):
        held = collections.Counter()
        for phone in phones:
            trusted = phone.lists[kind]
            held[trusted and hashlib.sha256(trusted.data).hexdigest()[:16]] += 1
        for digest, number in held.most_common():
            print(f"{number} phones hold {kind} {digest or '-'}")


def main(arguments):
    wire = Wire(arguments.tftp, arguments.tvs)
    wire.read(arguments.capture)
    counts, phones = judge_all(wire)
    show_lists(phones)
    testimony = [said for phone in phones for said in phone.testimony]
    for (address, port), number in certificates_presented(testimony).items():
        print(f"TVS at {address}:{port} has presented {number} certificates at least")
        if number > arguments.tvs_certificates:
            raise Undecided("phones with the same lists do not judge one server alike")
    with open(arguments.summary, encoding="utf-8") as file:
        return 0 if compare(counts, json.load(file)) else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Decides a captured storm again.")
    parser.add_argument("capture")
    parser.add_argument("summary")
    parser.add_argument("--tftp", type=int, default=6969)
    parser.add_argument("--tvs", type=int, default=2445)
    parser.add_argument("--tvs-certificates", type=int, default=1)
    try:
        sys.exit(main(parser.parse_args()))
    except Undecided as undecided:
        print(f"undecided: {undecided}", file=sys.stderr)
        sys.exit(2)
