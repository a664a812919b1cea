"""What the proxy does with requests, against a server that speaks Kafka's framing and answers each request with its id."""

import contextlib
import queue
import socket
import struct
import threading
import time
import unittest

from proxy import API, Fault, Proxy

SHORT = 0.3


def receive(one, size):
    data = b""
    while len(data) < size:
        part = one.recv(size - len(data))
        if not part:
            raise ConnectionError("closed")
        data += part
    return data


def receive_frame(one):
    length, = struct.unpack(">i", receive(one, 4))
    return receive(one, length)


class Echo:
    """Takes requests down with the time of their coming."""

    def __init__(self):
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self.seen = queue.Queue()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                one, _ = self.listening.accept()
                threading.Thread(target=self.serve, args=(one,), daemon=True).start()

    def serve(self, one):
        with contextlib.suppress(OSError):
            while True:
                frame = receive_frame(one)
                api, _, correlation = struct.unpack_from(">hhi", frame)
                self.seen.put((api, correlation, time.monotonic()))
                one.sendall(struct.pack(">ii", 4, correlation))


class ProxyTest(unittest.TestCase):
    def setUp(self):
        self.echo = Echo()
        self.proxy = Proxy(1).__enter__()
        self.addCleanup(self.proxy.__exit__)
        self.addCleanup(self.echo.listening.close)
        self.proxy.advertised(0, self.echo.port)
        self.one = self.connect()

    def connect(self):
        one = socket.create_connection(("127.0.0.1", self.proxy.ports[0]), timeout=10)
        self.addCleanup(one.close)
        return one

    def send(self, api, correlation, client="tocsin-correlation", one=None):
        header = struct.pack(">hhih", API[api], 1, correlation, len(client)) + client.encode()
        (one or self.one).sendall(struct.pack(">i", len(header)) + header)

    def answer(self, one=None):
        return struct.unpack(">i", receive_frame(one or self.one))[0]

    def arrived(self, timeout=10):
        return self.echo.seen.get(timeout=timeout)

    def assertClosed(self):
        with self.assertRaises((ConnectionError, OSError)):
            self.answer()

    def test_what_is_not_chosen_goes_by(self):
        self.proxy.plant(Fault(("EndTxn",), "cut_before"))
        self.proxy.plant(Fault(("Fetch",), "cut_before", client="another"))
        for correlation in range(100):
            self.send("Fetch", correlation)
        self.assertEqual([self.answer() for _ in range(100)], list(range(100)))
        self.assertEqual(self.proxy.count_met(), 0)

    def test_a_held_request_comes_late_though_its_client_has_gone(self):
        self.proxy.plant(Fault(("EndTxn",), "hold", SHORT))
        begin = time.monotonic()
        self.send("EndTxn", 7)
        self.one.close()
        api, correlation, when = self.arrived()
        self.assertEqual((api, correlation), (API["EndTxn"], 7))
        self.assertGreaterEqual(when - begin, SHORT)

    def test_a_request_is_cut_before_it_arrives(self):
        self.proxy.plant(Fault(("EndTxn",), "cut_before"))
        self.send("EndTxn", 1)
        self.assertClosed()
        again = self.connect()
        self.send("EndTxn", 2, one=again)
        self.assertEqual(self.answer(again), 2)
        self.assertEqual(self.arrived()[1], 2)

    def test_a_request_arrives_and_its_answer_is_cut(self):
        self.proxy.plant(Fault(("EndTxn",), "cut_after"))
        self.send("EndTxn", 1)
        self.assertClosed()
        self.assertEqual(self.arrived()[1], 1)

    def test_an_answer_is_lost_and_the_next_comes(self):
        self.proxy.plant(Fault(("EndTxn",), "drop_answer"))
        self.send("EndTxn", 1)
        self.send("EndTxn", 2)
        self.assertEqual(self.answer(), 2)
        self.assertEqual([self.arrived()[1], self.arrived()[1]], [1, 2])

    def test_an_answer_is_held(self):
        self.proxy.plant(Fault(("EndTxn",), "hold_answer", SHORT))
        begin = time.monotonic()
        self.send("EndTxn", 1)
        self.assertEqual(self.answer(), 1)
        self.assertGreaterEqual(time.monotonic() - begin, SHORT)
        self.assertLess(self.arrived()[2] - begin, SHORT)

    def test_a_request_is_repeated_and_answered_once(self):
        self.proxy.plant(Fault(("EndTxn",), "repeat", SHORT))
        self.send("EndTxn", 1)
        self.assertEqual(self.answer(), 1)
        first, second = self.arrived(), self.arrived()
        self.assertEqual((first[1], second[1]), (1, 1))
        self.assertGreaterEqual(second[2] - first[2], SHORT * 0.9)
        self.send("Fetch", 2)
        self.assertEqual(self.answer(), 2)

    def test_some_go_by_first_and_only_so_many_are_met(self):
        self.proxy.plant(Fault(("EndTxn",), "drop_answer", count=2, skip=1))
        for correlation in range(4):
            self.send("EndTxn", correlation)
        self.assertEqual([self.answer(), self.answer()], [0, 3])
        self.assertEqual(self.proxy.count_met(), 2)

    def test_every_connection_is_cut_at_once(self):
        self.send("Fetch", 1)
        self.assertEqual(self.answer(), 1)
        self.proxy.cut_all()
        self.assertClosed()

    def test_without_a_broker_connections_are_refused(self):
        self.proxy.upstreams[0] = None
        other = self.connect()
        with self.assertRaises((ConnectionError, OSError)):
            self.answer(other)

    def test_an_action_that_there_is_not(self):
        with self.assertRaisesRegex(ValueError, "hold, cut_before"):
            Fault(("EndTxn",), "explode")


if __name__ == "__main__":
    unittest.main()
