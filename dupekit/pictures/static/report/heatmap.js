/* A heat map of classes against classes, on canvases: names stay beside it while it is scrolled. */
const NAMES_PX = 210;
const NAMES_TOP_PX = 160;
const LEAST_SHARE = 0.002;

/** Draws shares (row label -> Map of column label -> share) for `labels`; `pointed` and `chosen` are told of (row, column). */
class Heatmap {
  constructor({ pointed, chosen }) {
    this.pointed = pointed;
    this.chosen = chosen;
    this.top = make("canvas", { class: "names-top", "aria-hidden": "true" });
    this.left = make("canvas", { class: "names-left", "aria-hidden": "true" });
    this.cells = make("canvas", {
      class: "cells", tabindex: "0", role: "application",
      "aria-label": "Heat map: rows are the classes that images are in, columns what the models say. Arrow keys move, Enter shows the suspects.",
    });
    this.corner = make("span", { class: "corner quiet" }, "now in ↓   models say →");
    this.element = make("div", { class: "heatmap" }, this.corner, this.top, this.left, this.cells);
    this.at = null;
    this.cells.addEventListener("pointermove", (event) => this.point(this.under(event)));
    this.cells.addEventListener("pointerleave", () => this.point(null));
    this.cells.addEventListener("click", (event) => this.choose(this.under(event)));
    this.cells.addEventListener("keydown", (event) => this.key(event));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  show(labels, shares, width) {
    this.labels = labels;
    this.shares = shares;
    this.size = Math.max(13, Math.min(26, Math.floor((width - NAMES_PX - 20) / Math.max(labels.length, 1))));
    this.at = null;
    this.draw();
  }

  draw() {
    if (!this.labels) return;
    const style = getComputedStyle(document.documentElement);
    this.colours = Object.fromEntries(["--text", "--quiet", "--line", "--heat-none", "--heat-low", "--heat-high", "--heat-own", "--accent"]
      .map((name) => [name, style.getPropertyValue(name).trim()]));
    const side = this.labels.length * this.size;
    this.drawCells(surface(this.cells, side, side));
    this.drawNames(surface(this.left, NAMES_PX, side), false);
    this.drawNames(surface(this.top, side, NAMES_TOP_PX), true);
  }

  drawCells(context) {
    const { size, labels } = this, side = labels.length * size;
    context.fillStyle = this.colours["--heat-none"];
    context.fillRect(0, 0, side, side);
    labels.forEach((row, y) => labels.forEach((column, x) => {
      const share = this.shares.get(row)?.get(column) ?? 0;
      if (!share) return;
      context.fillStyle = row === column ? mixed(this.colours["--heat-none"], this.colours["--heat-own"], share)
        : mixed(this.colours["--heat-low"], this.colours["--heat-high"], strength(share));
      context.fillRect(x * size, y * size, size - 1, size - 1);
    }));
    if (!this.at) return;
    const [row, column] = this.at;
    context.strokeStyle = this.colours["--accent"];
    context.globalAlpha = 0.16;
    context.fillStyle = this.colours["--accent"];
    context.fillRect(0, row * size, side, size - 1);
    context.fillRect(column * size, 0, size - 1, side);
    context.globalAlpha = 1;
    context.lineWidth = 2;
    context.strokeRect(column * size, row * size, size - 1, size - 1);
  }

  drawNames(context, upright) {
    const { size, labels } = this, room = (upright ? NAMES_TOP_PX : NAMES_PX) - 10;
    labels.forEach((label, i) => {
      const current = this.at && this.at[upright ? 1 : 0] === i;
      context.save();
      context.font = `${current ? 600 : 400} ${Math.min(12, size - 1)}px ${getComputedStyle(document.body).fontFamily}`;
      context.fillStyle = this.colours[current ? "--accent" : "--text"];
      context.textBaseline = "middle";
      if (upright) {
        context.translate(i * size + size / 2, NAMES_TOP_PX - 5);
        context.rotate(-Math.PI / 2);
        context.fillText(fitting(context, LABELS[label], room), 0, 0);
      } else {
        context.textAlign = "right";
        context.fillText(fitting(context, LABELS[label], room), NAMES_PX - 6, i * size + size / 2);
      }
      context.restore();
    });
  }

  under(event) {
    const column = Math.floor(event.offsetX / this.size), row = Math.floor(event.offsetY / this.size);
    const inside = (i) => i >= 0 && i < this.labels.length;
    return inside(row) && inside(column) ? [row, column] : null;
  }

  point(at) {
    if (String(at) === String(this.at)) return;
    this.at = at;
    this.draw();
    this.pointed(at ? this.labels[at[0]] : null, at ? this.labels[at[1]] : null);
  }

  choose(at) {
    if (at) this.chosen(this.labels[at[0]], this.labels[at[1]]);
  }

  key(event) {
    const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    if (event.key === "Enter") this.choose(this.at);
    if (!(event.key in steps)) return;
    event.preventDefault();
    const last = this.labels.length - 1, [row, column] = this.at ?? [0, 0];
    const moved = this.at ? [row + steps[event.key][0], column + steps[event.key][1]] : [0, 0];
    this.point(moved.map((i) => Math.max(0, Math.min(i, last))));
  }
}

/** A canvas as sharp as the screen; its context. */
function surface(canvas, width, height) {
  const ratio = devicePixelRatio || 1;
  canvas.width = Math.max(1, width * ratio);
  canvas.height = Math.max(1, height * ratio);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  return context;
}

/** From 0 at the least share to 1 at all, by its logarithm: few mistakes are seen beside many. */
function strength(share) {
  return Math.max(0, Math.min(1, 1 - Math.log(share) / Math.log(LEAST_SHARE)));
}

/** A colour between two, each written #rrggbb. */
function mixed(low, high, part) {
  const channel = (colour, at) => parseInt(colour.slice(1 + 2 * at, 3 + 2 * at), 16);
  return `rgb(${[0, 1, 2].map((at) => Math.round(channel(low, at) + (channel(high, at) - channel(low, at)) * part)).join(" ")})`;
}

/** The text, shortened in its middle where it is too wide. */
function fitting(context, text, room) {
  if (context.measureText(text).width <= room) return text;
  let kept = text.length - 1;
  const short = () => `${text.slice(0, Math.ceil(kept / 2))}…${text.slice(text.length - Math.floor(kept / 2))}`;
  while (kept > 2 && context.measureText(short()).width > room) kept -= 1;
  return short();
}
