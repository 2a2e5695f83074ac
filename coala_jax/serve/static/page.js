// What several modules need of the page.

export const $ = (id) => document.getElementById(id);

export function say(text, isError = false) {
  $("status").textContent = text;
  $("status").classList.toggle("error", isError);
}

export const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);
export const fail = (error) => error.name !== "AbortError" && say(sentence(error.message), true);

// --- views: tabs, of which a wide page shows the map beside the others

const VIEWS = ["results", "favourites", "map"];
export const view = () => document.body.dataset.view;

export function setView(name, { focus = false } = {}) {
  document.body.dataset.view = name;
  for (const one of VIEWS) {
    const tab = $(`tab-${one}`);
    tab.setAttribute("aria-selected", String(one === name));
    tab.tabIndex = one === name ? 0 : -1;
    if (focus && one === name) tab.focus();
  }
}

for (const name of VIEWS) {
  $(`tab-${name}`).addEventListener("click", () => setView(name));
  $(`tab-${name}`).addEventListener("keydown", ({ key }) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
    if (!step) return;
    const seen = VIEWS.filter((one) => $(`tab-${one}`).offsetParent);
    setView(seen[(seen.indexOf(name) + step + seen.length) % seen.length], { focus: true });
  });
}
