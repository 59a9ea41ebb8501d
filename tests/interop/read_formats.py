"""Reads lists, signed and encrypted files with nothing of ours: a small TLV reader, `cryptography`
and `asn1crypto`. Prints one line for each file; exits with 1 at the first thing that is wrong.

    read_formats.py DEVICE_KEY.pem SIGNER.pem FILE...

SIGNER.pem (certificate) is used for files that are no lists; lists are checked with their own SAST
record. Encrypted files are opened with DEVICE_KEY.pem.
"""

import hashlib
import struct
import sys

from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

CONTAINERS = {3, 7, 9, 16, 17, 21}
DIGESTS = {1: hashes.SHA1(), 3: hashes.SHA512()}


def elements(data, start, end, enter=()):
    """Tags, values and offsets between two offsets; containers are entered."""
    at = start
    while at < end:
        tag = data[at]
        if tag == 13 and enter:
            at += 1
            continue
        (length,) = struct.unpack(">H", data[at + 1:at + 3])
        if at + 3 + length > end:
            raise ValueError(f"tag {tag} at {at} runs past {end}")
        yield tag, data[at + 3:at + 3 + length], at
        at += 3 if tag in enter else 3 + length


def text(value):
    if not value.endswith(b"\0"):
        raise ValueError("text without NUL")
    return value[:-1].decode()


def magnitude(number):
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def read_file(data):
    """Header fields by tag, header length, and what the signature covers."""
    (length,) = struct.unpack(">H", data[8:10])
    if length % 4 or length > len(data):
        raise ValueError(f"header length {length}")
    fields, covered = {}, None
    for tag, value, at in elements(data, 0, length, CONTAINERS):
        fields[tag] = value
        if tag == 12:
            covered = data[:at] + data[at + 3 + len(value):]
    return fields, length, covered


def read_record(data, start):
    tag, value, _ = next(elements(data, start, len(data)))
    (length,) = struct.unpack(">H", value)
    if tag != 1:
        raise ValueError(f"record at {start} starts with tag {tag}")
    return {t: v for t, v, _ in elements(data, start, start + length)}, length


def check_certificate(record):
    """A record says what its certificate says, by two readers of X.509."""
    der = record.get(9)
    if der is None:
        return
    certificate = x509.load_der_x509_certificate(der)
    other = asn1_x509.Certificate.load(der)
    assert magnitude(certificate.serial_number) == record[6], "serial number"
    assert other["signature_value"].native == record[8], "signature of the certificate"
    assert other.public_key["public_key"].parsed.dump() == record[7], "public key"


def verify(public_key, fields, covered):
    public_key.verify(fields[12], covered, padding.PKCS1v15(), DIGESTS[fields[8][0]])


def open_envelope(fields, body, device):
    key = device.decrypt(fields[25], padding.PKCS1v15())
    decryptor = Cipher(algorithms.AES(key), modes.CBC(fields[19])).decryptor()
    plain = decryptor.update(body) + decryptor.finalize()
    (pad,) = struct.unpack(">H", fields[20])
    assert 1 <= pad <= 16 and plain[-pad:] == b"\r" * pad, "padding"
    digest = {1: hashlib.sha1, 3: hashlib.sha512}[fields[26][0]]
    assert digest(plain[:-pad]).digest() == fields[27], "digest of the content"


def check_list(data, fields, length, covered):
    records, at = [], length
    while at < len(data):
        record, size = read_record(data, at)
        check_certificate(record)
        records.append(record)
        at += size
    signers = [r for r in records if r[4] == b"\0\0" and r[6] == fields[5] and r[5] == fields[6]]
    assert len(signers) == 1, "one SAST record is the signer"
    verify(x509.load_der_x509_certificate(signers[0][9]).public_key(), fields, covered)
    return f"{len(records)} records"


def main(device_path, signer_path, paths):
    with open(device_path, "rb") as file:
        device = serialization.load_pem_private_key(file.read(), None)
    with open(signer_path, "rb") as file:
        signer = x509.load_pem_x509_certificate(file.read())
    for path in paths:
        with open(path, "rb") as file:
            data = file.read()
        fields, length, covered = read_file(data)
        name = text(fields[14])
        if name.endswith(".tlv"):
            what = check_list(data, fields, length, covered)
        else:
            assert fields[5] == magnitude(signer.serial_number), "serial number of the signer"
            verify(signer.public_key(), fields, covered)
            what = f"{len(data) - length} bytes"
        if 16 in fields:
            open_envelope(fields, data[length:], device)
            what += ", opened"
        print(f"ok {name}: {what}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
