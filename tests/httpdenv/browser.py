"""Debian's Chromium, headless and driven by selenium, for tests of pages that people read.

with Browser(tmp_path, dark=True) as browser:
    browser.open(httpd.url("/page"), width=360)
    assert browser.console_messages() == []
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

# A fresh profile that contacts no update service. Chromium's own sandbox does not work as root.
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--no-proxy-server",
)
MISSING = "no browser: on Debian, apt-get install chromium chromium-driver"


def is_available() -> bool:
    return all(shutil.which(name) for name in ("chromium", "chromedriver"))


class Browser:
    """One window. `dark` sets the colour scheme that the user prefers."""

    def __init__(self, directory: Path, *, dark: bool = False) -> None:
        from selenium import webdriver

        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium")
        for argument in (*ARGUMENTS, f"--user-data-dir={directory / 'profile'}"):
            options.add_argument(argument)
        if dark:
            options.add_argument("--blink-settings=preferredColorScheme=0")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        environment = {
            name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")
        }
        service = webdriver.ChromeService(
            shutil.which("chromedriver"), env={**environment, "HOME": str(directory)}
        )
        self._driver = webdriver.Chrome(options=options, service=service)
        self._driver.set_page_load_timeout(60)

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self._driver.quit()

    def resize(self, width: int, height: int = 900) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def open(self, url: str, width: int = 1100, height: int = 900) -> None:
        self.resize(width, height)
        self._driver.get(url)

    def run(self, script: str) -> Any:
        """Runs a script in the page and returns its result."""
        return self._driver.execute_script(script)

    def text(self, selector: str) -> str:
        return self.run(f"return document.querySelector({selector!r}).innerText")

    def console_messages(self) -> list[str]:
        """The console's messages since the last call: errors, and violations of the page's
        policy.
        """
        return [entry["message"] for entry in self._driver.get_log("browser")]

    def screenshot(self, path: Path) -> None:
        assert self._driver.save_screenshot(str(path))
