"""Trouble on order: each kind of fault as a client meets it, and which requests a rule is about."""

import gzip
import http.client
import json

import pytest

from tests.servers import RunningSandbox

PODS = "/api/v1/namespaces/default/pods"
POD = {"metadata": {"name": "a"}, "spec": {"containers": []}}


def statuses(sandbox: RunningSandbox, times: int, path: str = "/api/v1/pods") -> list[int]:
    return [sandbox.call("GET", path).status for _ in range(times)]


def pods(sandbox: RunningSandbox) -> int:
    return len(sandbox.items(PODS))


def test_rule_applies_from_and_to_the_given_requests(empty_sandbox: RunningSandbox) -> None:
    empty_sandbox.add_fault({"status": 503}, path="/pods", first=2, last=3)
    assert statuses(empty_sandbox, 4) == [200, 503, 503, 200]


def test_rule_applies_to_every_nth(empty_sandbox: RunningSandbox) -> None:
    empty_sandbox.add_fault({"status": 500}, every=3)
    assert statuses(empty_sandbox, 7) == [500, 200, 200, 500, 200, 200, 500]


def test_rule_is_about_its_server_method_and_path_only(empty_sandbox: RunningSandbox) -> None:
    empty_sandbox.add_fault({"status": 500}, method="DELETE", path="^/admin/blobs/", server="registry")
    blob = "/admin/blobs/sha256:" + "0" * 64
    assert empty_sandbox.call("DELETE", blob, server="api").status == 404
    assert empty_sandbox.call("GET", blob, server="registry").status == 405
    assert empty_sandbox.call("DELETE", blob, server="registry").status == 500


def test_status_comes_with_headers_and_in_kubernetes_words(empty_sandbox: RunningSandbox) -> None:
    empty_sandbox.add_fault({"status": 429, "headers": {"Retry-After": "1"}})
    answer = empty_sandbox.call("GET", "/api/v1/pods")
    assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
    assert (answer.json()["kind"], answer.json()["reason"]) == ("Status", "TooManyRequests")


@pytest.mark.parametrize(("body", "sent"), [("<html>", b"<html>"), ({"a": 1}, b'{"a":1}')])
def test_status_comes_with_the_given_body(empty_sandbox: RunningSandbox, body: object, sent: bytes) -> None:
    empty_sandbox.add_fault({"status": 502, "body": body})
    assert empty_sandbox.call("GET", "/api/v1/pods").body == sent


def test_connection_is_reset_before_the_request_is_handled(empty_sandbox: RunningSandbox) -> None:
    empty_sandbox.add_fault({"drop": "before"}, method="POST")
    with pytest.raises(ConnectionError):
        empty_sandbox.call("POST", PODS, POD)
    assert pods(empty_sandbox) == 0


def test_answer_is_lost_after_the_request_was_handled(empty_sandbox: RunningSandbox) -> None:
    empty_sandbox.add_fault({"drop": "after"}, method="POST")
    with pytest.raises(ConnectionError):
        empty_sandbox.call("POST", PODS, POD)
    assert pods(empty_sandbox) == 1


@pytest.mark.parametrize("compress", [False, True])
def test_padded_answer_is_the_same_with_spaces_before_it(empty_sandbox: RunningSandbox, compress: bool) -> None:
    usual = empty_sandbox.call("GET", "/api/v1/namespaces").json()
    empty_sandbox.add_fault({"pad": 3_000_000, "compress": compress})
    answer = empty_sandbox.call("GET", "/api/v1/namespaces")
    assert answer.headers.get("Content-Encoding") == ("gzip" if compress else None)
    text = gzip.decompress(answer.body) if compress else answer.body
    assert len(text) > 3_000_000
    assert json.loads(text) == usual


def test_trickling_answer_comes_byte_by_byte(empty_sandbox: RunningSandbox) -> None:
    usual = empty_sandbox.call("GET", "/api/v1/namespaces").json()
    empty_sandbox.add_fault({"trickle": 0.0})
    assert empty_sandbox.call("GET", "/api/v1/namespaces").json() == usual


def test_truncated_answer_ends_in_the_middle(empty_sandbox: RunningSandbox) -> None:
    empty_sandbox.add_fault({"truncate": 20})
    with pytest.raises(http.client.IncompleteRead) as error:
        empty_sandbox.call("GET", "/api/v1/pods")
    assert len(error.value.partial) == 20


def test_delay_comes_before_the_answer(empty_sandbox: RunningSandbox) -> None:
    empty_sandbox.add_fault({"delay": 0.05})
    assert statuses(empty_sandbox, 1) == [200]


def test_hanging_request_does_not_keep_the_sandbox_from_stopping(empty_sandbox: RunningSandbox) -> None:
    empty_sandbox.add_fault({"hang": True})
    host = empty_sandbox.api_url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=10)
    connection.request("GET", "/api/v1/pods")
    while not empty_sandbox.faults()[0]["fired"]:
        pass
    empty_sandbox.stop()
    with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
        connection.getresponse()
    connection.close()
    assert empty_sandbox.process.returncode == 0


@pytest.mark.parametrize(("when", "left"), [("before", 0), ("after", 1)])
def test_kill_ends_the_sandbox_which_keeps_what_was_written(
    empty_sandbox: RunningSandbox, when: str, left: int
) -> None:
    empty_sandbox.add_fault({"kill": when}, method="POST")
    with pytest.raises(ConnectionError):
        empty_sandbox.call("POST", PODS, POD)
    empty_sandbox.process.wait(10)
    saved = json.loads((empty_sandbox.folder / "objects.json").read_bytes())
    assert len(saved["objects"].get("v1/pods", [])) == left


def test_rules_tell_how_often_they_matched_and_fired(empty_sandbox: RunningSandbox) -> None:
    identity = empty_sandbox.add_fault({"status": 500}, first=2)
    statuses(empty_sandbox, 3)
    (counted,) = empty_sandbox.faults()
    assert (counted["id"], counted["matched"], counted["fired"]) == (identity, 3, 2)


def test_rules_can_be_taken_back(empty_sandbox: RunningSandbox) -> None:
    empty_sandbox.add_fault({"status": 500})
    empty_sandbox.clear_faults()
    assert statuses(empty_sandbox, 1) == [200]


def test_one_rule_can_be_taken_back(empty_sandbox: RunningSandbox) -> None:
    first = empty_sandbox.add_fault({"status": 500})
    empty_sandbox.add_fault({"status": 502})
    assert empty_sandbox.call("DELETE", f"/sandbox/faults/{first}").status == 204
    assert statuses(empty_sandbox, 1) == [502]


@pytest.mark.parametrize(
    "rule", [{}, {"action": {"status": "x"}}, {"action": {"explode": True}}, {"action": {}, "from": 0}]
)
def test_rule_that_is_none_is_refused(empty_sandbox: RunningSandbox, rule: dict[str, object]) -> None:
    assert empty_sandbox.call("POST", "/sandbox/faults", rule).status == 400
