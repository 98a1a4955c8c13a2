"""Patient profiles: a wrong entry costs only itself, a wrong file nothing, a change is seen."""

import os

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from holter.config import PatientProfile
from holter.inference.profiles import DEFAULT, Profiles, ProfilesError, parse


def test_good_entries():
    parsed = parse(
        b"""
bed-07: {paced: true}
bed-12: {knownAF: true, hrLow: 45, hrHigh: 150.5, mutedUntil: 2026-03-01T07:30:00+01:00}
bed-13: {mutedUntil: 1772346600}
bed-14: {mutedUntil: "2026-03-01T06:30:00Z"}
bed-15:
16: {}
"""
    )
    assert parsed.faults == ()
    assert parsed.profiles == {
        "bed-07": PatientProfile(paced=True),
        "bed-12": PatientProfile(known_af=True, hr_low=45, hr_high=150.5, muted_until=1772346600),
        "bed-13": PatientProfile(muted_until=1772346600),
        "bed-14": PatientProfile(muted_until=1772346600),
        "bed-15": DEFAULT,
        "16": DEFAULT,
    }


@pytest.mark.parametrize(
    ("entry", "device", "field", "message"),
    [
        ("bad: {hrHigh: fast}", "bad", "hrHigh", "valid number"),
        ("bad: {hrHigh: 400}", "bad", "hrHigh", "less than or equal to 300"),
        ("bad: {hrLow: .nan}", "bad", "hrLow", "finite number"),
        ("bad: {hrLow: 110, hrHigh: 90}", "bad", "", "hrLow must be below hrHigh"),
        ("bad: {paced: perhaps}", "bad", "paced", "valid boolean"),
        ("bad: {mutedUntil: 2026-03-01T07:30:00}", "bad", "mutedUntil", "needs an offset"),
        ("bad: {mutedUntil: tomorrow}", "bad", "mutedUntil", "RFC 3339 or seconds since the epoch"),
        ("bad: {hr_high: 150}", "bad", "hr_high", "hrHigh and mutedUntil are known"),
        ("bad: {known_af: true}", "bad", "known_af", "knownAF"),
        ("bad: [paced]", "bad", "", "a mapping of paced"),
        ("bad: paced", "bad", "", "a mapping of paced"),
        ("bad: {paced: true, paced: false}", "bad", "", "given twice"),
        ("bad: !!python/object:os.system {}", "bad", "", "could not determine a constructor"),
        ("good: {paced: true}", "good", "", "named twice"),
        ("'bed 9': {}", "'bed 9'", "", "a device id is expected"),
        ("? [a]\n: {}", "''", "", "a device id is expected"),
    ],
)
def test_a_wrong_entry_costs_only_itself(entry, device, field, message):
    parsed = parse(f"good: {{paced: true}}\n{entry}\nalso: {{knownAF: true}}\n".encode())
    assert parsed.profiles == {"good": PatientProfile(paced=True), "also": PatientProfile(known_af=True)}
    (fault,) = parsed.faults
    assert (fault.device, fault.field, fault.line) == (device, field, 2)
    assert message in fault.message


def test_each_wrong_field_is_named_with_its_value():
    (first, second) = parse(b"bed: {hrLow: 7, hrHigh: nine}").faults
    assert [(f.field, f.value) for f in (first, second)] == [("hrLow", "7"), ("hrHigh", "'nine'")]


@pytest.mark.parametrize(
    "content", [b"- a\n", b"text", b"a: {b", b"\xff\xfe\x00", b"a: *nowhere", b"[" * 5_000, b"a: 1\n--- \nb: 2\n"]
)
def test_a_file_that_is_no_mapping_is_refused_whole(content):
    with pytest.raises(ProfilesError):
        parse(content)


def test_a_bomb_of_aliases_is_a_short_fault():
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
        for before, name in zip("abcdefghijklmno", "bcdefghijklmnop", strict=True)
    )
    faults = parse(bomb.encode()).faults
    assert len(faults) == 16
    assert max(len(fault.value) for fault in faults) < 500


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_garbage_never_raises_anything_else(content):
    try:
        parse(content)
    except ProfilesError as error:
        assert str(error)  # noqa: PT017 - that it is this error and says something is all


