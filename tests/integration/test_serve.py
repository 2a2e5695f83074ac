"""The page in a real browser, Debian's chromium."""

import contextlib
import json
import shutil

import pytest
import soundfile

from coala_jax.embedding.index import Index
from coala_jax.serve.catalogue import key_of
from tests.served import RATE_HZ, serving, tone, write_index

with contextlib.suppress(ImportError):  # see tests/served.py
    import playwright.sync_api  # noqa: F401

PHONE = {"width": 360, "height": 740}
WAIT_MS = 60_000  # a slow machine's


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return write_index(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def address(index):
    with serving(index) as found:
        yield found


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("Debian's chromium is not installed")
    flags = [
        "--disable-gpu",
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
    ]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, address):
    """Opens the page; no message on its console, and no request elsewhere, is let pass."""
    contexts, said, elsewhere = [], [], []

    def open_(query="", **options):
        options = {"viewport": {"width": 1280, "height": 800}} | options
        context = browser.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(WAIT_MS)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith((address, f"blob:{address}"))
                else elsewhere.append(request.url)
            ),
        )
        page.goto(address + query)
        page.wait_for_selector("#examples .chip", state="attached")
        return page

    open_.said, open_.elsewhere = said, elsewhere
    yield open_
    for context in contexts:
        context.close()
    assert said == [] and elsewhere == []


def search(page, words: str) -> list[str]:
    page.fill("#words", words)
    page.keyboard.press("Enter")
    page.get_by_text(f"sounds for {words}").wait_for()
    return names(page)


def names(page, where="#hits") -> list[str]:
    return [name.get_attribute("title") for name in page.query_selector_all(f"{where} .name")]


PAINTED = """canvas => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return data.some(Boolean);
}"""


def test_search_hear_and_find_more_like_a_sound(open_page, index):
    page = open_page()
    assert search(page, "hiss, -deep") == [hit.path for hit in Index(index).search("hiss, -deep")]
    assert page.url.endswith("?words=hiss%2C+-deep")
    row = page.locator("#hits .hit").filter(has_text="long.wav")
    row.get_by_role("button", name="Play long.wav").click()
    row.get_by_role("button", name="Stop long.wav").wait_for()
    page.wait_for_timeout(300)
    assert page.locator(".hit.playing").count() == 1
    row.get_by_role("button", name="Play whole").click()
    row.get_by_role("button", name="Stop long.wav").click()
    row.locator("canvas").scroll_into_view_if_needed()
    page.wait_for_timeout(500)
    assert row.locator("canvas").evaluate(PAINTED)
    row.get_by_role("button", name="More like long.wav").click()
    page.get_by_text("for hiss, -deep, like long.wav").wait_for()
    assert page.get_by_role("status").filter(has_text="7 of 8 sounds").count() == 1
    page.fill("#words", "")
    page.keyboard.press("Enter")
    page.get_by_text("sounds for like long.wav").wait_for()
    assert names(page) == [hit.path for hit in Index(index).similar("long.wav")]
    page.get_by_role("button", name="No longer like long.wav").click()
    assert page.locator("#like-chip").is_hidden()


DROP = """async ([target, bytes, name]) => {
  const data = new DataTransfer();
  data.items.add(new File([new Uint8Array(bytes)], name));
  const how = { bubbles: true, cancelable: true, dataTransfer: data };
  for (const type of ["dragenter", "dragover", "drop"])
    document.body.dispatchEvent(new DragEvent(type, how));
}"""


