"""The console as somebody uses it, in a browser: what `tools/check_console.py` runs.

Indexes `articles` and `code`, the database `shop` and the catalog `sample` have to be there. Every
test also fails for an error on the browser's console and for a request that leaves the origin.
"""

from __future__ import annotations

import json
import math
import re
import unittest
import urllib.request
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

import browser as tools
from browser import KEY, PAGES, QUERY, QUESTION, TEXT, URL, Watched, ask

expect.set_options(timeout=20_000)


class Console(unittest.TestCase):
    browser: Browser

    @classmethod
    def setUpClass(cls) -> None:
        cls.playwright = sync_playwright().start()
        cls.browser = tools.launch(cls.playwright)

    @classmethod
    def tearDownClass(cls) -> None:
        cls.browser.close()
        cls.playwright.stop()

    def open(self, **options) -> Watched:
        watched = Watched(self.browser, **options)

        def end() -> None:
            watched.close()
            self.assertEqual(watched.complaints, [])

        self.addCleanup(end)
        return watched

    def go(self, address: str, **options) -> Page:
        watched = self.open(**options)
        watched.page.goto(f"{URL}/{address}")
        return watched.page


class Searching(Console):
    def test_a_query_its_hits_and_reasons(self):
        page = self.go("")
        expect(page.get_by_role("heading", level=1)).to_have_text("Search")
        page.keyboard.press("/")
        page.keyboard.type(QUERY)
        page.keyboard.press("Enter")
        hits = page.locator("article.hit")
        expect(hits).to_have_count(10)
        expect(hits.first.locator("h2")).to_have_text("How Migrating Birds Find Their Way")
        expect(hits.first.locator("mark").first).to_be_visible()
        expect(page.locator(".summary-line")).to_contain_text("320 documents")
        expect(page.locator(".summary-line")).to_contain_text("ms")
        # At a glance: a bar of parts that add up to the score.
        parts = [float(text) for text in hits.first.locator(".glance-parts b").all_inner_texts()]
        score = float(re.sub("[^0-9.]", "", hits.first.locator(".glance-score").inner_text()))
        self.assertAlmostEqual(sum(parts), score, delta=0.003)
        hits.first.get_by_text("Why this score").click()
        expect(hits.first.get_by_role("table")).to_have_count(3)
        expect(hits.first.get_by_role("row", name=re.compile("^find title"))).to_be_visible()

    def test_modes_are_in_the_address(self):
        page = self.go(PAGES["search"])
        page.get_by_text("Words", exact=True).click()
        expect(page.locator(".summary-line")).to_contain_text("match the words")
        self.assertIn("mode=lexical", page.url)
        page.go_back()
        expect(page.locator(".summary-line")).to_contain_text("320 documents, ranked")

    def test_a_facet_narrows_down(self):
        page = self.go(PAGES["search"])
        page.locator("[data-facet=section]", has_text="nature").click()
        expect(page.locator(".chip")).to_have_text('section = "nature"')
        expect(page.locator(".summary-line")).to_contain_text("40 documents pass the filter")
        for facts in page.locator(".hit .facts").all_inner_texts():
            self.assertRegex(facts, r"section\s+nature")
        page.locator("[data-facet=featured]", has_text="yes").click()
        expect(page.locator(".chip")).to_have_count(2)
        page.get_by_role("button", name='Remove filter section = "nature"').click()
        expect(page.locator(".summary-line")).to_contain_text("40 documents pass the filter")
        expect(page.locator(".chip")).to_have_text("featured = true")

    def test_a_filter_that_cannot_be_read(self):
        page = self.go(PAGES["search"])
        page.get_by_label("Filter").fill("section >< 3")
        page.keyboard.press("Enter")
        problem = page.get_by_role("alert")
        expect(problem).to_contain_text("invalid_filter")
        expect(problem).to_contain_text("character 10")
        expect(problem).to_contain_text("a value")
        page.get_by_label("Filter").fill("rating >= 4.5")
        page.keyboard.press("Enter")
        expect(page.locator(".hit").first).to_be_visible()
        expect(page.get_by_role("alert")).to_have_count(0)

    def test_pages(self):
        page = self.go(PAGES["search"])
        first = page.locator(".hit h2").first.inner_text()
        page.get_by_role("button", name="Next").click()
        expect(page.locator(".pager")).to_contain_text("11 to 20")
        expect(page.locator(".hit-rank").first).to_have_text("11")
        self.assertNotEqual(page.locator(".hit h2").first.inner_text(), first)
        page.get_by_role("button", name="Previous").click()
        expect(page.locator(".hit h2").first).to_have_text(first)

    def test_nothing_found(self):
        page = self.go("#/search?index=articles&mode=lexical&q=xyzzyplugh")
        expect(page.get_by_role("heading", name="Nothing found")).to_be_visible()

    def test_a_server_that_is_gone(self):
        page = self.open().show("search")
        page.route("**/v1/**", lambda route: route.abort())
        page.get_by_label("Query").fill("bread")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
        page.unroute("**/v1/**")
        page.get_by_role("button", name="Try again").click()
        expect(page.locator(".hit").first).to_be_visible()

    def test_the_keyboard(self):
        page = self.go(PAGES["search"])
        hits = page.locator("article.hit")
        expect(hits.first).to_be_visible()
        page.keyboard.press("j")
        expect(hits.nth(0)).to_be_focused()
        page.keyboard.press("j")
        expect(hits.nth(1)).to_be_focused()
        page.keyboard.press("o")
        expect(hits.nth(1).locator("details")).to_have_attribute("open", "")
        page.keyboard.press("k")
        expect(hits.nth(0)).to_be_focused()
        page.keyboard.press("?")
        expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)
        page.keyboard.press("/")
        expect(page.get_by_label("Query")).to_be_focused()
        page.keyboard.type("jk")
        expect(page.get_by_label("Query")).to_have_value("jk")

    def test_the_skip_link(self):
        page = self.go(PAGES["search"])
        expect(page.locator(".hit").first).to_be_visible()
        page.keyboard.press("Tab")
        link = page.get_by_role("link", name="Skip to content")
        expect(link).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("main")).to_be_focused()
        self.assertIn("#/search", page.url)

    def test_texts_stay_texts(self):
        tools.remove_index("hostile")
        definition = {"name": "hostile", "fields": {"title": {"type": "text"}, "note": {"type": "keyword"}}}
        ask("POST", "/v1/indexes", definition)
        self.addCleanup(tools.remove_index, "hostile")
        title = '<img src=x onerror="document.title=1"> train <em>not a mark</em> &lt;b&gt;'
        ask("POST", "/v1/indexes/hostile/documents?refresh=wait", [{"id": "<b>1</b>", "title": title, "note": "<script>"}])
        page = self.go("#/search?index=hostile&q=train")
        expect(page.locator(".hit h2")).to_have_text(title)
        expect(page.locator(".hit mark")).to_have_text("train")
        expect(page.locator(".hit img, .hit em, .hit b:not(.glance b), .hit script")).to_have_count(0)
        expect(page).to_have_title("Search – Gleaner")


