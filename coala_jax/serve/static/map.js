// The map on its canvas: drawn, moved, zoomed, and walked by pointer and by keys.

import { Points } from "./mapdata.js";

const REACH = 14; // pixels in which a point is under the pointer
const MOST_ZOOM = 80;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class SoundMap extends EventTarget {
  constructor(canvas) {
    super();
    this.canvas = canvas;
    this.points = null;
    this.chosen = -1;
    this.pointed = -1;
    this.hits = [];
    this.pointers = new Map();
    this.all();
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => this.up(event));
    canvas.addEventListener("pointerleave", () => this.point(-1));
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY / 400), event.offsetX, event.offsetY);
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => this.key(event));
  }

  open(buffer, names) {
    this.points = new Points(buffer, names);
    this.draw();
  }

  // The rows of the sounds that were found, best first.
  showHits(rows) {
    this.hits = rows;
    this.draw();
  }

  tell(name, place) {
    this.dispatchEvent(new CustomEvent(name, { detail: place < 0 ? null : this.points.ids[place] }));
  }

  // --- where things are

  get side() {
    return Math.min(this.canvas.clientWidth, this.canvas.clientHeight) - 40;
  }

  toScreen(x, y) {
    const { clientWidth, clientHeight } = this.canvas;
    return [
      clientWidth / 2 + (x - this.middle[0]) * this.side * this.scale,
      clientHeight / 2 + (y - this.middle[1]) * this.side * this.scale,
    ];
  }

  toMap(left, top) {
    const { clientWidth, clientHeight } = this.canvas;
    const unit = this.side * this.scale;
    return [this.middle[0] + (left - clientWidth / 2) / unit, this.middle[1] + (top - clientHeight / 2) / unit];
  }

  all() {
    this.scale = 1;
    this.middle = [0.5, 0.5];
    this.draw();
  }

  zoom(factor, left = this.canvas.clientWidth / 2, top = this.canvas.clientHeight / 2) {
    const before = this.toMap(left, top);
    this.scale = Math.min(MOST_ZOOM, Math.max(0.8, this.scale * factor));
    const after = this.toMap(left, top);
    this.middle = this.middle.map((value, at) => value + before[at] - after[at]);
    this.draw();
  }

  // --- pointer and keys

  down(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, [event.offsetX, event.offsetY]);
    this.moved = 0;
  }

  move(event) {
    const before = this.pointers.get(event.pointerId);
    const now = [event.offsetX, event.offsetY];
    if (!before) {
      if (this.points) this.point(this.points.nearest(...this.toMap(...now), REACH / (this.side * this.scale)));
      return;
    }
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
    this.pointers.set(event.pointerId, now);
    this.moved += Math.abs(now[0] - before[0]) + Math.abs(now[1] - before[1]);
    if (other) {
      const apart = (one) => Math.hypot(one[0] - other[0], one[1] - other[1]) || 1;
      this.zoom(apart(now) / apart(before), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
    } else if (this.moved > 4) {
      const unit = this.side * this.scale;
      this.middle = this.middle.map((value, at) => value - (now[at] - before[at]) / unit);
      this.draw();
    }
  }

  up(event) {
    this.pointers.delete(event.pointerId);
    if (event.type === "pointercancel" || this.moved > 4 || !this.points) return;
    const place = this.points.nearest(...this.toMap(event.offsetX, event.offsetY), REACH / (this.side * this.scale));
    if (place >= 0) this.choose(place);
  }

  point(place) {
    if (place === this.pointed) return;
    this.pointed = place;
    this.canvas.style.cursor = place < 0 ? "" : "pointer";
    this.draw();
    this.tell("point", place);
  }

  choose(place) {
    this.chosen = place;
    this.draw();
    this.tell("choose", place);
  }

  chooseRow(row) {
    const place = this.points?.placeOf.get(row) ?? -1;
    if (place >= 0) this.chosen = place;
    this.draw();
  }

  key(event) {
    if (!this.points || event.ctrlKey || event.altKey || event.metaKey) return;
    const arrow = ARROWS[event.key];
    if (arrow) {
      const first = this.points.nearest(...this.middle, 2);
      const place = this.chosen < 0 ? first : this.points.next(this.chosen, ...arrow);
      if (place >= 0) {
        this.follow(place);
        this.choose(place);
      }
    } else if (event.key === "+" || event.key === "=") this.zoom(1.5);
    else if (event.key === "-") this.zoom(1 / 1.5);
    else if (event.key === "0") this.all();
    else if (event.key === "Enter" || event.key === " ") this.tell("play", this.chosen);
    else if (event.key === "m" || event.key === "f") this.tell({ m: "like", f: "mark" }[event.key], this.chosen);
    else return;
    event.preventDefault();
  }

  // Moves the map when a place lies beyond its edge.
  follow(place) {
    const at = [this.points.x[place], this.points.y[place]];
    const [left, top] = this.toScreen(...at);
    const { clientWidth, clientHeight } = this.canvas;
    if (left < 20 || top < 20 || left > clientWidth - 20 || top > clientHeight - 20) this.middle = at;
  }

  // --- drawing

  draw() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      this.paint();
    });
  }

  paint() {
    const { canvas, points } = this;
    const ratio = devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!points || !width) return;
    Object.assign(canvas, { width: Math.round(width * ratio), height: Math.round(height * ratio) });
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const isDark = matchMedia("(prefers-color-scheme: dark)").matches;
    const dense = this.side / 6 / Math.sqrt(points.count);
    const radius = Math.min(6, Math.max(0.8, dense * Math.sqrt(this.scale)));
    points.order.forEach((members, group) => {
      context.fillStyle = colour(group, isDark);
      context.globalAlpha = points.count > 20_000 ? 0.6 : 0.85;
      context.beginPath();
      for (const n of members) {
        const [x, y] = this.toScreen(points.x[n], points.y[n]);
        if (x < -9 || y < -9 || x > width + 9 || y > height + 9) continue;
        if (radius < 2) context.rect(x - radius, y - radius, 2 * radius, 2 * radius);
        else {
          context.moveTo(x + radius, y);
          context.arc(x, y, radius, 0, 7);
        }
      }
      context.fill();
    });
    context.globalAlpha = 1;
    const style = getComputedStyle(canvas);
    const [ink, page] = ["--ink", "--page"].map((name) => style.getPropertyValue(name));
    for (const row of this.hits) this.ring(context, points.placeOf.get(row) ?? -1, radius + 2.5, ink, 1.5);
    this.paintLabels(context, ink, page);
    this.ring(context, this.pointed, radius + 4, ink, 2);
    this.ring(context, this.chosen, radius + 6, style.getPropertyValue("--accent"), 3.5);
  }

  ring(context, place, radius, stroke, lineWidth) {
    if (place < 0) return;
    Object.assign(context, { strokeStyle: stroke, lineWidth });
    context.beginPath();
    context.arc(...this.toScreen(this.points.x[place], this.points.y[place]), radius, 0, 7);
    context.stroke();
  }

  // Names of groups, the largest first; one that would cover another is left out.
  paintLabels(context, ink, page) {
    Object.assign(context, { font: "600 12.5px system-ui, sans-serif", textAlign: "center",
      textBaseline: "middle", lineJoin: "round", lineWidth: 4, strokeStyle: page, fillStyle: ink });
    const taken = [];
    this.points.names.forEach((name, group) => {
      const half = context.measureText(name).width / 2;
      let [x, y] = this.toScreen(...this.points.centres[group]);
      if (this.scale <= 1) x = Math.min(Math.max(x, half + 6), this.canvas.clientWidth - half - 6);
      const box = [x - half - 4, y - 10, x + half + 4, y + 10];
      if (taken.some((b) => box[0] < b[2] && b[0] < box[2] && box[1] < b[3] && b[1] < box[3])) return;
      taken.push(box);
      context.strokeText(name, x, y);
      context.fillText(name, x, y);
    });
  }
}

// Hues as far apart as they go; names tell groups apart where colours do not.
export function colour(group, isDark) {
  const hue = (group * 137.5 + 165) % 360;
  return isDark ? `oklch(0.76 0.12 ${hue})` : `oklch(0.6 0.13 ${hue})`;
}
