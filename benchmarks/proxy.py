"""A server far away: everything that passes, in either direction, arrives half a round trip later.

    python -m benchmarks.proxy --to 2525 --round-trip-ms 50

Writes `listening on 127.0.0.1:PORT`; ends on SIGTERM. Threads, since a loop's timers are a millisecond coarse, which
is a twenty-fifth of what is to be delayed here. The line has no limit of its own: only time passes.
"""

from __future__ import annotations

import argparse
import queue
import socket
import threading
import time

_CHUNK = 262_144
_Parcels = queue.SimpleQueue[tuple[float, bytes]]


def carry(source: socket.socket, target: socket.socket, seconds: float) -> None:
    """Two threads: one takes what comes and when, one hands it on when its time has come. An empty piece is the end."""
    parcels: _Parcels = queue.SimpleQueue()
    threading.Thread(target=_take, args=(source, parcels, seconds), daemon=True).start()
    threading.Thread(target=_hand_on, args=(target, parcels), daemon=True).start()


def _take(source: socket.socket, parcels: _Parcels, seconds: float) -> None:
    data = b"-"
    while data:
        try:
            data = source.recv(_CHUNK)
        except OSError:
            data = b""
        parcels.put((time.monotonic() + seconds, data))


def _hand_on(target: socket.socket, parcels: _Parcels) -> None:
    try:
        while True:
            due, data = parcels.get()
            time.sleep(max(0.0, due - time.monotonic()))
            if not data:
                target.shutdown(socket.SHUT_WR)
                return
            target.sendall(data)
    except OSError:
        target.close()


def serve(port: int, seconds: float) -> None:
    """For ever; each direction `seconds` long."""
    with socket.create_server(("127.0.0.1", 0), backlog=500) as server:
        print(f"listening on 127.0.0.1:{server.getsockname()[1]}", flush=True)
        while True:
            near, _ = server.accept()
            far = socket.create_connection(("127.0.0.1", port))
            for one in (near, far):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            carry(near, far, seconds)
            carry(far, near, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description="A TCP proxy that is far away.")
    parser.add_argument("--to", type=int, required=True, help="the port behind it")
    parser.add_argument("--round-trip-ms", type=float, required=True)
    given = parser.parse_args()
    serve(given.to, given.round_trip_ms / 2000)


if __name__ == "__main__":
    main()
