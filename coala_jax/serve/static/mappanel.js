// The panel of the map: the canvas, its buttons, and the sound that is chosen.

import * as api from "./api.js";
import { favourites } from "./favourites.js";
import { baseName, length, showHits } from "./hits.js";
import { SoundMap } from "./map.js";
import { $, fail, sentence } from "./page.js";
import { player } from "./player.js";

const ASK_AGAIN_MS = 1000; // while the map is made

const map = new SoundMap($("map"));
const records = new Map(); // by row
let version = ""; // of the index that the map is of
let chosen = null;
let act = null; // what the page does: like(sound), addTag(tag)

async function record(row) {
  if (!records.has(row)) records.set(row, await api.json(`/api/rows/${row}`, { version }));
  return records.get(row);
}

// Loads the map; again when the index has changed since.
export async function openMap(actions) {
  act = actions;
  try {
    const found = await api.json("/api/map");
    if (found.state !== "ready") {
      setTimeout(openMap, ASK_AGAIN_MS, actions);
      return;
    }
    records.clear();
    version = found.version;
    const names = found.groups.map(({ name }) => name);
    map.open(await api.bytes("/api/map/points", { version }), names);
    $("map-note").textContent = "";
    $("map").setAttribute("aria-label", `Map of all sounds: near is alike. Groups: ${names.join("; ")}`);
  } catch (error) {
    $("map-note").textContent = sentence(error.message);
  }
}

export const showOnMap = (hits) => map.showHits(hits.map(({ row }) => row));

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
