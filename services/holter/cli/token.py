"""`holter token`: what a device needs to send, from the cohort's device key."""

from pathlib import Path

import click

from holter.chunk import DEVICE_ID
from holter.endpoints import EndpointsError, find
from holter.keys import KeyFileError, bearer, load, mac_key


@click.command()
@click.argument("device_id", metavar="DEVICE")
@click.option(
    "--key",
    "folder",
    envvar="HOLTER_DEVICE_KEYS",
    show_envvar=True,
    type=click.Path(path_type=Path, exists=True),
    help="The cohort's device key: the folder of `current`, or that file.  [default: that of the only running cohort]",
)
@click.option("--mac-key", "with_mac_key", is_flag=True, help="Print the key that signs frames too, as hexadecimal.")
def token(device_id: str, folder: Path | None, with_mac_key: bool) -> None:
    """Print the bearer token of DEVICE."""
    if not DEVICE_ID.fullmatch(device_id):
        raise click.BadParameter(f"{device_id!r}: has to match {DEVICE_ID.pattern}", param_hint="DEVICE")
    folder = folder or _running()
    try:
        key = load(folder.parent if folder.is_file() else folder).current
    except KeyFileError as e:
        raise click.ClickException(str(e)) from e
    click.echo(bearer(key, device_id))
    if with_mac_key:
        click.echo(mac_key(key, device_id).hex())


def _running() -> Path:
    try:
        endpoints = find()
    except EndpointsError as e:
        raise click.UsageError(f"--key: {e}") from e
    if endpoints is None or endpoints.device_keys is None:
        raise click.UsageError("--key: no cohort runs from this folder; the folder of its device key is expected")
    return endpoints.device_keys
