"""What the user chose on the plugin's page of napari's Preferences."""

from __future__ import annotations

from typing import Any

from napari.settings import get_plugin_settings

PLUGIN = "napari-tinymig"
DEFAULTS: dict[str, dict[str, Any]] = {
    "general": {"task": "auto", "device": "auto", "threads": 0, "autosave_seconds": 30},
    "masks": {"opacity": 0.55, "outline": False},
    "fine_tuning": {"minutes": 1.0},
}


def setting(group: str, key: str) -> Any:
    """A setting of the manifest's `configurations`; its default where napari knows no settings of the plugin.

    napari builds settings when plugins are discovered: a panel opened by a script before that has none.
    """
    default = key if group == "models" else DEFAULTS[group][key]  # a task's usual model has the task's name
    try:
        return getattr(getattr(get_plugin_settings(PLUGIN), group), key)
    except (KeyError, AttributeError):
        return default