class Comparing(Console):
    def test_two_settings_and_judgments(self):
        page = self.go(PAGES["compare"])
        sides = page.locator("section.side")
        expect(sides).to_have_count(2)
        expect(sides.nth(0).locator(".compare-row")).to_have_count(10)
        expect(sides.nth(1)).to_contain_text("words alone")
        expect(page.locator(".move.up, .move.down, .move.new").first).to_be_visible()
        expect(page.locator("dd.ndcg").first).to_have_text("–")
        before = ask("GET", "/v1/indexes/articles/feedback")["events"]["judgments"]
        # The first of A is right, the second of B, which stands lower in A, as well.
        sides.nth(0).get_by_role("button", name=re.compile("^Relevant")).first.click()
        expect(page.locator("dd.ndcg").nth(0)).to_have_text("1.000")
        sides.nth(1).get_by_role("button", name=re.compile("^Relevant")).nth(1).click()
        sides.nth(1).get_by_role("button", name=re.compile("^Not relevant")).nth(2).click()
        expect(page.locator("dd.ndcg").nth(1)).to_have_text("1.000")
        expect(page.locator(".verdict")).to_contain_text("B is better by")
        expect(page.locator(".verdict")).to_contain_text("3 of ")
        expect(page.locator(".compare-row.relevant").first).to_be_visible()
        page.wait_for_function("JSON.parse(sessionStorage.getItem('gleaner.judgments') || '{}')")
        after = ask("GET", "/v1/indexes/articles/feedback")["events"]["judgments"]
        self.assertGreaterEqual(after, max(before, 3))
        # They are still there where one comes back.
        page.reload()
        expect(page.locator(".verdict")).to_contain_text("B is better by")

    def test_settings_are_asked_for(self):
        page = self.go(PAGES["compare"])
        second = page.get_by_role("group", name="Setting B")
        second.get_by_text("Both", exact=True).click()
        second.get_by_label("Fused by").select_option("minmax")
        expect(page.locator("section.side").nth(1)).to_contain_text("min-max, words 0.5")
        second.get_by_label("Re-rank").select_option("gleaner-reranker")
        expect(page.locator("section.side").nth(1)).to_contain_text("re-ranked")
        expect(page.locator("section.side").nth(1)).to_contain_text("before re-ranking #")
        second.get_by_label("Weight of the reranker").select_option("1")
        expect(page.locator("section.side").nth(1)).to_contain_text("re-ranked by 1")

    def test_judgments_are_drawn(self):
        page = self.go("#/compare")
        expect(page.get_by_text("then drawn below")).to_be_visible()
        page.get_by_label("Query").fill(QUERY)
        page.keyboard.press("Enter")
        drawn = page.get_by_role("region", name="What the judgments show")
        expect(drawn.locator(".picture-empty")).to_have_count(3)
        expect(drawn.locator("svg.chart, table")).to_have_count(0)
        expect(page.get_by_role("button", name="See it drawn")).to_be_hidden()
        # Hits that are not relevant alone: scores can be shown, quality cannot.
        tools.judge(page, 0, "Not relevant", 4)
        expect(drawn.get_by_role("img")).to_have_count(1)
        expect(drawn.locator(".picture-empty")).to_have_count(2)
        for rank in (1, 3):
            tools.judge(page, 0, "Relevant", rank)
        page.get_by_role("button", name="See it drawn").click()
        expect(drawn).to_be_focused()
        expect(drawn.get_by_role("img")).to_have_count(3)
        for title in ("Precision and recall", "Scores of relevant hits and others", "Quality and time"):
            expect(drawn.get_by_role("heading", name=title, exact=True)).to_be_visible()

        curve = drawn.locator("[data-picture=curve]")
        expect(curve.locator("path.line")).to_have_count(2)
        expect(curve.locator("svg.chart")).to_contain_text("precision")
        # A has what is relevant at 1 and 3: precision 1 up to half of it, two thirds beyond.
        mean = (6 + 5 * 2 / 3) / 11
        expect(curve.get_by_role("img")).to_have_attribute("aria-label", re.compile(f"On average A has {mean:.3f}, B 0"))
        curve.get_by_text("Numbers", exact=True).click()
        expect(curve.get_by_role("row")).to_have_count(12)
        expect(curve.get_by_role("row").last).to_contain_text("0.667")

        spread = drawn.locator("[data-picture=scores]")
        expect(spread.get_by_role("img")).to_have_attribute("aria-label", re.compile(r"A: 2 relevant, on average [\d.]+; 1 not, .* B: 2 relevant"))
        heights = spread.locator("rect.column-yes").evaluate_all("all => all.map((one) => Number(one.getAttribute('height')))")
        self.assertGreaterEqual(len(heights), 2)
        self.assertTrue(all(height > 0 for height in heights), heights)

        cost = drawn.locator("[data-picture=cost]")
        expect(cost.locator("svg.chart .mark")).to_have_count(2)
        expect(cost.get_by_role("img")).to_have_attribute("aria-label", re.compile(r"2 answers\. A: on average 0\.\d+ in "))
        told = cost.locator("svg.chart circle title").text_content()
        self.assertIn(f"A: both, learned; “{QUERY}”: {page.locator('dd.ndcg').first.inner_text()} in ", told)

        # Another setting is one more answer; that of before stays, as one of other settings.
        page.get_by_role("group", name="Setting B").get_by_text("Vectors", exact=True).click()
        expect(cost.locator("svg.chart .mark")).to_have_count(3)
        expect(cost.locator("svg.chart .mark.side-other")).to_have_count(1)
        # Another query as well, and what it is judged by is in the mean.
        page.get_by_label("Query").fill("why does bread rise")
        page.keyboard.press("Enter")
        expect(page.locator(".compare-row.relevant")).to_have_count(0)
        tools.judge(page, 0, "Relevant", 1)
        expect(curve).to_contain_text("the mean of 2 judged queries")
        expect(cost.locator("svg.chart .mark")).to_have_count(5)
        # What is filtered is another list: it is not mixed with the whole.
        page.get_by_label("Filter").fill("rating >= 4")
        page.keyboard.press("Enter")
        expect(cost.locator("svg.chart .mark")).to_have_count(2)
        page.go_back()
        expect(cost.locator("svg.chart .mark")).to_have_count(5)
        page.reload()
        expect(cost.locator("svg.chart .mark")).to_have_count(5)

    def test_a_side_without_hits_is_drawn(self):
        page = self.go("#/compare?index=articles&q=xyzzyplugh")
        expect(page.locator("section.side").nth(1)).to_contain_text("Nothing found")
        tools.judge(page, 0, "Relevant", 1)
        drawn = page.locator(".pictures")
        expect(drawn.get_by_role("img")).to_have_count(3)
        expect(drawn.locator("[data-picture=scores]").get_by_role("img")).to_have_attribute("aria-label", re.compile("B: 0 relevant; 0 not"))
        expect(drawn.locator("[data-picture=cost] svg.chart .mark")).to_have_count(2)
        places = drawn.locator("svg *").evaluate_all("all => all.flatMap((one) => [...one.attributes].map((attribute) => attribute.value))")
        self.assertEqual([place for place in places if "NaN" in place or "Infinity" in place], [])


