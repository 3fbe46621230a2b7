"""The HTML report in a real browser: search, sort, expand, sizes, dark, 100,000 images, and no code of a cluster runs.

Screenshots are kept in artefacts/.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from pruner.cluster.objects import Registry
from pruner.report import Report
from pruner.report.html import page
from pruner.report.jsonl import read_report
from tests.builders.objects import analysed, digest, image, image_stream
from tests.component.test_report_commands import planned
from tests.servers import ROOT, RunningSandbox
from tests.unit.test_report import analysis, result, untagged
from tests.unit.test_report_formats import HOSTILE, hostile

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
ARTEFACTS = ROOT / "artefacts"
PHONE, DESK = (390, 844), (1280, 900)

WHITE = "rgb(255, 255, 255)"

Browser = webdriver.Chrome


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    yield from running(tmp_path_factory.mktemp("browser"))


def running(folder: Path, page_load_strategy: str = "normal") -> Iterator[Browser]:
    """A browser, ended afterwards."""
    programs = shutil.which("chromium"), shutil.which("chromedriver")
    if None in programs:
        if os.environ.get("CI"):
            pytest.fail("chromium and chromedriver are not on PATH; run tools/get_chromium")
        pytest.skip("chromium and chromedriver are not on PATH; tools/get_chromium installs them")
    options = Options()
    options.binary_location = str(programs[0])
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    options.page_load_strategy = page_load_strategy
    for flag in (*FLAGS, f"--user-data-dir={folder}"):
        options.add_argument(flag)
    browser = webdriver.Chrome(options=options, service=Service(str(programs[1])))
    yield browser
    browser.quit()


@pytest.fixture
def browser(started: Browser) -> Iterator[Browser]:
    """A browser at desk width; what it complained about fails the test."""
    started.get("about:blank")
    resize(started, DESK)
    started.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    started.get_log("browser")
    yield started
    assert started.get_log("browser") == []


def resize(browser: Browser, size: tuple[int, int]) -> None:
    metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == PHONE}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def show(browser: Browser, report: Report, folder: Path) -> None:
    file = folder / "page.html"
    file.write_text(page(report), encoding="utf-8")
    open_page(browser, file)


def open_page(browser: Browser, file: Path) -> None:
    """Open the page and wait until its script has unpacked the list of images."""
    browser.get(file.as_uri())
    waits_until(browser, "document.documentElement.dataset.ready")


def waits_until(browser: Browser, expression: str) -> None:
    WebDriverWait(browser, 30).until(lambda it: it.execute_script(f"return {expression}"))


def all_of(browser: Browser, selector: str) -> list[Any]:
    return browser.find_elements(By.CSS_SELECTOR, selector)


def one(browser: Browser, selector: str) -> Any:
    return browser.find_element(By.CSS_SELECTOR, selector)


def names(browser: Browser) -> list[str]:
    """Stream and tag of the rows in view."""
    script = "return [...document.querySelectorAll('#rows tr.row button')].map((each) => each.firstChild.textContent)"
    found: list[str] = browser.execute_script(script)
    return found


def wait_for(browser: Browser, text: str) -> None:
    until = time.monotonic() + 5
    while text not in one(browser, "#count").text:
        assert time.monotonic() < until, one(browser, "#count").text
        time.sleep(0.02)


def search(browser: Browser, text: str, found: str) -> None:
    field = one(browser, "#search")
    field.clear()
    field.send_keys(text)
    wait_for(browser, found)


def demo(sandbox: RunningSandbox, folder: Path) -> Report:
    planned(sandbox, "--out", folder / "plan.jsonl")
    return read_report(folder / "plan.jsonl")


def many(number: int) -> Report:
    streams = 1000
    images = [
        image(
            digest(f"i{each}"),
            layers=[digest(f"l{each}")],
            repository=f"team{each % 40}/app{each % streams}",
            size=each,
        )
        for each in range(number)
    ]
    named = [
        image_stream(f"team{each % 40}/app{each}", latest=[digest(f"i{at}") for at in range(each, number, streams)])
        for each in range(streams)
    ]
    sizes = {digest(f"l{each}"): 1000 + each for each in range(number)}
    return Report.of(analysed(*images, *named, registry=Registry("https://registry"), blob_sizes=sizes, revisions=3))


# --- what people do --------------------------------------------------------------------------------------------------


def test_the_list_begins_with_what_goes_largest_first(browser: Browser, tmp_path: Path) -> None:
    show(browser, Report.of(analysis()), tmp_path)
    assert one(browser, "#count").text == "3 images of 5, 3 of them pruned, and revisions of 1 absent image"
    assert names(browser)[0] == "shop/web:latest"
    assert one(browser, "#rows td.size").text == "100 bytes"


def test_search_finds_streams_digests_reasons_and_users(browser: Browser, tmp_path: Path) -> None:
    show(browser, Report.of(analysis()), tmp_path)
    search(browser, "shop/api", "1 image of 5")
    assert names(browser) == ["shop/api"]
    search(browser, "absent R19", "0 images of 5, 0 of them pruned, and revisions of 1 absent image")
    one(browser, "#which option[value=all]").click()
    search(browser, "deployment shop/web", "1 image of 5, 0 of them pruned")
    search(browser, "nothing like it", "0 images of 5")
    assert names(browser) == []


def test_columns_sort_both_ways_and_say_so(browser: Browser, tmp_path: Path) -> None:
    show(browser, Report.of(analysis()), tmp_path)
    button = one(browser, "button[data-sort=name]")
    button.click()
    assert names(browser) == sorted(names(browser))
    assert button.find_element(By.XPATH, "..").get_attribute("aria-sort") == "ascending"
    button.click()
    assert names(browser) == sorted(names(browser), reverse=True)
    assert button.find_element(By.XPATH, "..").get_attribute("aria-sort") == "descending"
    assert len(all_of(browser, "#list th[aria-sort=none]")) == 4


def test_a_row_opens_with_its_explanation_and_closes(browser: Browser, tmp_path: Path) -> None:
    show(browser, Report.of(analysis()), tmp_path)
    one(browser, "#rows button").click()
    detail = one(browser, "#rows tr.detail").text
    assert "Pruned: no image stream names it, and nothing refers to it (R22)" in detail
    assert "shop/web:latest, revision 1 of" in detail
    assert "revision 1 is beyond the newest 0 of its tag, and nothing refers to it (R16)" in detail
    assert one(browser, "#rows button").get_attribute("aria-expanded") == "true"
    one(browser, "#rows button").click()
    assert not all_of(browser, "#rows tr.detail")


def test_an_image_that_stays_and_loses_a_revision_is_listed_with_what_goes(browser: Browser, tmp_path: Path) -> None:
    show(browser, Report.of(untagged()), tmp_path)
    assert one(browser, "#count").text == "1 image of 1, 0 of them pruned"
    assert names(browser) == ["prod/web:v1"]
    assert one(browser, "#rows td.state").text == "untagged"
    assert "beyond the newest 0" in one(browser, "#rows td.why").text
    one(browser, "#rows button").click()
    assert "Kept, and loses a revision: named by shop/web:latest (R22)" in one(browser, "#rows tr.detail").text


def test_what_stays_says_who_uses_it(browser: Browser, tmp_path: Path) -> None:
    show(browser, Report.of(analysis()), tmp_path)
    one(browser, "#which option[value=stay]").click()
    search(browser, "shop/web", "1 image of 5, 0 of them pruned")
    one(browser, "#rows button").click()
    assert "In use by:\nDeployment shop/web" in one(browser, "#rows tr.detail").text


def test_the_keyboard_is_enough(browser: Browser, tmp_path: Path) -> None:
    show(browser, Report.of(analysis()), tmp_path)
    one(browser, "#rows button").send_keys(Keys.ARROW_DOWN)
    assert browser.switch_to.active_element.get_attribute("data-at") == "1"
    ActionChains(browser).send_keys(Keys.ENTER).perform()
    assert browser.switch_to.active_element.get_attribute("aria-expanded") == "true"
    assert all_of(browser, "#rows tr.detail")


def test_a_tile_of_the_treemap_searches_its_stream(browser: Browser, tmp_path: Path) -> None:
    show(browser, Report.of(analysis()), tmp_path)
    titles = browser.execute_script("return [...document.querySelectorAll('#treemap title')].map((t) => t.textContent)")
    assert titles == ["shop/web: 100 bytes, 2 images", "shop/api: 20 bytes, 1 image"]
    tile = one(browser, "#treemap rect:has(title)")
    ActionChains(browser).click(tile).perform()
    wait_for(browser, "2 images of 5")


def test_the_page_of_a_result_shows_what_was_deleted_and_what_failed(browser: Browser, tmp_path: Path) -> None:
    show(browser, Report.of(analysis(), result()), tmp_path)
    assert "500 Internal Server Error" in one(browser, "section.failed").text
    assert [each.text for each in all_of(browser, "#rows td.state")] == [
        "deleted",
        "remains",
        "remains",
        "absent",
    ]


# --- who reads it ----------------------------------------------------------------------------------------------------


def test_a_screen_reader_finds_landmarks_names_and_a_table(browser: Browser, tmp_path: Path) -> None:
    show(browser, Report.of(analysis()), tmp_path)
    browser.execute_cdp_cmd("Accessibility.enable", {})
    nodes = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    found = [
        (node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node.get("ignored")
    ]
    roles = {role for role, _ in found}
    assert {
        "main",
        "banner",
        "contentinfo",
        "search",
        "status",
        "table",
        "columnheader",
        "rowheader",
        "heading",
    } <= roles
    assert ("searchbox", "Search") in found
    assert ("combobox", "Show") in found
    unnamed = [
        role for role, name in found if role in ("button", "link", "searchbox", "combobox", "region") and not name
    ]
    assert unnamed == []
    assert browser.execute_script("return document.documentElement.lang") == "en"
    assert one(browser, "#list").get_attribute("aria-rowcount") == "5"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_it_is_readable_at_every_width_light_and_dark(
    browser: Browser, sandbox: RunningSandbox, tmp_path: Path, size: tuple[int, int], scheme: str
) -> None:
    resize(browser, size)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    show(browser, demo(sandbox, tmp_path), tmp_path)
    one(browser, "#rows button").click()
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    for selector in ("body", ".about", "#count", "#rows td.goes", "#rows button", "tr.detail td"):
        assert contrast(browser, selector) >= 4.5, selector
    assert min(contrasts_in_treemap(browser)) >= 4.5
    ARTEFACTS.mkdir(exist_ok=True)
    height = browser.execute_script("return document.documentElement.scrollHeight")
    resize(browser, (size[0], height))
    browser.execute_script("scrollTo(0, 0)")
    browser.save_screenshot(str(ARTEFACTS / f"report-{'phone' if size == PHONE else 'desk'}-{scheme}.png"))


def contrast(browser: Browser, selector: str) -> float:
    """The contrast of an element's text with what is behind it, as WCAG 2 computes it."""
    script = """
        const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
        const light = (colour) => {
            const [r, g, b] = colour.slice(0, 3).map((c) => c / 255)
                .map((c) => c <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4);
            return .2126 * r + .7152 * g + .0722 * b;
        };
        let element = document.querySelector(arguments[0]);
        const text = light(numbers(getComputedStyle(element).color));
        let ground;
        for (; element; element = element.parentElement) {
            ground = numbers(getComputedStyle(element).backgroundColor);
            if (ground.length < 4 || ground[3] > 0) break;
        }
        const behind = light(ground);
        return (Math.max(text, behind) + .05) / (Math.min(text, behind) + .05);
    """
    ratio: float = browser.execute_script(script, selector)
    return ratio


