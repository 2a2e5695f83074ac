// The page: what its controls do, and what is shown of the answers.

import * as api from "./api.js";
import { complete } from "./complete.js";
import { asCsv, asText, favourites, save } from "./favourites.js";
import { baseName, icon, length, make, showHits } from "./hits.js";
import { SoundMap } from "./map.js";
import { player } from "./player.js";
import { Recorder, toWav } from "./recorder.js";

const $ = (id) => document.getElementById(id);
const STEP = 20; // results at a time
const ASK_AGAIN_MS = 1000; // while the map is made

let about = null;
let like = null; // the sound that results are like
let wanted = STEP; // results
let running = null; // the search that is under way

function say(text, isError = false) {
  $("status").textContent = text;
  $("status").classList.toggle("error", isError);
}

const fail = (error) => error.name !== "AbortError" && say(sentence(error.message), true);
const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);

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
    records.clear();
    openMap();
  }
  const focused = more ? $("hits").children.length : -1;
  showHits($("hits"), hits, act);
  map.showHits(hits.map(({ row }) => row));
  $("more").hidden = hits.length < wanted || wanted >= about.most.hits;
  const count = hits.length ? `${hits.length} of ${number(sounds)} sounds` : "No sound";
  const noted = notes.map((note) => ` ${sentence(note)}.`).join("");
  say(`${count} for ${title}, in ${Math.round(milliseconds)} ms.${noted}`);
  if (view() !== "map") setView("results");
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
    $("words").focus();
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
  const chip = $("like-chip");
  chip.hidden = !sound;
  chip.replaceChildren();
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
  chip.append(play, text, away);
  if (sound.predicted?.length) {
    const tags = sound.predicted.map(([tag]) => {
      const button = make("button", { type: "button", className: "chip", textContent: tag });
      button.addEventListener("click", () => act.addTag(tag));
      return button;
    });
    chip.append(make("div", { className: "chips" }, make("span", { className: "hint", textContent: "The model hears" }), ...tags));
  }
}

// --- sounds that are given

async function give(blob, name) {
  if (blob.size > about.most.bytes) {
    say(`${name} has more than ${about.most.bytes / 1e6} MB. Fix: cut it, or convert it to flac or mp3.`, true);
    return;
  }
  say(`Listening to ${name} …`);
  try {
    const found = await api.send(blob, name).catch(async (error) => {
      if (error.status !== 422) throw error;
      // What the server cannot read, the browser may know.
      const wav = await toWav(blob).catch(() => Promise.reject(error));
      return api.send(wav, name);
    });
    setLike({ ...found, predicted: found.tags, tags: [], url: URL.createObjectURL(blob) });
    await search();
  } catch (error) {
    fail(error);
  }
}

const recorder = new Recorder(async (blob) => {
  recording(false);
  try {
    await give(await toWav(blob), "recording");
  } catch {
    say("Nothing was recorded. Fix: record for longer.", true);
  }
});

function recording(isOn) {
  $("record").setAttribute("aria-pressed", String(isOn));
  $("record").querySelector("span").textContent = isOn ? "Stop" : "Record";
}

$("record").addEventListener("click", async () => {
  if (recorder.running) {
    recorder.stop();
    return;
  }
  player.stop();
  try {
    await recorder.start();
    recording(true);
    say("Recording, for a minute at most.");
  } catch (error) {
    say(`The microphone cannot be used (${error.message}). Fix: allow it for this page.`, true);
  }
});

$("file").addEventListener("change", ({ target }) => {
  if (target.files.length) give(target.files[0], target.files[0].name);
  target.value = ""; // so that the same file can be chosen again
});

let dragged = 0; // elements that the drag is over
const dragging = (change) => {
  dragged = Math.max(0, dragged + change);
  $("drop").hidden = !dragged;
};
addEventListener("dragenter", () => dragging(1));
addEventListener("dragleave", () => dragging(-1));
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  dragging(-Infinity);
  const [file] = event.dataTransfer.files;
  if (file) give(file, file.name);
});

// --- the map

const map = new SoundMap($("map"));
const records = new Map(); // by row
let chosen = null;

