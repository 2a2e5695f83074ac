// One sound at a time. Whoever shows sounds listens to `change` (started, ended) and `progress`.

import { of } from "./api.js";

class Player extends EventTarget {
  constructor() {
    super();
    this.sound = null; // that plays
    this.audio = new Audio();
    this.audio.addEventListener("ended", () => this.stop());
    this.audio.addEventListener("error", () => this.failed());
    this.tick = () => {
      if (!this.sound) return;
      this.dispatchEvent(new Event("progress"));
      this.frame = requestAnimationFrame(this.tick);
    };
  }

  isPlaying(sound) {
    return this.sound !== null && this.sound.key === sound.key;
  }

  toggle(sound) {
    if (this.isPlaying(sound)) this.stop();
    else this.play(sound);
  }

  // A sound that was given has its own address; one of the index is played from its beginning as a
  // small file that every browser knows, or whole, as it is.
  play(sound, { whole = false, from = 0 } = {}) {
    this.sound = sound;
    this.audio.src = sound.url || of(sound, whole ? "file" : "preview");
    this.audio.currentTime = from;
    this.audio.play().catch((error) => {
      if (error.name === "NotAllowedError") this.stop(); // no key or click yet: the browser keeps still
    });
    this.dispatchEvent(new Event("change"));
    cancelAnimationFrame(this.frame);
    this.tick();
  }

  stop() {
    if (!this.sound) return;
    this.sound = null;
    this.audio.pause();
    this.dispatchEvent(new Event("change"));
  }

  failed() {
    const { sound } = this;
    if (!sound) return;
    this.stop();
    this.dispatchEvent(new CustomEvent("failed", { detail: sound }));
  }

  get seconds() {
    return this.audio.currentTime;
  }
}

export const player = new Player();
