// The page: what its controls do, and what is shown of the answers.

import * as api from "./api.js";
import { complete } from "./complete.js";
import { openFavourites } from "./favouritespanel.js";
import { takeSounds } from "./given.js";
import { baseName, chip, icon, length, make, showHits } from "./hits.js";
import { openMap, showOnMap } from "./mappanel.js";
import { $, fail, say, sentence, setView, view } from "./page.js";
import { player } from "./player.js";

const STEP = 20; // results at a time

let about = null;
let like = null; // the sound that results are like
let wanted = STEP; // results
let running = null; // the search that is under way

// --- searching

async function search({ more = false } = {}) {
  wanted = more ? wanted + STEP : STEP;
  running?.abort();
  running = new AbortController();
  const words = $("words").value.trim();
  if (!words && !like) {
    say("Type a tag, or give a sound.", true);
    return;
  }
  const query = { words, like: like?.key, least: $("least").value, most: $("most").value, top: wanted };
  remember(words);
  if (view() !== "map") setView("results"); // now, and not when who asked may have gone elsewhere
  const began = performance.now();
  try {
    const found = await api.json("/api/search", query, { signal: running.signal });
    show(found, performance.now() - began, more);
  } catch (error) {
    fail(error);
  }
}

function show({ title, notes, hits, sounds, version }, milliseconds, more) {
  $("start").hidden = true;
  if (version !== about.version) {
    about.version = version; // the index has changed since
    openMap(act);
  }
  const focused = more ? $("hits").children.length : -1;
  showHits($("hits"), hits, act);
  showOnMap(hits);
  $("more").hidden = hits.length < wanted || wanted >= about.most.hits;
  const count = hits.length ? `${hits.length} of ${number(sounds)} sounds` : "No sound";
  const noted = notes.map((note) => ` ${sentence(note)}.`).join("");
  say(`${count} for ${title}, in ${Math.round(milliseconds)} ms.${noted}`);
  if (focused > 0) $("hits").children[focused]?.querySelector(".play").focus();
}

const number = (value) => value.toLocaleString("en");

// The tags stand in the address, so that a search can be kept as a bookmark.
function remember(words) {
  const query = words ? `?${new URLSearchParams({ words })}` : "/";
  history.replaceState(null, "", query);
}

const act = {
  like(sound) {
    setLike(sound);
    search();
    $("like-chip").focus(); // the row that had the focus gives way to others
  },
  addTag(tag) {
    const words = $("words").value.split(",").map((word) => word.trim()).filter(Boolean);
    if (!words.includes(tag)) words.push(tag);
    $("words").value = words.join(", ");
    search();
  },
};

function setLike(sound) {
  like = sound;
  const given = $("like-chip");
  given.hidden = !sound;
  given.replaceChildren();
  if (!sound) return;
  const name = baseName(sound.path);
  const play = make("button", { type: "button", attributes: { "aria-label": `Play ${name}` } }, icon("play"));
  play.addEventListener("click", () => player.toggle(sound));
  const away = make("button", { type: "button", attributes: { "aria-label": `No longer like ${name}` } }, icon("cross"));
  away.addEventListener("click", () => {
    setLike(null);
    $("words").focus();
    if ($("words").value.trim()) search();
  });
  const text = make("span", { className: "name" }, "Like ", make("strong", { textContent: name }), ` · ${length(sound.seconds)}`);
  given.append(play, text, away);
  if (sound.predicted?.length) {
    const tags = sound.predicted.map(([tag]) => chip(tag, act));
    given.append(make("div", { className: "chips" }, make("span", { className: "hint", textContent: "The model hears" }), ...tags));
  }
}

// --- keys

$("more").addEventListener("click", () => search({ more: true }));
$("search").addEventListener("submit", (event) => {
  event.preventDefault();
  search();
});

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const isTyping = event.target.matches("input[type=text], input[type=number]");
  if (event.key === "Escape") player.stop();
  else if (isTyping) {
    if (event.key === "ArrowDown" && event.target === $("words")) $("hits").querySelector(".play")?.focus();
  } else if (event.key === "/") {
    event.preventDefault();
    $("words").focus();
    $("words").select();
  } else if (event.key === "g") {
    setView("map");
    $("map").focus();
  }
});

player.addEventListener("failed", ({ detail }) => say(`${baseName(detail.path)} cannot be played.`, true));

async function start() {
  about = await api.json("/api/index");
  $("about").textContent = `${number(about.sounds)} sounds in ${about.name}`;
  document.title = `${about.name} · coala`;
  openFavourites(about.folder, act);
  takeSounds(about.most.bytes, () => running?.abort(), act.like);
  complete($("words"), $("suggestions"), about.tags);
  $("examples").append(...about.tags.slice(0, 12).map((tag) => chip(tag, act)));
  if (about.model.state === "missing") say(`Only tags can be searched for: ${about.model.error}`, true);
  openMap(act);
  $("words").value = new URLSearchParams(location.search).get("words") ?? "";
  if ($("words").value) search();
}

start().catch(fail);