class Elsewhere(Console):
    def test_a_question_to_a_schema(self):
        page = self.go("#/schemas?db=shop")
        drawing = page.locator("svg.schema")
        expect(drawing.locator(".table-box")).to_have_count(9)
        page.get_by_label("Question").fill(QUESTION)
        page.get_by_role("button", name="Focus").click()
        expect(page.locator(".matched")).to_contain_text("cities.name = Fremont")
        kept = drawing.locator(".table-box").count()
        self.assertLess(kept, 9)
        self.assertGreater(drawing.locator(".edge").count(), 1)
        page.get_by_label("left out").check()
        expect(drawing.locator(".table-box")).to_have_count(9)
        expect(drawing.locator(".table-box.dim")).to_have_count(9 - kept)
        page.get_by_text("Prompt for a language model").click()
        expect(page.locator("pre.block")).to_contain_text("CREATE TABLE customers")

    def test_which_database_answers(self):
        # Tables that refer to each other in a circle and to themselves are drawn like any others.
        ddl = (
            "CREATE TABLE stadium (id INT PRIMARY KEY, name TEXT, boss INT REFERENCES singer (id));"
            "CREATE TABLE singer (id INT PRIMARY KEY, name TEXT, age INT, teacher INT REFERENCES singer (id));"
            "CREATE TABLE concert (id INT PRIMARY KEY, year INT, stadium INT REFERENCES stadium (id), next INT REFERENCES concert (id));"
            "ALTER TABLE singer ADD COLUMN home INT REFERENCES stadium (id);"
        )
        ask("POST", "/v1/schemas", {"name": "concerts", "ddl": ddl})
        self.addCleanup(ask, "DELETE", "/v1/schemas/concerts")
        page = self.go("#/schemas?db=concerts")
        expect(page.locator("svg.schema .table-box")).to_have_count(3)
        expect(page.locator("svg.schema .edge")).to_have_count(5)
        page.get_by_label("Database").select_option("whichever answers")
        page.get_by_label("Question").fill("Which singer is the oldest?")
        page.keyboard.press("Enter")
        first = page.locator(".shares li").first
        expect(first).to_contain_text("concerts")
        expect(page.locator("svg.schema")).to_contain_text("singer")
        first.get_by_role("button").click()
        expect(page.get_by_label("Database")).to_have_value("concerts")

    def test_entities_in_a_text(self):
        page = self.go("#/entities")
        page.get_by_label("Text").fill(f"😀 {TEXT}")
        page.get_by_role("button", name="Link").click()
        mentions = page.locator(".mention")
        expect(mentions).to_have_count(3)
        expect(mentions.nth(1).locator(".mention-text")).to_have_text("Brazil")
        expect(mentions.nth(2).locator(".mention-entity")).to_contain_text("Freddie Mercury")
        mentions.nth(0).click()
        expect(page.locator(".mention-detail")).to_contain_text("“Amazon”")
        expect(page.locator(".mention-detail")).to_contain_text("Amazon (company)")
        expect(page.locator(".mention-detail")).to_contain_text("none of the catalog")

    def test_code(self):
        page = self.go("#/code")
        page.get_by_label("Query").fill(tools.CODE)
        page.keyboard.press("Enter")
        first = page.locator(".code-hit").first
        expect(first.locator(".code-place")).to_contain_text(re.compile(r"\.rs lines \d+-\d+"))
        expect(first.locator(".tok-keyword", has_text=re.compile("^fn$")).first).to_be_visible()
        expect(first.locator(".tok-comment").first).to_be_visible()
        expect(first.locator("mark").first).to_be_visible()
        span = re.search(r"lines (\d+)-(\d+)", first.locator(".code-place").inner_text())
        self.assertEqual(first.locator(".code-line").first.get_attribute("data-line"), span.group(1))
        more = page.get_by_role("button", name=re.compile("^Show (all|less)")).first
        lines = int(re.search(r"\d+", more.inner_text()).group())
        long = more.locator("xpath=ancestor::article").locator(".code-line")
        self.assertLess(long.count(), lines)
        more.click()
        expect(long).to_have_count(lines)
        expect(more).to_have_text("Show less")
        page.locator("[data-facet=kind]", has_text="method").click()
        expect(page.locator(".chip")).to_have_text('kind = "method"')

    def test_jobs_are_watched_and_halted(self):
        name = "articles-again"
        tools.remove_index(name)
        definition = ask("GET", "/v1/indexes/articles")["definition"]
        ask("POST", "/v1/indexes", {**definition, "name": name})
        page = self.go("#/jobs")
        page.get_by_text("Load files").click()
        page.get_by_label("Inputs").fill("/etc/passwd")
        page.get_by_label("Index").select_option(name)
        page.get_by_role("button", name="Load", exact=True).click()
        expect(page.locator(".load-form").get_by_role("alert")).to_contain_text("source_not_permitted")
        page.get_by_label("Inputs").fill(tools.LOADS)
        page.get_by_role("button", name="Load", exact=True).click()
        job = page.locator(".job", has=page.get_by_role("heading", name=name)).first
        expect(job).to_be_visible()
        job.get_by_role("button", name=re.compile("^Pause")).click()
        expect(job).to_have_attribute("data-state", "paused")
        job.get_by_role("button", name=re.compile("^Resume")).click()
        # Server-sent events bring it to its end, without the page being loaded anew.
        expect(job).to_have_attribute("data-state", "done", timeout=90_000)
        expect(job).to_contain_text("320 loaded")
        expect(job.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "100")

    def test_jobs_are_called_off_and_retried(self):
        name = "articles-called-off"
        tools.remove_index(name)
        self.addCleanup(tools.remove_index, name)
        definition = ask("GET", "/v1/indexes/articles")["definition"]
        ask("POST", "/v1/indexes", {**definition, "name": name})
        page = self.go("#/jobs")
        page.get_by_text("Load files").click()
        page.get_by_label("Inputs").fill(tools.LOADS)
        page.get_by_label("Index").select_option(name)
        page.get_by_role("button", name="Load", exact=True).click()
        job = page.locator(".job", has=page.get_by_role("heading", name=name, exact=True))
        job.get_by_role("button", name=re.compile("^Cancel job")).click()
        expect(job).to_have_attribute("data-state", "cancelled")
        expect(job.locator(".badge")).to_have_text("cancelled")
        expect(page.locator("#announcer")).to_contain_text("cancelled")
        expect(job.get_by_role("button")).to_have_text(["Retry"])
        # How much there would have been is not known of it; who pressed the button is not lost.
        expect(job.get_by_role("progressbar")).to_be_hidden()
        expect(job).to_be_focused()
        ended = job.locator("p.muted").last
        expect(ended).to_contain_text("ended ")
        number = job.get_attribute("data-job")
        self.assertEqual(ask("GET", f"/v1/jobs/{number}")["state"], "cancelled")
        self.assertLess(ask("GET", f"/v1/indexes/{name}")["stats"]["documents"], 320)
        # The same job goes on, and no row is there twice.
        job.get_by_role("button", name=f"Retry job {number}").click()
        expect(job).not_to_have_attribute("data-state", "cancelled")
        expect(job).to_have_attribute("data-state", "done", timeout=90_000)
        expect(job).to_contain_text("320 loaded")
        expect(job.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "100")
        expect(job.get_by_role("button")).to_have_count(0)
        self.assertEqual(job.count(), 1)
        self.assertEqual(ask("GET", f"/v1/jobs/{number}")["state"], "done")
        self.assertEqual(ask("GET", f"/v1/indexes/{name}")["stats"]["documents"], 320)

    def test_a_paused_job_is_called_off(self):
        name = "articles-halted"
        tools.remove_index(name)
        self.addCleanup(tools.remove_index, name)
        definition = ask("GET", "/v1/indexes/articles")["definition"]
        ask("POST", "/v1/indexes", {**definition, "name": name})
        made = ask("POST", "/v1/jobs", {"index": name, "inputs": [tools.LOADS]})["id"]
        ask("POST", f"/v1/jobs/{made}:pause", {})
        page = self.go("#/jobs")
        job = page.locator(f"[data-job='{made}']")
        expect(job.get_by_role("button")).to_have_text(["Resume", "Cancel"])
        job.get_by_role("button", name=f"Cancel job {made}").click()
        expect(job).to_have_attribute("data-state", "cancelled")
        # Somebody else has gone on with it meanwhile: what the server says to that is told.
        page.route("**/v1/jobs**", lambda route: route.abort() if route.request.method == "GET" else route.fallback())
        ask("POST", f"/v1/jobs/{made}:retry", {})
        job.get_by_role("button", name=f"Retry job {made}").click()
        expect(page.locator(".toast.bad")).to_be_visible()
        page.unroute("**/v1/jobs**")
        expect(job).to_have_attribute("data-state", "done", timeout=90_000)

    def test_indexes(self):
        page = self.go("#/indexes")
        expect(page.locator(".notice.good")).to_contain_text("Ready")
        articles = page.locator(".index", has=page.get_by_role("button", name="articles", exact=True))
        expect(articles).to_contain_text("320")
        articles.get_by_role("button").click()
        expect(page.get_by_role("row", name=re.compile("^title text required"))).to_be_visible()
        expect(page.get_by_text("gleaner-minilm").first).to_be_visible()

    def test_a_name_that_is_not_there(self):
        page = self.go("#/indexes?name=nowhere")
        expect(page.get_by_role("alert")).to_contain_text("index_not_found")