class TestReload:
    def test_without_a_file_all_have_the_defaults(self):
        profiles = Profiles(None)
        assert profiles.refresh() is False
        assert profiles.of("bed-07") == DEFAULT

    def test_a_change_is_seen_and_a_bad_file_keeps_the_previous(self, tmp_path):
        path = tmp_path / "profiles.yaml"
        path.write_text("bed: {hrHigh: 150}")
        profiles = Profiles(path)
        assert profiles.of("bed").hr_high == 150
        assert profiles.refresh() is False
        path.write_text("bed: {hrHigh: 160}\nworse: {hrHigh: x}")
        assert profiles.refresh() is True
        assert profiles.of("bed").hr_high == 160
        assert [fault.device for fault in profiles.faults] == ["worse"]
        path.write_text("bed: {")
        assert profiles.refresh() is False
        assert "not YAML: line 1" in profiles.problem
        assert profiles.refresh() is False
        assert "not YAML" in profiles.problem
        assert profiles.of("bed").hr_high == 160
        path.unlink()
        assert profiles.refresh() is False
        assert "No such file" in profiles.problem
        assert profiles.of("bed").hr_high == 160
        path.write_text("bed: {hrHigh: 170}")
        assert profiles.refresh() is True
        assert (profiles.problem, profiles.faults, profiles.of("bed").hr_high) == ("", (), 170)
        path.write_text("")
        assert profiles.refresh() is True
        assert profiles.of("bed") == DEFAULT

    def test_a_file_that_comes_later(self, tmp_path):
        profiles = Profiles(tmp_path / "profiles.yaml")
        assert "No such file" in profiles.problem
        (tmp_path / "profiles.yaml").write_text("bed: {paced: true}")
        assert profiles.refresh() is True
        assert profiles.of("bed").paced

    def test_a_mounted_secret_that_is_swapped(self, tmp_path):
        # The kubelet's way: profiles.yaml → ..data/profiles.yaml, ..data → a dated folder, swapped by a rename.
        for name, limit in (("..old", 150), ("..new", 160)):
            (tmp_path / name).mkdir()
            (tmp_path / name / "profiles.yaml").write_text(f"bed: {{hrHigh: {limit}}}")
            os.utime(tmp_path / name / "profiles.yaml", ns=(1, 1))
        (tmp_path / "..data").symlink_to("..old")
        (tmp_path / "profiles.yaml").symlink_to("..data/profiles.yaml")
        profiles = Profiles(tmp_path / "profiles.yaml")
        assert profiles.of("bed").hr_high == 150
        (tmp_path / "..tmp").symlink_to("..new")
        (tmp_path / "..tmp").rename(tmp_path / "..data")
        assert profiles.refresh() is True
        assert profiles.of("bed").hr_high == 160

    def test_a_huge_file_is_not_read(self, tmp_path):
        path = tmp_path / "profiles.yaml"
        with path.open("wb") as file:
            file.truncate(3 << 20)
        assert "at most" in Profiles(path).problem

    def test_logs_hold_no_patient_data_but_the_device(self, tmp_path):
        path = tmp_path / "profiles.yaml"
        with structlog.testing.capture_logs() as logs:
            path.write_text("bed: {hrHigh: 123456, paced: 123456, 123456: 1}\nother: {hrLow: 1, hrLow: 123456}")
            profiles = Profiles(path)
            path.write_text("bed: {hrHigh: 123456\nother: {")
            profiles.refresh()
        assert {entry.get("device_id") for entry in logs if entry["event"] == "profile_wrong"} == {"bed", "other"}
        assert all(fault in {"hrHigh", "paced", "123456", ""} for entry in logs if (fault := entry.get("field", "")))
        assert "123456" not in str([{k: v for k, v in entry.items() if k != "field"} for entry in logs])
