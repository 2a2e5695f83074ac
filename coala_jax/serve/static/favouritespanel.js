// The panel of the favourites: their list, and the files that they are saved as.

import { asCsv, asText, favourites, save } from "./favourites.js";
import { showHits } from "./hits.js";
import { $ } from "./page.js";

export function openFavourites(folder, act) {
  function show() {
    const { sounds } = favourites;
    $("count").textContent = sounds.length;
    $("no-favourites").hidden = sounds.length > 0;
    for (const id of ["export-csv", "export-text", "clear"]) $(id).disabled = !sounds.length;
    const keys = [...$("marked").children].map(({ dataset }) => dataset.key);
    if (keys.join() === sounds.map(({ key }) => key).join()) return;
    showHits($("marked"), sounds, act);
    [...$("marked").children].forEach((element, at) => (element.dataset.key = sounds[at].key));
  }

  favourites.addEventListener("change", show);
  $("export-csv").addEventListener("click", () => save(asCsv(favourites.sounds), "favourites.csv", "text/csv"));
  $("export-text").addEventListener("click", () => save(asText(favourites.sounds), "favourites.txt", "text/plain"));
  $("clear").addEventListener("click", () => favourites.set([]));
  favourites.open(folder);
}
