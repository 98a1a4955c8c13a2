"""The plugin derives what the services do; the halves do not import each other, so the test vectors hold both."""

from holter import keys
from holter_operator.kubectl.keys import _key, derive, encoded

KEY = bytes(range(32))


def test_tokens_are_those_of_the_protocol():
    assert encoded(derive(KEY, "bearer", "wearable-1")) == "9-B5FifSZQ8sH27fJZ6ElimL-Yw4mNzXwqeTY0a7nz8"
    assert derive(KEY, "mac", "wearable-1").hex() == "19a3dcce4357b73e3f2df3a2fafaad03f255c601d9b1d54474312401b1abae03"
    for device in ("W.2_x", "a" * 32):
        assert encoded(derive(KEY, "bearer", device)) == keys.bearer(KEY, device)
        assert derive(KEY, "mac", device) == keys.mac_key(KEY, device)


def test_keys_are_read_in_any_base64():
    for text in ("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"):
        assert _key(text) == KEY
    assert _key("+/+/" + "A" * 39)[:3] == b"\xfb\xff\xbf"