def test_a_file_is_dropped_chosen_or_refused(open_page, index, tmp_path):
    page, file = open_page(), tmp_path / "mine.flac"
    soundfile.write(file, tone(2.6, 1.0), RATE_HZ)
    page.evaluate(DROP, [None, list(file.read_bytes()), "mine.flac"])
    page.get_by_text("sounds for like mine.flac").wait_for()
    assert set(names(page)[:2]) == {"d.wav", "long.wav"}  # of its octave
    heard = page.locator("#like-chip .chip").all_inner_texts()
    assert heard[0] == "high" and len(heard) == 5
    assert page.locator("#drop").is_hidden()
    page.get_by_role("button", name="Play mine.flac").click()
    page.set_input_files("#file", str(file))
    page.get_by_text("Listening to mine.flac").or_(
        page.get_by_text("mine.flac, in")
    ).first.wait_for()
    page.evaluate(DROP, [None, list(b"no sound, but text" * 9), "note.txt"])
    page.get_by_text("Note.txt: it holds plain text, no sound").wait_for()
    assert all("422" in message for message in open_page.said)
    open_page.said.clear()


def test_a_recording_is_searched_with(open_page):
    page = open_page(permissions=["microphone"])
    page.get_by_role("button", name="Record").click()
    page.get_by_text("Recording, for a minute at most").wait_for()
    page.wait_for_timeout(600)
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_text("8 of 8 sounds for like recording").wait_for()


def test_favourites_stay_and_are_saved_as_a_list(open_page):
    page = open_page("?words=hiss")
    for name in ("a.wav", "<b>.wav"):
        page.locator("#hits").get_by_role("button", name=f"Favourite {name}", exact=True).click()
    page.reload()
    page.get_by_role("tab", name="Favourites 2").click()
    assert names(page, "#marked") == ["deep/a.wav", "<b>.wav"]
    for button, wanted in (
        (
            "Save as CSV",
            'file,tags,seconds\n"deep/a.wav","deep <i>drum</i>","0.4"\n"<b>.wav","","0.4"\n',
        ),
        ("Save as text", "deep/a.wav\n<b>.wav\n"),
    ):
        with page.expect_download() as saved:
            page.get_by_role("button", name=button).click()
        assert saved.value.path().read_text() == wanted
    kept = page.evaluate("Object.values(localStorage)")
    assert [sound["key"] for sound in json.loads(*kept)] == [
        key_of("deep/a.wav"),
        key_of("<b>.wav"),
    ]
    page.locator("#marked").get_by_role("button", name="Favourite a.wav", exact=True).click()
    assert names(page, "#marked") == ["<b>.wav"]
    page.get_by_role("button", name="Remove all").click()
    assert page.get_by_text("No favourites yet").is_visible()


def test_the_keyboard_alone_suffices(open_page):
    page = open_page()
    press = page.keyboard.press

    def focused():
        return page.evaluate(
            "document.activeElement.getAttribute('aria-label') ?? document.activeElement.id"
        )

    press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the search"
    press("/")
    assert focused() == "words"
    page.keyboard.type("HIS")
    page.get_by_role("option", name="hiss").wait_for()
    press("ArrowDown"), press("Enter")
    assert page.input_value("#words") == "hiss" and page.get_by_role("listbox").is_hidden()
    press("Enter")
    page.get_by_text("sounds for hiss").wait_for()
    press("ArrowDown")
    first, second = (name.rpartition("/")[2] for name in names(page)[:2])
    assert focused() == f"Play {first}"
    press("ArrowDown")
    assert focused() == f"Play {second}"
    press("Enter")
    assert focused() == f"Stop {second}"
    press("Escape")
    assert focused() == f"Play {second}"
    press("f")
    assert page.locator("#count").inner_text() == "1"
    press("m")
    page.get_by_text(f"for hiss, like {second}").wait_for()
    press("Tab")
    page.wait_for_selector("#map-note:empty", state="attached")
    press("Escape"), press("Tab"), press("Tab"), press("g")
    assert focused().startswith("Map of all sounds: near is alike. Groups: ")
    chosen, walked = page.locator("#chosen .name"), set()
    for key in ("ArrowRight", "ArrowLeft", "ArrowDown", "ArrowUp", "+", "-", "0"):
        press(key)  # there may be no sound in a direction
        page.wait_for_timeout(250)
        walked |= set(names(page, "#chosen"))
    assert len(walked) >= 2
    assert page.locator("#map-status").inner_text().startswith(chosen.inner_text())
    press("m")
    page.get_by_text(f"like {chosen.inner_text()}, in").wait_for()


