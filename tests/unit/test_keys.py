"""Device keys: derivation, both keys valid, reload, and errors that say what would be right."""

import base64
import hashlib
import hmac

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from holter.cli.token import token
from holter.keys import DeviceKeys, KeyFileError, KeyFolder, bearer, load, mac_key

KEY, OLD = bytes(range(32)), bytes(range(32, 64))


def text(key: bytes) -> str:
    return base64.urlsafe_b64encode(key).decode()


def test_derivation_is_hmac_sha256_of_purpose_and_id():
    digest = hmac.new(KEY, b"bearer:wearable-1", hashlib.sha256).digest()
    assert base64.urlsafe_b64decode(bearer(KEY, "wearable-1") + "=") == digest
    assert "=" not in bearer(KEY, "wearable-1")
    assert mac_key(KEY, "wearable-1") == hmac.new(KEY, b"mac:wearable-1", hashlib.sha256).digest()


def test_both_keys_are_valid_and_others_are_not():
    keys = DeviceKeys(KEY, OLD)
    assert keys.allows_bearer("a", bearer(KEY, "a"))
    assert keys.allows_bearer("a", bearer(OLD, "a"))
    assert not keys.allows_bearer("b", bearer(KEY, "a"))
    assert not DeviceKeys(KEY).allows_bearer("a", bearer(OLD, "a"))
    signers = [signer.mac(b"frame") for signer in keys.signers("a")]
    assert signers == [hmac.digest(mac_key(key, "a"), b"frame", "sha256")[:8] for key in (KEY, OLD)]
    assert len(DeviceKeys(KEY).signers("a")) == 1


@given(st.text())
def test_no_text_but_the_token_is_allowed(garbage):
    assert not DeviceKeys(KEY, OLD).allows_bearer("a", garbage)


@pytest.mark.parametrize("written", [text(KEY), text(KEY).rstrip("="), text(KEY) + "\n"])
def test_load_takes_base64url_padded_or_not(tmp_path, written):
    (tmp_path / "current").write_text(written)
    assert load(tmp_path) == DeviceKeys(KEY)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("current", None, "current: No such file"),
        ("current", b"", "holds 0 bytes; base64url of 32 bytes"),
        ("current", text(KEY[:31]).encode(), "holds 31 bytes"),
        ("current", b"not base64!", "not base64url"),
        ("previous", b"x", "previous: not base64url"),
    ],
)
def test_a_wrong_file_is_named(tmp_path, name, content, message):
    (tmp_path / "current").write_text(text(KEY))
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(KeyFileError, match=message):
        load(tmp_path)


def test_standard_base64_is_read_too(tmp_path):
    (tmp_path / "current").write_bytes(base64.b64encode(b"\xff" * 32))
    assert load(tmp_path).current == b"\xff" * 32


def test_a_rotation_is_seen_and_a_broken_folder_keeps_the_keys(tmp_path):
    (tmp_path / "current").write_text(text(OLD))
    folder = KeyFolder(tmp_path)
    assert not folder.refresh()
    (tmp_path / "previous").write_text(text(OLD))
    (tmp_path / "current").write_text(text(KEY))
    assert folder.refresh()
    assert folder.keys == DeviceKeys(KEY, OLD)
    (tmp_path / "current").unlink()
    with pytest.raises(KeyFileError):
        folder.refresh()
    assert folder.keys == DeviceKeys(KEY, OLD)


def test_the_command_prints_bearer_and_mac_key(tmp_path):
    (tmp_path / "current").write_text(text(KEY))
    run = CliRunner().invoke(token, ["wearable-1", "--key", str(tmp_path), "--mac-key"])
    assert run.exit_code == 0
    assert run.output.split() == [bearer(KEY, "wearable-1"), mac_key(KEY, "wearable-1").hex()]
    assert CliRunner().invoke(token, ["wearable-1", "--key", str(tmp_path / "current")]).output.split() == [
        bearer(KEY, "wearable-1")
    ]


def test_the_command_refuses_what_is_no_device_id(tmp_path):
    (tmp_path / "current").write_text(text(KEY))
    run = CliRunner().invoke(token, ["no/slash", "--key", str(tmp_path)])
    assert run.exit_code == 2
    assert "has to match" in run.output
    run = CliRunner().invoke(token, ["a", "--key", str(tmp_path / "nowhere")])
    assert run.exit_code == 2
