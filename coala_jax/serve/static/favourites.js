// Favourites are kept in this browser, for each folder of sounds apart.

class Favourites extends EventTarget {
  open(folder) {
    this.place = `coala.favourites.${folder}`;
    try {
      this.sounds = JSON.parse(localStorage.getItem(this.place)) || [];
    } catch {
      this.sounds = []; // damaged, or not allowed
    }
    this.dispatchEvent(new Event("change"));
  }

  has(sound) {
    return this.sounds.some(({ key }) => key === sound.key);
  }

  toggle({ key, path, seconds, tags }) {
    const others = this.sounds.filter((sound) => sound.key !== key);
    const isNew = others.length === this.sounds.length;
    this.set(isNew ? [...others, { key, path, seconds, tags }] : others);
  }

  set(sounds) {
    this.sounds = sounds;
    try {
      localStorage.setItem(this.place, JSON.stringify(sounds));
    } catch {
      // full, or not allowed: they last as long as the page
    }
    this.dispatchEvent(new Event("change"));
  }
}

export const favourites = new Favourites();
favourites.sounds = [];

// The columns that `coala prepare --tags` reads, and the length.
export function asCsv(sounds) {
  const field = (value) => `"${String(value).replaceAll('"', '""')}"`;
  const rows = sounds.map(({ path, tags, seconds }) => [path, tags.join(" "), seconds].map(field).join(","));
  return ["file,tags,seconds", ...rows, ""].join("\n");
}

export const asText = (sounds) => sounds.map(({ path }) => `${path}\n`).join("");

export function save(text, name, type) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = Object.assign(document.createElement("a"), { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
