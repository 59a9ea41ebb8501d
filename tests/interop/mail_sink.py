"""An SMTP server (aiosmtpd) that prints each mail's recipient, subject and text as a line of JSON."""
import email
import email.policy
import json
import sys
import time

from aiosmtpd.controller import Controller


class Sink:
    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        got = {"to": envelope.rcpt_tos, "subject": mail["subject"], "text": mail.get_content()}
        print(json.dumps(got), file=sys.stderr)
        return "250 OK"


Controller(Sink(), hostname="127.0.0.1", port=int(sys.argv[1])).start()
print("ready", file=sys.stderr)
time.sleep(120)
