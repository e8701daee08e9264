"""Which device a prediction runs on, and why."""

from __future__ import annotations

from ...network.run import resolve_device
from ..parts.settings import setting
from ..parts.style import Badge


def say_device(badge: Badge) -> None:
    """Let the badge name the device that the Preferences lead to; a warning where it is not there."""
    wish = str(setting("general", "device"))
    try:
        device = resolve_device(wish)
    except ValueError as e:
        badge.say("CPU", f"{e} Change it in Preferences > Plugins.", "warn")
        return
    badge.say(str(device), f"'{wish}' is set in Preferences; {device.reason}.")
