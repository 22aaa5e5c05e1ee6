"""The report as PDF: its page, printed by a browser that is on the machine, by the page's own rules for paper."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from estimhank.support.errors import ConfigError, ResultsError
from estimhank.support.files import write_bytes

#: Names that Chromium and browsers built on it go by.
_NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "headless_shell",
    "microsoft-edge",
    "msedge",
    "brave-browser",
)

#: Where they are on systems that put no programs on the path.
_PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
)

#: A browser by name or path, in place of those that are looked for.
VARIABLE = "ESTIMHANK_BROWSER"

#: Seconds within which a page is printed; it takes a few.
_PATIENCE = 180


def find_browser() -> str:
    """Path of a browser that prints without a window: Chromium, or one built on it.

    Raises
    ------
    ConfigError
        There is none: what to install.
    """
    wanted = os.environ.get(VARIABLE)
    if wanted:
        if found := shutil.which(wanted):
            return found
        raise ConfigError(f"{VARIABLE} is {wanted}, which is no program here: give the path of Chromium or Chrome")
    for name in (*_NAMES, *_PLACES):
        if found := shutil.which(name):
            return found
    raise ConfigError(
        "a PDF is printed by Chromium or Google Chrome, and neither is here: install one "
        "(apt install chromium, brew install --cask chromium, winget install Google.Chrome), name it in "
        f"{VARIABLE}, or print report.html from the browser that you have"
    )


def write_pdf(page: Path, out: Path) -> Path:
    """Print a page to a PDF file, whole or not at all.

    Parameters
    ----------
    page : path
        An HTML file.
    out : path

    Returns
    -------
    path
        ``out``.

    Raises
    ------
    ConfigError
        There is no browser.
    ResultsError
        The browser did not print the page.
    StorageError
    """
    browser = find_browser()
    if not page.is_file():
        raise ResultsError(f"{page} is not there: write it with `estimhank report {page.parent}`")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        printed = Path(scratch) / "report.pdf"
        command = [
            browser,
            "--headless",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--no-pdf-header-footer",
            f"--user-data-dir={scratch}/profile",
            f"--print-to-pdf={printed}",
            page.resolve().as_uri(),
        ]
        if sys.platform == "linux" and os.geteuid() == 0:  # a container, where a browser has no sandbox of its own
            command.insert(1, "--no-sandbox")
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_PATIENCE)
            said = done.stderr.strip().splitlines()
        except subprocess.TimeoutExpired:
            said = [f"it was not done after {_PATIENCE} seconds"]
        except OSError as error:
            said = [str(error)]
        if not printed.is_file() or not printed.read_bytes().startswith(b"%PDF"):
            raise ResultsError(
                f"{browser} did not print {page} ({said[-1] if said else 'without saying why'}): name another browser "
                f"in {VARIABLE}, or print the page from one"
            )
        return write_bytes(out, printed.read_bytes())
