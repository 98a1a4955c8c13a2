"""The hook that deletes cohorts before their operator goes."""

import pytest

from holter_operator.io.kube import KubeError
from holter_operator.uninstall import clear


class Server:
    """Cohorts that take some passes to go."""

    def __init__(self, *names, passes=2, fails=()):
        self.cohorts = dict.fromkeys(names)
        self.passes = passes
        self.fails = list(fails)
        self.deleted = []
        self.now = 0.0

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds

    def list(self, kind, namespace=None, *, metadata=False):
        assert metadata, "their metadata is enough"
        if self.fails and (failure := self.fails.pop(0)):
            raise failure
        self.cohorts = {name: left for name, left in self.cohorts.items() if left != 0}
        found = []
        for name, left in self.cohorts.items():
            place, _, own = name.partition("/")
            if namespace in (None, place):
                meta = {"namespace": place, "name": own, "uid": f"uid of {name}"}
                found.append({"metadata": meta | ({} if left is None else {"deletionTimestamp": "now"})})
            if left is not None:
                self.cohorts[name] = left - 1
        return found, 1

    def delete(self, kind, namespace, name, *, uid):
        assert uid == f"uid of {namespace}/{name}"
        self.deleted.append(f"{namespace}/{name}")
        self.cohorts[f"{namespace}/{name}"] = self.passes


def run(server, namespaces=(), seconds=10.0):
    said = []
    return clear(server, namespaces, seconds, say=said.append, clock=server.clock, sleep=server.sleep), said


def test_each_is_deleted_once_and_waited_for():
    server = Server("a/ward", "b/ward")
    left, said = run(server)
    assert left == []
    assert server.deleted == ["a/ward", "b/ward"]
    assert said == ["deleting a/ward", "deleting b/ward"]
    assert server.now > 0


def test_other_namespaces_are_left_alone():
    server = Server("a/ward", "b/ward", "c/ward")
    assert run(server, ("a", "c"))[0] == []
    assert server.deleted == ["a/ward", "c/ward"]
    assert list(server.cohorts) == ["b/ward"]


def test_the_wait_is_bounded_and_names_what_is_left():
    server = Server("b/ward", "a/ward", passes=1000)
    assert run(server)[0] == ["a/ward", "b/ward"]
    assert 10 <= server.now <= 12


def test_nothing_to_do_takes_no_time():
    server = Server()
    assert run(server) == ([], [])
    assert server.now == 0


def test_without_the_kind_there_is_nothing_to_do():
    assert run(Server("a/ward", fails=[KubeError(404, "NotFound", "no such kind")]))[0] == []


def test_a_server_that_is_away_for_a_moment_is_asked_again():
    server = Server("a/ward", fails=[KubeError(0, "Unreachable", "no answer"), KubeError(503, "Unavailable", "later")])
    assert run(server)[0] == []
    assert server.deleted == ["a/ward"]


def test_a_server_that_stays_away_ends_it():
    server = Server("a/ward", fails=[KubeError(0, "Unreachable", "no answer")] * 100)
    with pytest.raises(KubeError, match="no answer"):
        run(server)
    assert server.now <= 12


def test_a_refusal_is_told_at_once():
    server = Server("a/ward", fails=[KubeError(403, "Forbidden", "cannot list")])
    with pytest.raises(KubeError, match="cannot list"):
        run(server)
    assert server.now == 0
