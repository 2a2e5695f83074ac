// Sounds as rows of a list: play, waveform, name, tags, more like this, favourite.

import { favourites } from "./favourites.js";
import { player } from "./player.js";
import { drawWave, picture } from "./wave.js";

const PREVIEW_SECONDS = 15;

export function make(tag, properties = {}, ...children) {
  const { attributes = {}, ...rest } = properties;
  const element = Object.assign(document.createElement(tag), rest);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#icon-${name}`);
  svg.setAttribute("aria-hidden", "true");
  svg.append(use);
  return svg;
}

// A tag that is searched for, too, once it is pressed.
export function chip(tag, act, attributes = {}) {
  const button = make("button", { type: "button", className: "chip", textContent: tag, attributes });
  button.addEventListener("click", () => act.addTag(tag));
  return button;
}

export function length(seconds) {
  if (seconds < 10) return `${seconds.toFixed(seconds < 1 ? 2 : 1)} s`;
  const whole = Math.round(seconds);
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")} min`;
}

export function baseName(path) {
  return path.slice(path.lastIndexOf("/") + 1);
}

const shown = new Map(); // row of the list -> its sound, canvas and picture
// Waveforms are asked for when their row comes into sight.
const inSight = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    inSight.unobserve(target);
    const row = shown.get(target);
    if (!row) continue;
    picture(row.sound).then(
      (found) => {
        row.picture = found;
        draw(row);
      },
      () => row.canvas.remove(),
    );
  }
}, { rootMargin: "200px" });
const resized = new ResizeObserver((entries) => entries.forEach(({ target }) => {
  const row = shown.get(target.closest(".hit"));
  if (row) draw(row);
}));

function draw(row) {
  if (!row.picture) return;
  const plays = player.isPlaying(row.sound);
  drawWave(row.canvas, row.picture, plays ? player.seconds / row.picture.seconds : -1);
}

// `act` has what the page does: like(sound), addTag(tag).
export function hitRow(sound, act) {
  const name = baseName(sound.path);
  const folder = sound.path.slice(0, -name.length - 1);
  const row = { sound, canvas: make("canvas", { attributes: { "aria-hidden": "true" } }) };
  const play = make("button", { type: "button", className: "play" }, icon("play"));
  play.addEventListener("click", () => player.toggle(sound));
  row.canvas.addEventListener("click", (event) => {
    const seconds = row.picture ? row.picture.seconds : 0;
    player.play(sound, { from: (event.offsetX / row.canvas.clientWidth) * seconds });
  });
  const like = make("button", { type: "button", className: "like", title: "More like this (m)",
    attributes: { "aria-label": `More like ${name}` } }, icon("like"));
  like.addEventListener("click", () => act.like(sound));
  const heart = make("button", { type: "button", className: "favourite", title: "Favourite (f)",
    attributes: { "aria-label": `Favourite ${name}` } }, icon("heart"));
  heart.addEventListener("click", () => favourites.toggle(sound));
  const numbers = make("span", { className: "number" });
  if (sound.score != null) {
    const score = make("strong", { textContent: sound.score.toFixed(2), title: "score; higher is better" });
    numbers.append(make("span", { className: "unseen", textContent: "score " }), score, " · ");
  }
  numbers.append(length(sound.seconds));
  const chips = make("div", { className: "chips" });
  chips.append(...sound.tags.map((tag) => chip(tag, act, { "aria-label": `Search for ${tag}` })));
  if (sound.seconds > PREVIEW_SECONDS) {
    const whole = make("button", { type: "button", className: "whole",
      textContent: "Play whole", title: `The first ${PREVIEW_SECONDS} s are played otherwise` });
    whole.addEventListener("click", () => player.play(sound, { whole: true }));
    chips.append(whole);
  }
  row.element = make("li", { className: "hit" },
    play,
    make("div", { className: "about" },
      make("div", { className: "line" }, make("span", { className: "name", textContent: name, title: sound.path }), numbers),
      ...(folder ? [make("div", { className: "folder", textContent: folder })] : []),
      row.canvas,
      chips),
    make("div", { className: "actions" }, like, heart));
  row.element.addEventListener("keydown", (event) => keys(event, row, act));
  shown.set(row.element, row);
  inSight.observe(row.element);
  resized.observe(row.canvas);
  mark(row);
  return row.element;
}

function keys(event, row, act) {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const beside = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
  if (beside) {
    row.element[beside]?.querySelector(".play").focus();
    event.preventDefault();
  } else if (event.key === "m") act.like(row.sound);
  else if (event.key === "f") favourites.toggle(row.sound);
}

function mark(row) {
  const plays = player.isPlaying(row.sound);
  const button = row.element.querySelector(".play");
  row.element.classList.toggle("playing", plays);
  button.setAttribute("aria-label", `${plays ? "Stop" : "Play"} ${baseName(row.sound.path)}`);
  button.querySelector("use").setAttribute("href", plays ? "#icon-pause" : "#icon-play");
  row.element.querySelector(".favourite").setAttribute("aria-pressed", favourites.has(row.sound));
  draw(row);
}

export function showHits(list, sounds, act) {
  for (const element of list.children) shown.delete(element);
  list.replaceChildren(...sounds.map((sound) => hitRow(sound, act)));
}

const each = (work) => () => shown.forEach(work);
player.addEventListener("change", each(mark));
player.addEventListener("progress", each((row) => player.isPlaying(row.sound) && draw(row)));
favourites.addEventListener("change", each(mark));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", each(draw));