class Keys(Console):
    def test_a_key_is_asked_for(self):
        if not KEY:
            self.skipTest("the service has no keys")
        page = self.go(PAGES["search"], key="")
        dialog = page.get_by_role("dialog", name="API key")
        expect(dialog).to_contain_text("asks for a key")
        dialog.get_by_label("API key").fill("glk_wrong")
        dialog.get_by_role("button", name="Use this key").click()
        expect(dialog).to_contain_text("did not accept")
        dialog.get_by_label("API key").fill(KEY)
        dialog.get_by_role("button", name="Use this key").click()
        expect(page.locator(".hit").first).to_be_visible()
        expect(page.get_by_role("dialog")).to_have_count(0)
        # It is kept in the tab and nowhere else.
        self.assertEqual(page.evaluate("sessionStorage.getItem('gleaner.key')"), KEY)
        self.assertNotIn(KEY, page.evaluate("JSON.stringify(localStorage) + document.cookie + location.href"))

    def test_a_key_that_may_not_judge(self):
        if not KEY:
            self.skipTest("the service has no keys")
        made = ask("POST", "/v1/keys", {"name": "for reading", "scopes": ["search"]})
        self.addCleanup(ask, "DELETE", f"/v1/keys/{made['id']}")
        page = self.open(key=made["key"]).show("compare")
        button = page.get_by_role("button", name=re.compile("^Relevant")).first
        button.click()
        expect(page.locator(".toast.bad")).to_contain_text("Not kept")
        expect(button).to_have_attribute("aria-pressed", "false")
        expect(page.locator("dd.ndcg").first).to_have_text("–")

    def test_without_a_key_the_error_stands(self):
        if not KEY:
            self.skipTest("the service has no keys")
        page = self.go("#/indexes", key="")
        page.get_by_role("button", name="Close").click()
        expect(page.get_by_role("alert")).to_contain_text("unauthenticated")


