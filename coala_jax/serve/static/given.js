// Sounds that are given to the page: dropped, chosen or recorded.

import { send } from "./api.js";
import { $, fail, say } from "./page.js";
import { player } from "./player.js";
import { Recorder, toWav } from "./recorder.js";

// `begun` is called when a sound is given, `found` when the model has heard it, unless another one
// was given meanwhile: of that one the page speaks.
export function takeSounds(most, begun, found) {
  let newest = 0;

  async function give(blob, name) {
    const own = ++newest;
    begun();
    if (blob.size > most) {
      say(`${name} has more than ${most / 1e6} MB. Fix: cut it, or convert it to flac or mp3.`, true);
      return;
    }
    say(`Listening to ${name} …`);
    try {
      const heard = await send(blob, name).catch(async (error) => {
        if (error.status !== 422) throw error;
        // What the server cannot read, the browser may know.
        const wav = await toWav(blob).catch(() => Promise.reject(error));
        return send(wav, name);
      });
      if (own === newest) found({ ...heard, predicted: heard.tags, tags: [], url: URL.createObjectURL(blob) });
    } catch (error) {
      if (own === newest) fail(error);
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
}
