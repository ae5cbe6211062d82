"""One picture of each page of the console, and one of what is drawn of judgments: screenshots.py FOLDER"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from browser import PAGES, QUERY, Watched, judge, launch

#: A picture is to be no larger than that, in bytes.
MOST = 80_000
#: What answers each of some queries. Everything else that is shown for them is judged as not relevant.
RELEVANT = {
    QUERY: {"how-migrating-birds-find-their-way", "the-salmons-return-to-its-birth-stream"},
    "why does bread rise": {"why-bread-rises"},
    "what makes volcanoes erupt": {"what-triggers-a-volcanic-eruption", "how-plate-tectonics-works"},
    "how do ships know where they are?": {"solving-the-longitude-problem"},
    "keeping food without a fridge": {"kimchi-through-the-winter", "appert-and-the-first-preserved-meals", "salt-cod-and-the-open-sea"},
    "how do plants get their food?": {"photosynthesis-step-by-step", "carnivorous-plants-of-poor-soils", "fungal-partners-beneath-the-forest"},
}


def write(seen: Page | Locator, path: Path) -> None:
    """A picture in few colours: what the console has are few."""
    picture = Image.open(io.BytesIO(seen.screenshot())).convert("RGB")
    for colours in (128, 64, 32, 16):
        small = picture.quantize(colours, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        small.save(path, optimize=True)
        if path.stat().st_size <= MOST:
            print(f"{path} {path.stat().st_size} bytes")
            return
    raise SystemExit(f"{path.name} has {path.stat().st_size} bytes, more than {MOST}")


def judgments(browser: Browser, folder: Path) -> None:
    """What is drawn of several queries, one of which was asked under two more settings."""
    watched = Watched(browser)
    page = watched.show("compare")
    for query, relevant in RELEVANT.items():
        page.get_by_label("Query").fill(query)
        page.keyboard.press("Enter")
        expect(page.locator(".pictures")).to_have_attribute("data-query", query)
        judged = set()
        for side in (0, 1):
            rows = page.locator("section.side").nth(side).locator(".compare-row")
            for rank, hit in enumerate(rows.evaluate_all("rows => rows.map((row) => row.dataset.hit)"), 1):
                if hit not in judged:
                    judge(page, side, "Relevant" if hit in relevant else "Not relevant", rank)
                    judged.add(hit)
    cost = page.locator("[data-picture=cost]")
    answers = 2 * len(RELEVANT)
    setting = page.get_by_role("group", name="Setting B")
    setting.get_by_text("Vectors", exact=True).click()
    expect(cost).to_contain_text(f"{answers + 1} answers")
    setting.get_by_label("Re-rank").select_option("gleaner-reranker")
    expect(cost).to_contain_text(f"{answers + 2} answers")
    for _ in range(2):
        page.go_back()
    expect(page.locator(".pictures .mark.side-other")).to_have_count(2 + 1)
    write(page.locator(".pictures"), folder / "judgments.png")
    watched.close()


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
                    judge(page, 0, "Relevant", 1)
                    judge(page, 0, "Relevant", 3)
                    judge(page, 1, "Not relevant", 2)
                page.wait_for_timeout(500)
                write(page, folder / f"{name}{'-dark' if scheme == 'dark' else ''}.png")
                watched.close()
        judgments(browser, folder)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