class Parts(Console):
    """Modules by themselves, in the browser that runs them."""

    def call(self, module: str, expression: str) -> Any:
        page = self.go("#/search")
        return page.evaluate(f"async () => {{ const m = await import('/js/{module}'); return {expression} }}")

    def test_ndcg(self):
        grades = "new Map([['a', 1], ['b', 0], ['c', 1]])"
        found = self.call("ndcg.js", f"[m.ndcg(['x', 'a', 'b', 'c'], {grades}), m.ndcg(['c', 'a'], {grades}), m.ndcg(['a'], new Map([['a', 0]])), m.ndcg([], {grades})]")
        best = 1 + 1 / math.log2(3)
        self.assertAlmostEqual(found[0], (1 / math.log2(3) + 1 / math.log2(5)) / best)
        self.assertEqual(found[1:], [1.0, None, 0.0])

    def test_precision_at_recalls(self):
        grades = "new Map([['a', 1], ['b', 0], ['c', 1], ['d', 2], ['e', 1]])"
        found = self.call("ndcg.js", f"[m.interpolated(['a', 'b', 'c', 'x', 'd'], {grades}), m.interpolated(['b', 'a'], new Map([['a', 1]])), m.interpolated(['a'], new Map([['a', 0]])), m.interpolated([], {grades})]")
        # Precision is 1 at a quarter of recall, 2/3 at half, 3/5 at three quarters; the last is never found.
        expected = [1, 1, 1, 2 / 3, 2 / 3, 2 / 3, 3 / 5, 3 / 5, 0, 0, 0]
        for one, other in zip(found[0], expected):
            self.assertAlmostEqual(one, other)
        self.assertEqual(found[1:], [[0.5] * 11, None, [0] * 11])

    def test_axes_and_bars(self):
        found = self.call("chart.js", "[m.ticks(0, 1), m.ticks(-1.5, 1), m.logTicks(8, 500), m.logTicks(15, 35), m.ticks(0, 1).map((one, i, all) => m.tickText(one, all))]")
        for one, other in zip(found[0], [0, 0.2, 0.4, 0.6, 0.8, 1]):
            self.assertAlmostEqual(one, other)
        self.assertEqual(found[1:], [[-1.5, -1, -0.5, 0, 0.5, 1], [10, 20, 50, 100, 200, 500], [15, 20, 25, 30, 35], ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]])
        # Every number is in one bar, the first and the last as well; all alike are too.
        self.assertEqual(set(self.call("chart.js", "m.binned([], [[], []])")["counts"][0]), {0})
        for numbers in ([0.1, 0.25, 0.3, 0.95, 1.0], [3, 3, 3], [-7.5, 12], [1e-6, 2e-6]):
            bars = self.call("chart.js", f"m.binned({numbers}, [{numbers}, []])")
            self.assertEqual([sum(list) for list in bars["counts"]], [len(numbers), 0])
            self.assertLessEqual(bars["edges"][0], min(numbers) + 1e-12)
            self.assertGreaterEqual(bars["edges"][-1], max(numbers) - 1e-12)

    def test_a_run_takes_the_place_of_its_like(self):
        runs = "[['q', 's', 1], ['q', 't', 2], ['q', 's', 3], ['r', 's', 4]].map(([query, setting, ms]) => ({ index: 'i', query, filter: '', setting, ms }))"
        found = self.call("runs.js", f"{runs}.reduce(m.withRun, []).map((run) => run.ms)")
        self.assertEqual(found, [2, 3, 4])

    def test_code_is_coloured_and_kept(self):
        samples = {
            "rust": "fn f<'a>(x: &'a str) -> char {\n    // it's\n    let r = r#\"a \"quoted\" b\"#; '\\n'\n}",
            "python": 'def f(x):\n    """Says "no".\n\n    # not a comment\n    """\n    return f"{x}" + \'#\'  # a comment',
            "javascript": "const a = `x ${y}` /* open",
            "text": "fn is no keyword here",
        }
        for language, code in samples.items():
            with self.subTest(language=language):
                tokens = self.call("tokens.js", f"m.tokens({json.dumps(code)}, '{language}')")
                self.assertEqual("".join(token["text"] for token in tokens), code)
                kinds = {token["text"]: token["kind"] for token in tokens}
                if language == "rust":
                    self.assertEqual(kinds["fn"], "keyword")
                    self.assertEqual(kinds["// it's"], "comment")
                    self.assertEqual(kinds['r#"a "quoted" b"#'], "string")
                if language == "python":
                    self.assertEqual(kinds["# a comment"], "comment")
                    self.assertEqual([token["kind"] for token in tokens].count("comment"), 1)
                if language == "text":
                    self.assertEqual(set(kinds.values()), {""})

    def test_marks_and_literals(self):
        found = self.call("marks.js", "m.pieces('a &lt;em&gt; <em>b &amp;amp;</em> c')")
        self.assertEqual([(piece["text"], piece["marked"]) for piece in found], [("a <em> ", False), ("b &amp;", True), (" c", False)])
        hostile = 'a" OR "b\\\b'
        written = self.call("filters.js", f"m.condition('section', {json.dumps(hostile)})")
        self.assertEqual(written, 'section = "a\\" OR \\"b\\\\\\u0008"')
        found = ask("POST", "/v1/indexes/articles/search", {"query": "bread", "filter": written})
        self.assertEqual(found["total"]["value"], 0)


