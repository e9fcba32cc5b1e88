// The grid: a page of images of one group. A decision is on what is chosen; on a whole page only after a second key.

import { button, element, find, named, say } from "./review-dom.js";
import { firstGrouping, keepGrouping } from "./review-groups.js";
import { Selection } from "./review-selection.js";
import { thumbs } from "./review-thumbs.js";
import { DECISIONS, EACH, GROUPINGS, KINDS, UNSEEN, images, number, verdictWords } from "./review-words.js";

const GAP = 8;
const SMALLEST = 72;
const LARGEST = 320;
const STEP = 24;
const SAMPLE = 6; // typical images of each class of a pair
const SAMPLE_OF_ONE = 8; // of the one class that a group has in common
const ENLARGE = 3; // of the original: larger is only blur, and a small image should look small. Copies that are larger stay so

export class Grid {
  filter = { kind: "open", by: "pair", group: 0 };
  size = Number(find("size").value);
  asking = null;
  #cells = find("cells");
  #list = [];
  #page = 0;
  #each = 1;
  #cursor = 0;
  #ahead = [];

  constructor(review) {
    this.review = review;
    this.selection = new Selection(this.#cells, () => this.#mark());
    new ResizeObserver(() => this.#fit()).observe(this.#cells);
    find("size").addEventListener("input", ({ target }) => this.resize(Number(target.value)));
    find("size").addEventListener("change", ({ target }) => target.blur()); // the keys are the page's again
    this.filter.by = firstGrouping(review);
    this.#listGroups();
    review.addEventListener("change", ({ detail }) => this.#change(detail));
  }

  get visible() {
    return this.#list.slice(this.#page * this.#each, (this.#page + 1) * this.#each);
  }

  get pages() {
    return Math.max(1, Math.ceil(this.#list.length / this.#each));
  }

  /** What is still to be decided: what is open, or the one verdict that is looked at. */
  #isWanted = (n) => this.review.matches(n, { kind: this.filter.kind === "all" ? "open" : this.filter.kind, group: null });

  get #wantedHere() {
    return this.visible.filter((n) => this.#isWanted(n) && this.review.shown[n].present);
  }

  get #groups() {
    return this.review.groups[this.filter.by];
  }

  /** Begins a group anew, with all that the filter lets through now. */
  showGroup(group) {
    this.filter.group = group;
    this.#list = this.#groups[group].numbers.filter((n) => this.review.matches(n, this.filter));
    this.#head(this.#groups[group]);
    this.#each = this.#measure() || this.#each;
    const items = find("groups").children;
    for (const item of items) item.removeAttribute("aria-current");
    items[group].setAttribute("aria-current", "true");
    items[group].scrollIntoView({ block: "nearest" });
    this.showPage(0);
  }

  /** A group, or where it has nothing to show the next that has; false where none has. */
  showFrom(group) {
    this.showGroup(group);
    return this.#list.length > 0 || this.turnGroup(1);
  }

  /** Groups by something else, and goes to where the image at the cursor lies then. */
  groupBy(by) {
    const filter = { kind: this.filter.kind, group: null };
    const at = [this.atCursor, ...this.visible].find((n) => n !== null && this.review.matches(n, filter)) ?? this.review.next(-1, filter);
    this.filter.by = by;
    keepGrouping(this.review, by);
    this.#listGroups();
    if (at === null) this.showGroup(0);
    else this.reveal(at);
  }

  /** Goes to where an image lies, also where the filter would not let it through. */
  reveal(n) {
    if (!this.review.matches(n, { ...this.filter, group: null })) this.filter.kind = "all";
    this.showGroup(this.review.images[n].groups[this.filter.by]);
    this.showPage(Math.floor(this.#list.indexOf(n) / this.#each));
    this.#cursor = this.visible.indexOf(n);
    this.#mark();
  }

  showPage(page) {
    this.#page = Math.max(0, Math.min(this.pages - 1, page));
    this.asking = null;
    this.#cursor = 0;
    const here = this.visible;
    this.#cells.style.setProperty("--cell", `${this.size}px`);
    this.#cells.replaceChildren(...here.map((n) => this.#cell(n)));
    if (!here.length) this.#cells.append(element("p", { className: "quiet none" }, `${this.filter.kind === "open" ? "Everything in this group is decided" : "There are no such images in this group"}. n goes on.`));
    this.selection.set([]);
    const total = this.#list.length;
    say(find("page-of"), `${images(total)}, page ${number(this.#page + 1)} of ${number(this.pages)}`);
    find("page-before").disabled = this.#page === 0;
    find("page-after").disabled = this.#page === this.pages - 1;
    const next = this.#list.slice((this.#page + 1) * this.#each, (this.#page + 2) * this.#each);
    this.#ahead = next.map((n) => Object.assign(new Image(), { src: address(n) }));
  }

  turn(step) {
    this.showPage(this.#page + step);
  }

  /** The next (1) or former (-1) group that has something to show; false where none has. */
  turnGroup(step) {
    const { length } = this.#groups;
    for (let i = 1; i <= length; i++) {
      const group = (this.filter.group + i * step + i * length) % length;
      if (this.#groups[group].numbers.some((n) => this.review.matches(n, { ...this.filter, group }))) {
        this.showGroup(group);
        return true;
      }
    }
    return false;
  }

  /** Goes to a page with images still to be decided, of this group or the next; false where there are none. */
  advance() {
    const after = (this.#page + 1) * this.#each;
    const there = [...this.#list.keys()].filter((i) => this.#isWanted(this.#list[i]));
    const at = there.find((i) => i >= after) ?? there[0];
    if (at !== undefined) {
      this.showPage(Math.floor(at / this.#each));
      return true;
    }
    const wanted = [...this.#groups.keys()].filter((i) => this.#groups[i].numbers.some(this.#isWanted));
    const next = wanted.find((i) => i > this.filter.group) ?? wanted[0];
    if (next === undefined) return false;
    this.showGroup(next);
    return true;
  }

  /** The images to decide on now, or null: then the page asks first whether the whole page is meant. */
  take(decision, label) {
    if (this.selection.chosen.size && !this.asking) return [...this.selection.chosen];
    const meant = this.asking ? [...this.selection.chosen] : this.#wantedHere;
    if (meant.length) {
      this.asking = { decision, label };
      this.selection.set(meant);
    }
    return null;
  }

  /** What was asked for, and on which images; it is not asked for any more. */
  answer() {
    const { asking } = this;
    const numbers = [...this.selection.chosen];
    this.clear();
    return { ...asking, numbers };
  }

  clear() {
    this.asking = null;
    this.selection.set([]);
  }

  selectPage() {
    this.selection.set(this.visible.filter((n) => this.review.shown[n].present));
  }

  get allDecided() {
    return this.#wantedHere.length === 0;
  }

  get atCursor() {
    return this.visible[this.#cursor] ?? null;
  }

  toggleAtCursor() {
    if (this.atCursor !== null) this.selection.toggle(this.atCursor);
  }

  walk(key) {
    const columns = this.#columns;
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[key];
    const to = this.#cursor + step;
    if (to >= 0 && to < this.visible.length) this.#cursor = to;
    this.#mark();
    this.#cells.children[this.#cursor]?.focus();
  }

  resize(size) {
    this.size = Math.max(SMALLEST, Math.min(LARGEST, size));
    find("size").value = this.size;
    this.#fit(true);
  }

  grow(step) {
    this.resize(this.size + step * STEP);
  }

  get #columns() {
    return Math.max(1, Math.floor((this.#cells.clientWidth + GAP) / (this.size + GAP)));
  }

  /** So many on a page as fit; the first one stays on it. */
  #fit(always = false) {
    const each = this.#measure();
    if (!each || (each === this.#each && !always)) return;
    const first = this.#page * this.#each;
    this.#each = each;
    this.showPage(Math.floor(first / each));
  }

  /** How many fit on a page; 0 while the grid is hidden. */
  #measure() {
    const rows = Math.max(1, Math.floor((this.#cells.clientHeight + GAP) / (this.size + GAP)));
    return this.#cells.clientWidth && this.#columns * rows;
  }

  #cell(n) {
    const { name, given, suggested } = this.review.images[n];
    const cell = element("div", { role: "option", className: "cell", tabIndex: -1, title: name });
    cell.dataset.number = n;
    const differs = { suggested: given, given: suggested }[this.filter.by];
    if (differs !== undefined) cell.append(element("span", { className: "under" }, named(differs)));
    cell.append(element("span", { className: "verdict" }));
    this.#label(cell);
    return cell;
  }

  #picture(n) {
    const picture = element("img", { src: address(n), alt: "", draggable: false, decoding: "async" });
    picture.addEventListener("error", () => picture.replaceWith(element("span", { className: "unseen quiet" }, UNSEEN)));
    picture.addEventListener("load", () => {
      const original = picture.naturalWidth / this.review.enlarged;
      picture.style.width = `${original * Math.max(ENLARGE, this.review.enlarged)}px`; // and no larger than the cell, by the style sheet
    });
    return picture;
  }

  #label(cell) {
    const n = Number(cell.dataset.number);
    const { kind, label, present } = this.review.shown[n];
    const words = `${verdictWords(kind, label)}${present ? "" : ", deleted in the file manager"}`;
    const under = cell.querySelector(".under")?.textContent;
    cell.setAttribute("aria-label", `Image ${n + 1}, ${under ? `${under}, ` : ""}${words}`);
    cell.classList.toggle("decided", kind !== "open");
    const chip = cell.lastChild;
    chip.className = `verdict ${KINDS[kind].colour}`;
    chip.hidden = kind === "open";
    say(chip, words);
    const picture = cell.querySelector("img");
    const unseen = cell.querySelector(".unseen"); // perhaps it was asked for while somebody moved it
    unseen?.remove();
    if (!present) picture?.remove();
    if (present && !picture) cell.prepend(this.#picture(n));
  }

  /** Shows what is chosen, where the keyboard is, and the question on a whole page. */
  #mark() {
    const { chosen } = this.selection;
    if (this.asking && !chosen.size) this.asking = null;
    [...this.#cells.querySelectorAll(".cell")].forEach((cell, i) => {
      const on = chosen.has(Number(cell.dataset.number));
      cell.setAttribute("aria-selected", String(on));
      cell.tabIndex = i === this.#cursor ? 0 : -1;
    });
    const where = find("asking");
    where.hidden = !this.asking;
    where.className = this.asking ? KINDS[DECISIONS[this.asking.decision].kind].colour : "";
    where.replaceChildren(...(this.asking ? this.#question(this.asking) : []));
  }

  /** "24 images: label right, copepod? …"; where they differ in it, "24 images: each is what it is called now? …" */
  #question({ decision, label }) {
    const own = { right: "given", suggested: "suggested" }[decision];
    const labels = new Set([...this.selection.chosen].map((n) => (own ? this.review.images[n][own] : label)));
    const [target] = labels;
    const words = decision === "class" ? "move to " : `${DECISIONS[decision].words.toLowerCase()}${target ? ", " : ""}`;
    return [
      `${images(this.selection.chosen.size)}: `,
      ...(labels.size === 1 ? [element("strong", {}, words), ...(target ? [named(target, "strong")] : [])] : [element("strong", {}, EACH[decision].words)]), "? ",
      element("kbd", {}, "Enter"), " yes, ", element("kbd", {}, "Esc"), " no. Click an image to leave it out.",
    ];
  }

  #change(numbers) {
    for (const n of numbers) {
      const cell = this.#cells.querySelector(`[data-number="${n}"]`);
      if (cell) this.#label(cell);
    }
    this.selection.drop(numbers); // what somebody else decided meanwhile is not overruled by a key that was meant before
    for (const i of new Set(numbers.map((n) => this.review.images[n].groups[this.filter.by]))) this.#count(i);
  }

  /** Above the images: what they have in common, and typical images of it. */
  #head({ given, suggested }) {
    const isPair = given !== null && suggested !== null;
    say(find("under"), GROUPINGS[this.filter.by].under ?? "");
    find("heading").className = isPair ? "" : "of-one";
    for (const [where, label] of Object.entries({ given, suggested })) {
      const sample = find(`sample-${where}`);
      sample.hidden = label === null;
      if (label === null) continue;
      find(`grid-${where}`).replaceChildren(named(label));
      find(`typical-${where}`).replaceChildren(...thumbs(this.review, this.review.typical(label).slice(0, isPair ? SAMPLE : SAMPLE_OF_ONE)));
    }
  }

  #listGroups() {
    find("groups").setAttribute("aria-label", GROUPINGS[this.filter.by].list);
    find("groups").replaceChildren(...this.#groups.map((group, i) => this.#groupButton(group, i)));
  }

  #groupButton({ given, suggested }, i) {
    const labels = [given, suggested].filter((label) => label !== null).flatMap((label) => [" → ", named(label)]).slice(1);
    const made = button({}, () => this.showGroup(i), element("span", {}, ...labels), element("span", { className: "number" }));
    this.#count(i, made);
    return made;
  }

  #count(i, item = find("groups").children[i]) {
    const { open, numbers } = this.#groups[i];
    say(item.lastChild, open ? number(open) : "✓");
    item.lastChild.title = `${number(open)} of ${images(numbers.length)} open`;
    item.classList.toggle("finished", open === 0);
  }
}

const address = (n) => `image/${n}?small=1`;
