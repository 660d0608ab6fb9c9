"""A small DNS server on a UDP socket of the loopback, for tests: what it is told, and nothing else, exists."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Mapping
from typing import Self

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

Zone = Mapping[str, Mapping[str, list[str]]]
"""{name: {"MX": ["10 mx.example."], "A": ["127.0.0.1"]}}; a name with nothing below it exists and has no records."""


class NameServer:
    """`silent` and `failing`: names it does not answer for, or with SERVFAIL; `name AAAA` for one kind alone."""

    def __init__(self, zone: Zone, *, silent: tuple[str, ...] = (), failing: tuple[str, ...] = ()) -> None:
        self.zone = dict(zone)
        self.silent = silent
        self.failing = failing
        self.asked: Counter[tuple[str, str]] = Counter()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.1)
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._stopping = False
        self._thread = threading.Thread(target=self._serve, name="nameserver", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        self._thread.join(5)
        self._socket.close()

    def _serve(self) -> None:
        while not self._stopping:
            try:
                data, peer = self._socket.recvfrom(4096)
            except TimeoutError:
                continue
            answer = self._answer(dns.message.from_wire(data))
            if answer is not None:
                self._socket.sendto(answer.to_wire(), peer)

    def _answer(self, query: dns.message.Message) -> dns.message.Message | None:
        question = query.question[0]
        name, kind = question.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(question.rdtype)
        self.asked[name, kind] += 1
        if {name, f"{name} {kind}"} & {*self.silent}:
            return None
        response = dns.message.make_response(query, recursion_available=True)
        if {name, f"{name} {kind}"} & {*self.failing}:
            response.set_rcode(dns.rcode.SERVFAIL)
        elif name not in self.zone:
            response.set_rcode(dns.rcode.NXDOMAIN)
        else:
            records = self.zone[name].get(kind, [])
            if records:
                response.answer.append(dns.rrset.from_text(question.name, 120, "IN", kind, *records))
        return response
