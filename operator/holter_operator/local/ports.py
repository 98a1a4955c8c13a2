"""Which port on 127.0.0.1 each container port gets: the manifest's, or any free one, the same after a restart."""

from collections.abc import Callable, Iterable, Mapping

from holter_operator.local.manifests import PortWish

Free = Callable[[bool, int], int | None]
"""(is it UDP, number or 0 for any) → the number when it is free, else None."""


class PortError(Exception):
    """A port cannot be had; the message says which and what to do."""


def allocate(
    wishes: Iterable[PortWish],
    *,
    free: Free,
    saved: Mapping[str, int],
    chosen: Mapping[str, int],
    held: Mapping[str, int],
) -> dict[str, int]:
    """Numbers by `PortWish.key`.

    Args:
        wishes: the container ports.
        free: asks the system.
        saved: numbers of an earlier run.
        chosen: what the user said, by `<component>.<name>`, or by port name for the first that has it; 0 is any.
        held: what our own running processes listen on.

    Raises:
        PortError: a port that has to be this number is taken.
    """
    numbers: dict[str, int] = {}
    for wish in wishes:
        # Pods all have the same metrics port, and nobody outside depends on its number or the feed's.
        default = 0 if wish.name in ("metrics", "feed") else wish.number
        wanted = chosen.get(wish.key, chosen.get(wish.name, default))
        if wish.key not in chosen and wanted in (n for n in numbers.values() if n):
            wanted = default  # `http=8090` is the first component's that has such a port
        if wanted == 0:
            earlier = saved.get(wish.key, 0)
            if earlier and (held.get(wish.key) == earlier or free(wish.udp, earlier)):
                numbers[wish.key] = earlier
                continue
        elif held.get(wish.key) == wanted:
            numbers[wish.key] = wanted
            continue
        number = free(wish.udp, wanted)
        if number is None:
            kind = "UDP" if wish.udp else "TCP"
            raise PortError(
                f"{wish.component} needs {kind} port {wanted} ({wish.name}) on 127.0.0.1 and another program has it: "
                f"end that one, change the port in the cohort, or use --port {wish.key}=NUMBER (0: any free)"
            )
        numbers[wish.key] = number
    return numbers
