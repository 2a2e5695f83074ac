// The points of the map, and which of them is where. No drawing, no page.

const CELLS = 128; // of the grid, a side

export class Points {
  // bytes: of all sounds the ids (uint32), then x and y (uint16), then the groups (uint8)
  constructor(buffer, names) {
    const count = buffer.byteLength / 9;
    this.count = count;
    this.names = names;
    this.ids = new Uint32Array(buffer, 0, count);
    const places = new Uint16Array(buffer, 4 * count, 2 * count);
    this.groups = new Uint8Array(buffer, 8 * count, count);
    this.x = Float32Array.from({ length: count }, (_, n) => places[2 * n] / 65535);
    this.y = Float32Array.from({ length: count }, (_, n) => 1 - places[2 * n + 1] / 65535); // down
    this.order = this.byGroup();
    this.centres = names.map((_, group) => this.centre(group));
    this.placeOf = new Map(Array.from(this.ids, (id, n) => [id, n]));
    this.grid();
  }

  byGroup() {
    const order = Array.from(this.names, () => []);
    this.groups.forEach((group, n) => order[group].push(n));
    return order;
  }

  centre(group) {
    const middle = (values) => {
      const sorted = this.order[group].map((n) => values[n]).sort((a, b) => a - b);
      return sorted[sorted.length >> 1] ?? 0.5;
    };
    return [middle(this.x), middle(this.y)];
  }

  grid() {
    this.cells = Array.from({ length: CELLS * CELLS }, () => []);
    for (let n = 0; n < this.count; n++) this.cells[this.cell(this.x[n], this.y[n])].push(n);
  }

  cell(x, y) {
    const at = (value) => Math.min(CELLS - 1, Math.max(0, Math.floor(value * CELLS)));
    return at(y) * CELLS + at(x);
  }

  // The point nearest to a place, no further than `most`; -1 where there is none.
  nearest(x, y, most) {
    let [best, least] = [-1, most * most];
    const cells = (value) => [value - most, value + most].map((end) => this.cell(end, 0) % CELLS);
    const [left, right] = cells(x);
    const [top, bottom] = cells(y);
    for (let row = top; row <= bottom; row++) {
      for (let column = left; column <= right; column++) {
        for (const n of this.cells[row * CELLS + column]) {
          const distance = (this.x[n] - x) ** 2 + (this.y[n] - y) ** 2;
          if (distance <= least) [best, least] = [n, distance];
        }
      }
    }
    return best;
  }

  // The next point in a direction (dx, dy of -1, 0, 1): near counts, and so does straight ahead.
  next(from, dx, dy) {
    let [best, least] = [-1, Infinity];
    for (let n = 0; n < this.count; n++) {
      const [x, y] = [this.x[n] - this.x[from], this.y[n] - this.y[from]];
      const ahead = x * dx + y * dy;
      const aside = Math.abs(x * dy) + Math.abs(y * dx);
      if (n === from || ahead <= 0 || aside > 1.5 * ahead) continue;
      const cost = ahead + 2 * aside;
      if (cost < least) [best, least] = [n, cost];
    }
    return best;
  }
}
