// What is chosen in the grid: by a click, from one to another with Shift, by a frame drawn with the mouse, or from the keyboard.

import { element } from "./review-dom.js";

const DRAG_PX = 6;

export class Selection {
  chosen = new Set();
  #area;
  #changed;
  #last = null;
  #dragged = false;

  /** `area` holds the cells, each with `data-number`; `changed()` is called after every change. */
  constructor(area, changed) {
    this.#area = area;
    this.#changed = changed;
    area.addEventListener("click", (event) => this.#click(event));
    area.addEventListener("pointerdown", (event) => this.#press(event));
  }

  set(numbers) {
    this.chosen = new Set(numbers);
    this.#last = null;
    this.#changed();
  }

  /** Numbers that are not chosen any more. */
  drop(numbers) {
    const dropped = numbers.filter((n) => this.chosen.delete(n));
    if (dropped.length) this.#changed();
  }

  toggle(n) {
    if (!this.chosen.delete(n)) this.chosen.add(n);
    this.#last = n;
    this.#changed();
  }

  #click(event) {
    const cell = event.target.closest("[data-number]");
    if (this.#dragged || !cell) return;
    const n = Number(cell.dataset.number);
    if (event.shiftKey && this.#last !== null) this.#range(n);
    else this.toggle(n);
  }

  #range(to) {
    const order = [...this.#area.children].map((cell) => Number(cell.dataset.number));
    const ends = [order.indexOf(this.#last), order.indexOf(to)].sort((a, b) => a - b);
    for (const n of order.slice(ends[0], ends[1] + 1)) this.chosen.add(n);
    this.#changed();
  }

  /** Draws a frame: what it touches is chosen in addition. Fingers scroll instead. */
  #press(event) {
    this.#dragged = false;
    if (event.button !== 0 || event.pointerType === "touch") return;
    const from = [event.clientX, event.clientY];
    const before = new Set(this.chosen);
    let band = null;
    const move = (next) => {
      if (!band && Math.hypot(next.clientX - from[0], next.clientY - from[1]) < DRAG_PX) return;
      if (!band) {
        band = element("div", { className: "band" });
        document.body.append(band);
        this.#dragged = true;
      }
      const box = drawn(band, from, [next.clientX, next.clientY]);
      this.chosen = new Set([...before, ...this.#touched(box)]);
      this.#changed();
    };
    const stop = () => {
      band?.remove();
      removeEventListener("pointermove", move);
      removeEventListener("pointerup", stop);
      removeEventListener("pointercancel", stop);
    };
    addEventListener("pointermove", move);
    addEventListener("pointerup", stop);
    addEventListener("pointercancel", stop);
  }

  #touched(box) {
    return [...this.#area.children]
      .filter((cell) => {
        const place = cell.getBoundingClientRect();
        return place.left < box.right && place.right > box.left && place.top < box.bottom && place.bottom > box.top;
      })
      .map((cell) => Number(cell.dataset.number));
  }
}

function drawn(band, [x1, y1], [x2, y2]) {
  const box = { left: Math.min(x1, x2), top: Math.min(y1, y2), right: Math.max(x1, x2), bottom: Math.max(y1, y2) };
  band.style.left = `${box.left}px`;
  band.style.top = `${box.top}px`;
  band.style.width = `${box.right - box.left}px`;
  band.style.height = `${box.bottom - box.top}px`;
  return box;
}