def contrasts_in_treemap(browser: Browser) -> list[float]:
    """Of white, which its labels are in, with every tile."""
    script = "return [...document.querySelectorAll('#treemap rect')].map((rect) => getComputedStyle(rect).fill)"
    fills: list[str] = browser.execute_script(script)
    assert browser.execute_script("return getComputedStyle(document.querySelector('#treemap text')).fill") == WHITE
    parts = ([int(part) / 255 for part in re.findall(r"\d+", fill)] for fill in fills)
    linear = ([part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in rgb] for rgb in parts)
    return [1.05 / (0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05) for red, green, blue in linear]


# --- how much of it ---------------------------------------------------------------------------------------------------


def test_a_hundred_thousand_images_can_be_looked_at(browser: Browser, tmp_path: Path) -> None:
    """How long it takes is measured, printed and kept
    (docs/reports.md), and judged by nobody: a machine may be slow.
    """
    report = many(100_000)
    began = time.perf_counter()
    text = page(report)
    took = {"made, s": time.perf_counter() - began, "size, MB": len(text.encode()) / 1e6}
    file = tmp_path / "page.html"
    file.write_text(text, encoding="utf-8")
    open_page(browser, file)
    assert one(browser, "#count").text.replace("\u202f", "") == "97000 images of 100000, 97000 of them pruned"
    took["loaded, s"] = (
        browser.execute_script("return performance.getEntriesByType('navigation')[0].loadEventEnd") / 1000
    )
    took |= browser.execute_script("""
        const took = {}, field = document.getElementById('search'), form = document.getElementById('search-form');
        const time = (name, work) => {
            const start = performance.now();
            work();
            took[name + ', s'] = (performance.now() - start) / 1000;
        };
        time('sorted', () => document.querySelector('[data-sort=name]').click());
        time('searched', () => { field.value = 'team7 app7'; form.requestSubmit(); });
        return took;
    """)
    assert one(browser, "#count").text.replace("\u202f", "").startswith("291 images of 100000")
    browser.execute_script(
        "document.getElementById('search').value = ''; document.getElementById('search-form').requestSubmit()"
    )
    measured = json.dumps({name: round(value, 2) for name, value in took.items()})
    print(measured)
    ARTEFACTS.mkdir(exist_ok=True)
    (ARTEFACTS / "page-100000.json").write_text(f"{measured}\n", encoding="utf-8")
    titles = browser.execute_script("return [...document.querySelectorAll('#treemap title')].map((t) => t.textContent)")
    assert len(titles) == 400 + 40
    assert sum(title.startswith("(15 more): ") for title in titles) == 40
    browser.execute_script("document.getElementById('viewport').scrollTop = 1e9")
    until = time.monotonic() + 5
    script = "return [...document.querySelectorAll('#rows tr.row')].map((row) => row.getAttribute('aria-rowindex'))"
    while (indexes := browser.execute_script(script))[-1] != "97001":
        assert time.monotonic() < until, indexes
    assert len(all_of(browser, "#rows tr")) < 80


