"""The parts of the runner that could be wrong unseen: `python3 -B -m unittest discover -s tests/bench/runner`."""

import unittest
from pathlib import Path
from tempfile import TemporaryDirectory

from bodies import BodyServer, download, upload
from figures import Figure, against_the_better, figure
from idle import is_whole
from languages import LANGUAGES, note, rows
from load import as_if_open, counted, counted_handshakes, counted_http2
from processes import ALL_CORES, Child, Failed
from report import Line
from rows import ROWS


class Figures(unittest.TestCase):
    def test_the_interval_holds_the_median_and_no_more_than_the_rounds(self):
        found = figure([1.0, 1.1, 0.9, 1.05, 0.95])
        self.assertEqual(found.value, 1.0)
        self.assertTrue(0.9 <= found.low <= 1.0 <= found.high <= 1.1)
        self.assertLess(found.low, found.high)

    def test_the_better_peer_is_the_same_in_every_round(self):
        rounds = [{"ours": 12.0, "one": 10.0, "other": 15.0}, {"ours": 12.0, "one": 12.0, "other": 10.0}]
        self.assertEqual(against_the_better(rounds, "ours", ("one", "other")), [1.2, 1.0])

    def test_rounds_that_agree_leave_no_interval(self):
        self.assertEqual(figure([2.0] * 5), Figure(2.0, 2.0, 2.0))


class Verdicts(unittest.TestCase):
    def test_by_value_and_interval(self):
        cases = [
            (Figure(0.9, 0.89, 0.91), "aim"),
            (Figure(0.9, 0.89, 0.97), "aim (within the noise)"),
            (Figure(1.1, 1.09, 1.11), "holds"),
            (Figure(1.1, 1.0, 1.2), "holds (within the noise)"),
            (Figure(1.3, 1.2, 1.4), "**LOSES**"),
            (None, "not run"),
        ]
        for measured, verdict in cases:
            self.assertEqual(Line("row", 1.15, 0.95, "", measured).verdict(), verdict)


class Rows(unittest.TestCase):
    def test_each_row_asks_only_for_what_it_needs(self):
        for row in ROWS:
            cpu = {arm: 10.0 + number for number, arm in enumerate(row.needs)}
            row.values([cpu])
            row.note([cpu])

    def test_the_better_peer_counts(self):
        row = next(row for row in ROWS if "better of" in row.what)
        self.assertEqual(row.values([{"gateway": 20.0, "nginx": 10.0, "haproxy": 16.0}]), [2.0])

    def test_an_added_cost_is_scaled_by_the_floor(self):
        row = next(row for row in ROWS if "shared" in row.what)
        cpu = {"gateway": 20.0, "gateway + 16 no-op": 28.0, "f2": 33.0}
        self.assertEqual(row.values([cpu]), [0.25])
        self.assertEqual(row.note([cpu]), "0.50 µs here")


class Handshakes(unittest.TestCase):
    PRINTED = "starting\n{letters}\n\n{count} connections in 0.12s; 1.0 connections/user sec, bytes read 9\n{count} connections in 2 real seconds, 9 bytes read per connection\n"

    def test_each_has_to_be_of_the_kind_that_is_measured(self):
        for letters, resumed, wrong in [("ttt", False, 0), ("rrr", True, 0), ("rtr", True, 1), ("trt", False, 1)]:
            load = counted_handshakes(self.PRINTED.format(letters=letters, count=3), resumed)
            self.assertEqual((load.requests, load.seconds, load.failed), (3, 2.0, wrong), letters)

    def test_none_at_all_is_a_failure(self):
        with self.assertRaises(Failed):
            counted_handshakes("connect: refused", False)

    def test_http2_has_to_be_agreed_on(self):
        printed = "Application protocol: {}\nfinished in 1.50s, 10.0 req/s\nrequests: 9 total, 9 started, 9 done, 8 succeeded, 1 failed, 0 errored, 0 timeout\n"
        load = counted_http2(printed.format("h2"))
        self.assertEqual((load.requests, load.seconds, load.failed), (8, 1.5, 1))
        with self.assertRaises(Failed):
            counted_http2(printed.format("http/1.1"))


class Idle(unittest.TestCase):
    def test_a_response_is_whole_once_its_body_is_there(self):
        whole = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX: y\r\n\r\nabc"
        self.assertTrue(is_whole(whole))
        for end in range(len(whole)):
            self.assertFalse(is_whole(whole[:end]), end)
        self.assertFalse(is_whole(b"HTTP/1.1 200 OK\r\n\r\n"))


class Wrk(unittest.TestCase):
    def test_failures_of_both_kinds_are_counted(self):
        printed = """
  71437 requests in 1.50m, 97.06MB read
  Socket errors: connect 1, read 2, write 3, timeout 4
  Non-2xx or 3xx responses: 5"""
        load = counted(printed)
        self.assertEqual((load.requests, load.seconds, load.failed), (71437, 90.0, 15))

    def test_no_answer_is_no_measurement(self):
        with self.assertRaises(Failed):
            counted("  0 requests in 1.00s, 0.00B read")


class Latency(unittest.TestCase):
    def test_a_stall_counts_for_all_who_would_have_met_it(self):
        self.assertEqual(as_if_open([100, 3500, 1000], 1000), [100, 500, 1000, 1500, 2500, 3500])


class Children(unittest.TestCase):
    def test_cpu_time_counts_threads_children_and_nothing_else(self):
        # Two processes that each burn 0.2 s, say so, and then wait to be ended; the second ends with the first.
        burn = """
import os, time
first = os.getpid()
os.fork()
while time.process_time() < 0.2: pass
print("x", flush=True)
while first in (os.getpid(), os.getppid()): time.sleep(0.05)
"""
        with TemporaryDirectory() as name, Child("burner", ["python3", "-c", burn], Path(name), ALL_CORES) as child:
            child.wait_until(lambda: child.log.read_text().count("x") == 2, "both lines")
            self.assertTrue(0.4e9 <= child.cpu_ns() <= 1.5e9, child.cpu_ns())

    def test_a_program_that_ends_early_says_its_last_words(self):
        with (
            TemporaryDirectory() as name,
            Child("short", ["sh", "-c", "echo no; exit 3"], Path(name), ALL_CORES) as child,
        ):
            with self.assertRaisesRegex(Failed, "short ended with 3: no"):
                child.wait_until(lambda: False, "nothing")


class Bodies(unittest.TestCase):
    def test_every_byte_is_counted_at_both_ends(self):
        with BodyServer() as server:
            for length in (0, 1, 256 * 1024, 700_001):
                upload(server.port, length)
                download(server.port, length)


class Languages(unittest.TestCase):
    def test_every_language_has_both_plugins(self):
        for language in LANGUAGES:
            for what, *_, sources, cases, _case in rows(language):
                self.assertTrue(sources.is_dir() and cases.is_file(), what)

    def test_the_note_has_every_figure(self):
        found = {
            "size_bytes": 17_000,
            "compiled_ns": 12_000_000,
            "cached_ns": 1_300_000,
            "memory_bytes": 31_000,
            "cases": [{"request_ns": 900, "fresh_ns": 14_800}],
        }
        self.assertEqual(
            note([found]),
            "17 kB; compiled in 12 ms, from the cache in 1.3 ms; isolation request 14.8 µs; 31 kB for each instance",
        )


if __name__ == "__main__":
    unittest.main()