async function record(row) {
  if (!records.has(row)) records.set(row, await api.json(`/api/rows/${row}`, { version: about.version }));
  return records.get(row);
}

async function openMap() {
  try {
    const found = await api.json("/api/map");
    if (found.state !== "ready") {
      setTimeout(openMap, ASK_AGAIN_MS);
      return;
    }
    about.version = found.version;
    const names = found.groups.map(({ name }) => name);
    map.open(await api.bytes("/api/map/points", { version: found.version }), names);
    $("map-note").textContent = "";
    $("map").setAttribute("aria-label", `Map of all sounds: near is alike. Groups: ${names.join("; ")}`);
  } catch (error) {
    $("map-note").textContent = sentence(error.message);
  }
}

async function choose(row) {
  try {
    chosen = await record(row);
  } catch (error) {
    fail(error);
    return;
  }
  showHits($("chosen"), [chosen], act);
  player.play(chosen);
  $("map-status").textContent = `${baseName(chosen.path)}, ${length(chosen.seconds)}${chosen.tags.length ? `, ${chosen.tags.join(", ")}` : ""}`;
}

map.addEventListener("choose", ({ detail }) => choose(detail));
map.addEventListener("play", () => chosen && player.toggle(chosen));
map.addEventListener("like", () => chosen && act.like(chosen));
map.addEventListener("mark", () => chosen && favourites.toggle(chosen));
let pointing = 0;
map.addEventListener("point", ({ detail }) => {
  clearTimeout(pointing);
  if (detail === null) {
    $("map").title = "";
    return;
  }
  pointing = setTimeout(async () => {
    const sound = await record(detail).catch(() => null);
    if (!sound || map.points?.ids[map.pointed] !== detail) return;
    $("map").title = sound.path;
    if ($("hover").checked) player.play(sound);
  }, 90);
});
$("zoom-in").addEventListener("click", () => map.zoom(1.5));
$("zoom-out").addEventListener("click", () => map.zoom(1 / 1.5));
$("zoom-all").addEventListener("click", () => map.all());

player.addEventListener("change", () => player.sound && map.chooseRow(player.sound.row));
player.addEventListener("failed", ({ detail }) => say(`${baseName(detail.path)} cannot be played.`, true));

// --- views, favourites, keys

const VIEWS = ["results", "favourites", "map"];
const view = () => document.body.dataset.view;

function setView(name, { focus = false } = {}) {
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

function showFavourites() {
  const { sounds } = favourites;
  $("count").textContent = sounds.length;
  $("no-favourites").hidden = sounds.length > 0;
  for (const id of ["export-csv", "export-text", "clear"]) $(id).disabled = !sounds.length;
  const keys = [...$("marked").children].map(({ dataset }) => dataset.key);
  if (keys.join() === sounds.map(({ key }) => key).join()) return;
  showHits($("marked"), sounds, act);
  [...$("marked").children].forEach((element, at) => (element.dataset.key = sounds[at].key));
}

favourites.addEventListener("change", showFavourites);
$("export-csv").addEventListener("click", () => save(asCsv(favourites.sounds), "favourites.csv", "text/csv"));
$("export-text").addEventListener("click", () => save(asText(favourites.sounds), "favourites.txt", "text/plain"));
$("clear").addEventListener("click", () => favourites.set([]));
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

async function start() {
  about = await api.json("/api/index");
  $("about").textContent = `${number(about.sounds)} sounds in ${about.name}`;
  document.title = `${about.name} · coala`;
  favourites.open(about.folder);
  complete($("words"), $("suggestions"), about.tags);
  for (const tag of about.tags.slice(0, 12)) {
    const chip = make("button", { type: "button", className: "chip", textContent: tag });
    chip.addEventListener("click", () => act.addTag(tag));
    $("examples").append(chip);
  }
  if (about.model.state === "missing") say(`Only tags can be searched for: ${about.model.error}`, true);
  openMap();
  $("words").value = new URLSearchParams(location.search).get("words") ?? "";
  if ($("words").value) search();
}

start().catch(fail);
