// What the page knows of the tree: the images, and for each what was decided. What the server said last is `kept`; what is
// shown may be ahead of it, while decisions of this page are under way.

import { BY, groupsOf } from "./review-groups.js";

export const kindOf = (image, verdict, label) => {
  if (verdict === "correct") return "right";
  if (verdict !== "relabel") return verdict;
  return label === image.suggested ? "suggested" : "moved";
};

/** Tells of "change" (detail: numbers). */
export class Review extends EventTarget {
  constructor(tree, references) {
    super();
    this.name = tree.tree;
    this.enlarged = tree.enlarged;
    this.models = tree.pairs;
    this.votesShown = tree.votes_shown;
    this.classes = [...tree.classes];
    this.images = tree.images.map((image, n) => ({
      ...image,
      number: n,
      given: tree.classes[image.given],
      suggested: tree.classes[image.suggested],
      beside: references.beside[n] ?? [[], [], []],
      groups: {},
    }));
    this.references = references;
    this.shown = this.images.map((image) => ({ verdict: "open", label: image.given, present: true, kind: "open" }));
    this.kept = this.shown.map((s) => [s.verdict, s.label, s.present]);
    this.counts = { open: this.images.length, right: 0, suggested: 0, moved: 0, expunge: 0, unsure: 0 };
    this.groups = Object.fromEntries(BY.map((by) => [by, groupsOf(this.images, by)]));
    this.#underWay = new Uint32Array(this.images.length);
  }

  #underWay;

  get size() {
    return this.images.length;
  }

  get decided() {
    return this.size - this.counts.open;
  }

  typical(label) {
    return this.references.classes[label] ?? [];
  }

  /** Whether an image belongs to what is looked at; `filter`: a kind or "all", and a group of those `by` something, or null. */
  matches(n, { kind, by, group }) {
    return (kind === "all" || this.shown[n].kind === kind) && (group === null || this.images[n].groups[by] === group);
  }

  /** The next image from `from` (without it) in steps of 1 or -1 that matches, or null; `around`: go on at the other end. */
  next(from, filter, step = 1, around = false) {
    for (let i = 1; i <= this.size; i++) {
      const n = from + i * step;
      if (!around && (n < 0 || n >= this.size)) return null;
      const there = (n + this.size) % this.size;
      if (this.matches(there, filter)) return there;
    }
    return null;
  }

  /** Shows a decision of this page before the server has answered; `outcomes`: [number, verdict, label] each. */
  expect(outcomes) {
    for (const [n, verdict, label] of outcomes) {
      this.#underWay[n] += 1;
      this.#show(n, verdict, label, this.shown[n].present);
    }
    this.#tell(outcomes.map(([n]) => n));
  }

  /** The server's answer to what was expected of `numbers`: how each of `outcomes` is now. */
  answered(numbers, outcomes) {
    for (const n of numbers) this.#underWay[n] -= 1;
    for (const [n, verdict, label] of outcomes) this.#keep(n, verdict, label, this.kept[n][2]);
    this.#settle(numbers);
  }

  /** What the server says of some images, unasked: [number, verdict, label, present] each. Returns those that now look otherwise. */
  follow(changes) {
    for (const [n, verdict, label, present] of changes) this.#keep(n, verdict, label, present);
    return this.#settle(changes.map(([n]) => n));
  }

  #settle(numbers) {
    const changed = numbers.filter((n) => this.#underWay[n] === 0 && this.#show(n, ...this.kept[n]));
    this.#tell(changed);
    return changed;
  }

  #show(n, verdict, label, present) {
    const was = this.shown[n];
    if (was.verdict === verdict && was.label === label && was.present === present) return false;
    const image = this.images[n];
    const kind = kindOf(image, verdict, label);
    this.shown[n] = { verdict, label, present, kind };
    this.counts[was.kind] -= 1;
    this.counts[kind] += 1;
    for (const by of BY) this.groups[by][image.groups[by]].open += (kind === "open") - (was.kind === "open");
    return true;
  }

  /** A class that somebody made is a class once the server says so: some names no class can have. */
  #keep(n, verdict, label, present) {
    this.kept[n] = [verdict, label, present];
    if (!this.classes.includes(label)) this.classes.push(label);
  }

  #tell(numbers) {
    if (numbers.length) this.dispatchEvent(new CustomEvent("change", { detail: numbers }));
  }
}
