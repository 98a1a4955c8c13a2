"""Device keys: a device's token, and rotation."""

import base64
import binascii
import hmac
import re
import secrets

import click

from holter_operator.build.meta import Object
from holter_operator.io.kube import KubeError
from holter_operator.kubectl.access import Access
from holter_operator.kubectl.options import Target, explained, target_options
from holter_operator.reconcile.kinds import SECRET

_DEVICE = re.compile(r"[A-Za-z0-9._-]{1,32}")
_BYTES = 32
NOT_DONE = 1


def derive(key: bytes, purpose: str, device: str) -> bytes:
    """HMAC-SHA256(key, purpose:device), as `docs/protocol.md` has it: bearer tokens and MAC keys."""
    return hmac.digest(key, f"{purpose}:{device}".encode(), "sha256")


def encoded(value: bytes) -> str:
    """Unpadded base64url."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _key(text: str) -> bytes:
    """The inverse; standard base64 is read too."""
    plain = text.strip().rstrip("=").replace("+", "-").replace("/", "_")
    key = base64.urlsafe_b64decode(plain + "=" * (-len(plain) % 4))
    if len(key) != _BYTES:
        raise ValueError(f"{len(key)} bytes, {_BYTES} are expected")
    return key


def _secret(target: Target, access: Access, document: Object) -> Object:
    name, spec = document["metadata"]["name"], document["spec"]["access"]
    if spec["mode"] == "Open":
        target.fail(f"cohort {name} is open (spec.access.mode): its devices need no token", NOT_DONE)
    called = (spec.get("keySecretRef") or {}).get("name") or f"{name}-device-key"
    try:
        found = access.kube.get(SECRET, access.namespace, called)
    except KubeError as error:
        target.fail(explained(error))
    if found is None:
        target.fail(f"Secret {called} is missing; kubectl holter status {name} says what to do", NOT_DONE)
    return found


def _current(target: Target, secret: Object) -> bytes:
    try:
        return _key(base64.b64decode(secret["data"]["current"]).decode())
    except (KeyError, ValueError, binascii.Error) as error:
        target.fail(f"Secret {secret['metadata']['name']}, key current: {error}", NOT_DONE)


@click.command()
@click.argument("device")
@click.argument("cohort", required=False)
@target_options
@click.option("--mac-key", "with_mac_key", is_flag=True, help="The key that signs binary frames too, as hexadecimal.")
def token(device: str, cohort: str | None, target: Target, with_mac_key: bool) -> None:
    """Print what DEVICE of COHORT has to send: its bearer token."""
    if not _DEVICE.fullmatch(device):
        raise click.BadParameter(f"{device!r}: has to match {_DEVICE.pattern}", param_hint="DEVICE")
    access = target.connect()
    document = target.cohort(access, cohort)
    key = _current(target, _secret(target, access, document))
    bearer, mac = encoded(derive(key, "bearer", device)), derive(key, "mac", device).hex()
    told = {"device": device, "token": bearer} | ({"macKey": mac} if with_mac_key else {})
    target.say(f"{bearer}\n{mac}" if with_mac_key else bearer, **told)


@click.command("rotate-key")
@click.argument("cohort", required=False)
@target_options
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--discard-previous", is_flag=True, help="Though the last rotation's old key is valid still.")
def rotate_key(cohort: str | None, target: Target, yes: bool, discard_previous: bool) -> None:
    """Make a new device key; tokens of the old one stay valid until the next rotation.

    Then provision every device anew (`token DEVICE`), and when all have their new token, end the rotation by removing
    the key `previous` from the Secret, or by rotating once more.
    """
    access = target.connect()
    document = target.cohort(access, cohort)
    name = document["metadata"]["name"]
    secret = _secret(target, access, document)
    old = _current(target, secret)
    if "previous" in secret["data"] and not discard_previous:
        target.fail(
            f"Secret {secret['metadata']['name']} has a key `previous`: devices that were not provisioned since the "
            "last rotation would be cut off. When all have their new token, say --discard-previous",
            NOT_DONE,
        )
    if not yes and target.output == "text":
        click.confirm(f"Every device of {name} will need a new token before the next rotation. Rotate?", abort=True)
    new = {"current": encoded(secrets.token_bytes(_BYTES)), "previous": encoded(old)}
    body = {
        # Whoever rotated meanwhile is not overwritten.
        "metadata": {"resourceVersion": secret["metadata"]["resourceVersion"]},
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in new.items()},
    }
    try:
        access.kube.patch(SECRET, access.namespace, secret["metadata"]["name"], body)
    except KubeError as error:
        target.fail(explained(error), NOT_DONE if error.status == 409 else 2)
    target.say(
        f"rotated: both keys are valid. Next: kubectl holter token DEVICE {name} for each device",
        cohort=name,
        secret=secret["metadata"]["name"],
        rotated=True,
    )
