"""Folders of WFDB records, as the commands of evaluation take them."""

from pathlib import Path

import click

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
"""Of an argument or option."""


def record_paths(*folders: Path) -> list[Path]:
    """Their records, without extension, in order of name within a folder.

    Raises:
        click.ClickException: there is none.
    """
    found = [header.with_suffix("") for folder in folders for header in sorted(folder.glob("*.hea"))]
    if not found:
        raise click.ClickException(f"{', '.join(map(str, folders))}: no WFDB record there (no *.hea)")
    return found