@contextlib.contextmanager
def served_in_two_parts(text: str) -> Iterator[tuple[str, threading.Event]]:
    """The address of a page whose list of images is sent once the event is set; until then the browser has the rest."""
    head, tag, tail = text.encode().partition(b'<script type="text/plain" id="content">')
    assert tag
    rest = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(head)
            rest.wait(30)
            self.wfile.write(tag + tail)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that it overrides
            """Nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/", rest
        finally:
            rest.set()
            server.shutdown()
            thread.join()


@pytest.fixture
def impatient(tmp_path: Path) -> Iterator[Browser]:
    """A browser that does not wait until a page has come."""
    yield from running(tmp_path, "none")


def test_the_list_is_shown_before_all_of_it_has_come_and_stays_in_place(impatient: Browser) -> None:
    browser = impatient
    with served_in_two_parts(page(many(5000))) as (address, rest):
        browser.get(address)
        waits_until(browser, "document.documentElement.dataset.shown")
        count, first = one(browser, "#count").text, names(browser)
        assert len(first) > 15
        one(browser, "#rows button").click()
        rest.set()
        waits_until(browser, "document.documentElement.dataset.ready")
        assert one(browser, "#count").text == count == "2\u202f000 images of 5\u202f000, 2\u202f000 of them pruned"
        assert names(browser)[: len(first)] == first
        assert one(browser, "#rows button").get_attribute("aria-expanded") == "true"
        assert one(browser, "#list").get_attribute("aria-rowcount") == "2001"


def test_a_search_before_all_has_come_is_answered_when_it_has(impatient: Browser) -> None:
    browser = impatient
    with served_in_two_parts(page(many(5000))) as (address, rest):
        browser.get(address)
        waits_until(browser, "document.documentElement.dataset.shown")
        search(browser, "team7/app7:", "Unpacking the list of images")
        rest.set()
        wait_for(browser, "2 images of 5")


def test_a_page_that_was_cut_off_shows_what_it_has_and_says_so(browser: Browser, tmp_path: Path) -> None:
    text, file = page(Report.of(analysis())), tmp_path / "page.html"
    file.write_text(text[: text.index('id="content">') + 30], encoding="utf-8")
    browser.get(file.as_uri())
    wait_for(browser, "cannot unpack the list of images")
    assert names(browser)[0] == "shop/web:latest"
    search(browser, "shop/api", "cannot unpack the list of images")


def test_rows_stay_in_place_below_an_open_one(browser: Browser, tmp_path: Path) -> None:
    show(browser, many(3000), tmp_path)
    one(browser, "#which option[value=all]").click()
    one(browser, "#rows button").click()
    browser.execute_script("document.getElementById('viewport').scrollIntoView()")
    for top in (300, 5000, 100):
        browser.execute_script("const v = document.getElementById('viewport'); v.scrollTop = arguments[0];", top)
        browser.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(() => arguments[0]()))")
        covered = browser.execute_script("""
            const view = document.getElementById('viewport').getBoundingClientRect();
            const at = (y) => document.elementFromPoint(view.left + 40, y).closest('tr');
            return [at(view.top + 60), at(view.bottom - 10)].every((row) => row && !row.classList.contains('space'));
        """)
        assert covered, top


# --- whose content it is ----------------------------------------------------------------------------------------------


def test_nothing_of_a_cluster_is_run_or_drawn_as_markup(browser: Browser, tmp_path: Path) -> None:
    show(browser, hostile(), tmp_path)
    one(browser, "#which option[value=all]").click()
    one(browser, "#rows button").click()
    assert len(all_of(browser, "script")) == 3
    assert "alert(1)" in one(browser, "body").text
    assert HOSTILE[:34] in one(browser, ".notes").text


def test_a_script_that_got_in_would_not_run(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    text = page(Report.of(analysis()))
    injected = (
        "<script>document.title = 'run'</script>"
        "<img src='http://127.0.0.1:9/x' onerror=\"document.title = 'run'\"></main>"
    )
    file.write_text(text.replace("</main>", injected), encoding="utf-8")
    open_page(browser, file)
    assert browser.title.startswith("pruner: 2 revisions")
    complaints = [entry["message"] for entry in browser.get_log("browser")]
    assert len(complaints) == 3
    assert [message for message in complaints if "Content Security Policy" not in message] == []


def test_a_stream_with_a_script_as_its_annotation_is_shown_as_any_other(
    browser: Browser, sandbox: RunningSandbox, tmp_path: Path
) -> None:
    path = "/apis/image.openshift.io/v1/namespaces/shop/imagestreams/web"
    stream = sandbox.get(path)
    stream["metadata"].setdefault("annotations", {})["description"] = "<script>document.title = 'run'</script>"
    assert sandbox.call("PUT", path, stream).status == 200
    show(browser, demo(sandbox, tmp_path), tmp_path)
    search(browser, "shop/web", "3 images")
    assert browser.title.startswith("pruner: 13 revisions")
