// The waveform of a sound, coloured by its brightness: dull to the one end, bright to the other.

import { json, of } from "./api.js";

const pictures = new Map(); // by key

export async function picture(sound) {
  if (!pictures.has(sound.key)) pictures.set(sound.key, await json(of(sound, "picture")));
  return pictures.get(sound.key);
}

function rgb(name) {
  const value = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  return [1, 3, 5].map((at) => parseInt(value.slice(at, at + 2), 16));
}

export function drawWave(canvas, { peaks, brightness }, progress) {
  const ratio = devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth * ratio, canvas.clientHeight * ratio].map(Math.round);
  if (!width) return;
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, width, height);
  const bars = Math.min(peaks.length, Math.floor(canvas.clientWidth / 3)) || 1;
  const step = width / bars;
  const [low, high] = [rgb("--wave-low"), rgb("--wave-high")];
  for (let bar = 0; bar < bars; bar++) {
    const first = Math.floor((bar * peaks.length) / bars);
    const last = Math.max(first + 1, Math.floor(((bar + 1) * peaks.length) / bars));
    const tall = Math.max((Math.max(...peaks.slice(first, last)) / 255) * height, 2 * ratio);
    const share = Math.min(1, Math.max(0, brightness[first] / 255));
    const colour = low.map((value, at) => Math.round(value + share * (high[at] - value)));
    context.globalAlpha = progress < 0 || bar / bars <= progress ? 1 : 0.35;
    context.fillStyle = `rgb(${colour})`;
    context.beginPath();
    context.roundRect(bar * step, (height - tall) / 2, Math.max(step - ratio, 1), tall, ratio);
    context.fill();
  }
}
