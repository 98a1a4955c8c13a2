"""The browser that looks at the pages."""

from tests.chromium import browser

__all__ = ["browser"]
