// Tags are completed as they are typed: a combobox with a list (WAI-ARIA 1.2).

const MOST = 8;

export function complete(input, list, tags) {
  let options = [];
  let chosen = -1;

  const word = () => input.value.slice(0, input.selectionStart).split(",").at(-1).replace(/^\s*[-−]?\s*/, "");

  function show(found) {
    options = found;
    chosen = -1;
    list.replaceChildren(...found.map((tag, place) => {
      const item = document.createElement("li");
      item.id = `suggestion-${place}`;
      item.textContent = tag;
      item.setAttribute("role", "option");
      item.setAttribute("aria-selected", "false");
      item.addEventListener("pointerdown", (event) => {
        event.preventDefault(); // the input keeps the focus
        take(tag);
      });
      return item;
    }));
    list.hidden = !found.length;
    input.setAttribute("aria-expanded", String(!list.hidden));
    input.removeAttribute("aria-activedescendant");
  }

  function choose(place) {
    chosen = (place + options.length) % options.length;
    [...list.children].forEach((item, at) => item.setAttribute("aria-selected", String(at === chosen)));
    input.setAttribute("aria-activedescendant", `suggestion-${chosen}`);
  }

  function take(tag) {
    const end = input.selectionStart;
    const start = end - word().length;
    input.setRangeText(tag, start, end, "end");
    show([]);
  }

  input.addEventListener("input", () => {
    const typed = word().toLowerCase();
    const starts = tags.filter((tag) => tag.startsWith(typed));
    const others = tags.filter((tag) => !tag.startsWith(typed) && tag.includes(typed));
    const found = typed ? [...starts, ...others].slice(0, MOST) : [];
    show(found.length === 1 && found[0] === typed ? [] : found);
  });
  input.addEventListener("keydown", (event) => {
    if (list.hidden) return;
    if (event.key === "ArrowDown") choose(chosen + 1);
    else if (event.key === "ArrowUp") choose(chosen < 0 ? options.length - 1 : chosen - 1);
    else if (event.key === "Escape") show([]);
    else if (event.key === "Enter" && chosen >= 0) take(options[chosen]);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  input.addEventListener("blur", () => show([]));
  input.form.addEventListener("submit", () => show([]));
}