class Looks(Console):
    def test_axe_finds_nothing_grave(self):
        for scheme in ("light", "dark"):
            for name in PAGES:
                with self.subTest(page=name, scheme=scheme):
                    watched = self.open(scheme=scheme)
                    page = watched.show(name)
                    tools.unfold(page)
                    self.assertEqual(tools.violations(Axe().run(page).response), [])

    def test_drawn_judgments_for_everybody(self):
        for scheme, width in (("light", 1280), ("dark", 1280), ("light", 360)):
            with self.subTest(scheme=scheme, width=width):
                page = self.open(scheme=scheme, width=width).show("compare")
                self.assertEqual(tools.violations(Axe().run(page).response), [])
                tools.judge(page, 0, "Relevant", 1)
                tools.judge(page, 1, "Not relevant", 2)
                charts = page.locator(".pictures svg.chart")
                expect(charts).to_have_count(3)
                for summary in page.locator(".pictures summary").all():
                    summary.click()
                expect(page.locator(".pictures table")).to_have_count(3)
                self.assertEqual(tools.violations(Axe().run(page).response), [])
                self.assertLessEqual(tools.overflow(page), 0)
                for chart in charts.all():
                    # Texts are drawn in a size that can be read, and inside of the card.
                    unit = chart.evaluate("node => node.getScreenCTM().a")
                    self.assertGreaterEqual(unit * 11.5, 10)
                    edge = page.locator(".pictures").bounding_box()
                    boxes = chart.locator("text").evaluate_all("all => all.map((one) => one.getBoundingClientRect()).map((box) => [box.left, box.right])")
                    self.assertGreaterEqual(min(left for left, _ in boxes), edge["x"])
                    self.assertLessEqual(max(right for _, right in boxes), edge["x"] + edge["width"])

    def test_axe_on_states_and_dialogs(self):
        states = ["#/search", "#/search?index=articles&q=bread&filter=%3E", "#/compare", "#/schemas?db=shop", "#/entities", "#/indexes?name=articles"]
        for address in states:
            with self.subTest(address=address):
                page = self.go(address)
                page.wait_for_load_state("networkidle")
                self.assertEqual(tools.violations(Axe().run(page).response), [])
        page = self.go("#/search")
        page.get_by_role("button", name="API key").click()
        self.assertEqual(tools.violations(Axe().run(page).response), [])

    def test_narrow_screens(self):
        for name in PAGES:
            with self.subTest(page=name):
                page = self.open(width=360, height=720).show(name)
                tools.unfold(page)
                self.assertLessEqual(tools.overflow(page), 0)
                if name == "search":
                    page.get_by_role("button", name="Menu").click()
                    page.get_by_role("link", name="Jobs").click()
                    expect(page.get_by_role("heading", level=1)).to_have_text("Jobs")
                    expect(page.get_by_role("link", name="Jobs")).to_be_hidden()

    def test_the_theme_is_kept(self):
        page = self.open(scheme="light").show("search")
        colour = "getComputedStyle(document.body).backgroundColor"
        light = page.evaluate(colour)
        page.get_by_role("button", name="Theme: as the system has it").click()
        page.get_by_role("button", name="Theme: light").click()
        dark = page.evaluate(colour)
        self.assertNotEqual(light, dark)
        page.reload()
        self.assertEqual(page.evaluate(colour), dark)

    def test_the_policy(self):
        with urllib.request.urlopen(f"{URL}/", timeout=20) as answer:
            policy = answer.headers["content-security-policy"]
            self.assertEqual(answer.headers.get_content_type(), "text/html")
        self.assertIn("default-src 'self'", policy)
        self.assertNotIn("unsafe", policy)


if __name__ == "__main__":
    unittest.main()