def test_everything_has_a_role_and_a_name_and_names_are_never_markup(open_page):
    page = open_page("?words=hiss")
    page.get_by_text("sounds for hiss").wait_for()
    assert "<b>.wav" in names(page) and page.locator("#hits b, #hits i").count() == 0
    assert page.get_by_role("button", name="Search for <i>drum</i>").count() == 1
    for role in ("banner", "main", "search", "contentinfo", "tablist", "status"):
        assert page.get_by_role(role).first.count() == 1, role
    assert page.get_by_role("combobox", name="Tags").count() == 1
    assert page.get_by_role("list", name="Sounds that were found").count() == 1
    assert page.get_by_role("listitem").filter(has_text="long.wav").count() == 1
    assert page.get_by_label("Least length in seconds").count() == 1
    nameless = page.evaluate(
        "[...document.querySelectorAll('button, input, canvas:not([aria-hidden])')].filter(e => "
        "!e.textContent.trim() && !e.ariaLabel && !e.labels?.length && !e.title).length"
    )
    assert nameless == 0
    page.get_by_label("Least length in seconds").fill("10")
    page.get_by_role("button", name="Search", exact=True).click()
    page.get_by_text("1 of 8 sounds").wait_for()


def test_a_phone_has_everything_in_its_width_in_light_and_dark(open_page):
    page = open_page("?words=hiss", viewport=PHONE, has_touch=True)
    page.get_by_text("sounds for hiss").wait_for()
    for tab in ("Results", "Favourites", "Map"):
        page.get_by_role("tab", name=tab).tap()
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    frame = page.locator("#map").bounding_box()
    assert frame["width"] > 280 and frame["height"] > 300
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        ground, ink = page.evaluate(
            "['backgroundColor', 'color'].map(name => getComputedStyle(document.body)[name])"
            ".map(colour => colour.match(/\\d+/g).reduce((sum, part) => sum + Number(part), 0))"
        )
        assert (ground > ink) == (scheme == "light") and abs(ground - ink) > 400


BREAK_IN = """async () => {
  const found = [];
  addEventListener("securitypolicyviolation", e => found.push(e.effectiveDirective));
  try { document.body.innerHTML += "" } catch { found.push("markup") }
  await fetch("http://127.0.0.1:9/").catch(() => {});
  document.head.append(document.createElement("style"));
  document.querySelector("head style").textContent = "*{}";
  await new Promise(done => setTimeout(done, 100));
  return found;
}"""


def test_the_policy_holds_in_the_browser(open_page):
    page = open_page()
    assert {"markup", "connect-src", "style-src-elem"} <= set(page.evaluate(BREAK_IN))
    open_page.said.clear()  # the browser reports each
    open_page.elsewhere.clear()


STEAL = """async (address) => Promise.all([
  fetch(address + "api/index").then(() => "read", () => "refused"),
  fetch(address + "api/sounds", { method: "POST", body: "x", mode: "no-cors" })
    .then(answer => answer.status, () => "refused"),
  new Promise(done => {
    const image = new Image();
    image.onload = () => done("loaded");
    image.onerror = () => done("refused");
    image.src = address + "static/icon.svg";
  }),
])"""


def test_another_page_gets_nothing(browser, address):
    """A page of another origin in the same browser can neither ask, nor read, nor show."""
    context = browser.new_context()
    page, answers = context.new_page(), []
    html = {"body": "<p>evil</p>", "content_type": "text/html"}
    page.route("http://evil.example/", lambda route: route.fulfill(**html))
    page.goto("http://evil.example/")
    page.on("response", lambda response: answers.append((response.url, response.status)))
    asked, sent, shown = page.evaluate(STEAL, address)
    assert asked == shown == "refused" and sent in (0, "refused")
    assert all(status == 403 for url, status in answers if url.startswith(address))
    context.close()
