"""One picture of each page of the console: screenshots.py FOLDER"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from browser import PAGES, Watched, launch

#: A picture is to be no larger than that, in bytes.
MOST = 80_000


def write(page: Page, path: Path) -> None:
    """A picture in few colours: what the console has are few."""
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    for colours in (128, 64, 32, 16):
        small = picture.quantize(colours, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        small.save(path, optimize=True)
        if path.stat().st_size <= MOST:
            return
    raise SystemExit(f"{path.name} has {path.stat().st_size} bytes, more than {MOST}")


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = launch(playwright)
        for name in PAGES:
            for scheme in ("light", "dark") if name == "search" else ("light",):
                watched = Watched(browser, scheme=scheme)
                page = watched.show(name)
                if name == "compare":
                    # The first of A is on top of both, the third is farther down in B.
                    relevant = page.locator("section.side").nth(0).get_by_role("button", name=re.compile("^Relevant"))
                    relevant.nth(0).click()
                    relevant.nth(2).click()
                    page.locator("section.side").nth(1).get_by_role("button", name="Not relevant:").nth(1).click()
                page.wait_for_timeout(500)
                path = folder / f"{name}{'-dark' if scheme == 'dark' else ''}.png"
                write(page, path)
                print(f"{path} {path.stat().st_size} bytes")
                watched.close()
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
