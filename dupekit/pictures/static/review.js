// The review page: loads the tree, and joins ways of working, keys and buttons with what they do.

import { ClassDialog } from "./review-classes.js";
import { Deciding } from "./review-deciding.js";
import { element, find, say } from "./review-dom.js";
import { Frame } from "./review-frame.js";
import { Grid } from "./review-grid.js";
import { BY } from "./review-groups.js";
import { actOf, isElsewhere } from "./review-keys.js";
import { Review } from "./review-model.js";
import { OneByOne } from "./review-one.js";
import { Picture } from "./review-picture.js";
import { Server, get } from "./review-server.js";
import { LOST, OUT_OF_DATE, TROUBLE } from "./review-words.js";

const PAGE_IN_ONE = 10;

class Page {
  mode = "one";
  ended = false;
  pace = {};

  constructor(review, server) {
    this.review = review;
    this.server = server;
    this.deciding = new Deciding(review, server);
    this.picture = new Picture(find("frame"), find("scale-bar"), find("scale-text"));
    this.one = new OneByOne(review, this.picture);
    this.grid = new Grid(review);
    this.dialog = new ClassDialog(review);
    this.frame = new Frame(this);
    review.addEventListener("change", ({ detail }) => this.#changed(detail));
    this.deciding.addEventListener("undone", ({ detail }) => detail.length && this.#reveal(detail[0]));
    find("groups").addEventListener("click", () => this.frame.refresh()); // the buttons name what the group has in common
    document.addEventListener("keydown", (event) => this.#press(event));
    // A click gives no button the focus: Enter and Space stay the page's. The Tab key reaches them all.
    document.addEventListener("mousedown", (event) => event.target.closest("button") && event.preventDefault());
  }

  get view() {
    return this[this.mode];
  }

  /** What the keys and buttons do, by the names in KEYS. */
  acts = {
    right: () => this.decide("right"),
    suggested: () => this.decide("suggested"),
    class: () => this.#otherClass(),
    recent: (key) => this.#recent(Number(key) - 1),
    unsure: () => this.decide("unsure"),
    expunge: () => this.decide("expunge"),
    undo: () => this.deciding.undo(),
    open: () => this.advance(),
    mode: () => this.setMode(this.mode === "one" ? "grid" : "one"),
    before: () => this.#step(-1),
    after: () => this.#step(1),
    stretch: () => this.stretch(),
    larger: () => (this.mode === "one" ? this.picture.zoom(1) : this.grid.grow(1)),
    smaller: () => (this.mode === "one" ? this.picture.zoom(-1) : this.grid.grow(-1)),
    fit: () => this.picture.fit(),
    pageAfter: () => (this.mode === "one" ? this.#step(PAGE_IN_ONE) : this.grid.turn(1)),
    pageBefore: () => (this.mode === "one" ? this.#step(-PAGE_IN_ONE) : this.grid.turn(-1)),
    groupBy: () => this.groupBy(BY[(BY.indexOf(this.grid.filter.by) + 1) % BY.length]),
    groupAfter: () => this.#turnGroup(1),
    groupBefore: () => this.#turnGroup(-1),
    all: () => this.grid.selectPage(),
    walk: (key) => this.grid.walk(key),
    toggle: () => this.grid.toggleAtCursor(),
    enter: () => this.#enter(),
    clear: () => this.grid.clear(),
    help: () => find("help").showModal(),
  };

  /** Decides on the image, or on what is chosen in the grid; goes on where that is done. */
  decide(decision, label = null) {
    if (this.ended) return;
    if (this.mode === "grid") {
      const numbers = this.grid.take(decision, label);
      if (numbers) this.#decideInGrid(numbers, decision, label);
      else if (!this.grid.asking) this.frame.note({ text: "Everything on this page is decided. n goes to the next open image." });
      return;
    }
    if (!this.review.shown[this.one.current].present) {
      this.frame.note({ text: "This image was deleted in the file manager. There it can be put back.", warn: true });
      return;
    }
    this.deciding.decide([this.one.current], decision, label);
    this.advance();
  }

  /** To the next open image; where there is none, to the end. */
  advance() {
    this.ended = false;
    if (!this.view.advance()) {
      if (this.mode === "one" && this.review.counts.open && this.one.filter.group !== null) {
        this.frame.note({ text: "No open images of this pair are left." });
      } else if (!this.review.counts.open) this.ended = true;
      else this.frame.note({ text: "No more images to show here." });
    }
    this.frame.refresh();
  }

  /** Another way of working, at the same image or another. */
  setMode(mode, at = this.mode === "one" ? this.one.current : this.grid.atCursor) {
    this.ended = false;
    this.mode = mode;
    this.frame.arrange();
    this.#reveal(at ?? this.review.next(-1, { kind: "open", group: null }) ?? 0);
  }

  /** Other groups in the grid. */
  groupBy(by) {
    if (this.ended) return;
    this.grid.groupBy(by);
    this.frame.arrange();
  }

  /** What is shown: the kind in both ways of working, the group in this one. */
  setFilter({ kind, group }) {
    this.ended = false;
    this.one.filter.kind = this.grid.filter.kind = kind;
    const { filter } = this.view;
    filter.group = group;
    if (this.mode === "grid") {
      if (!this.grid.showFrom(group)) this.frame.note({ text: "There are no such images." });
    } else if (!this.review.matches(this.one.current ?? -1, filter)) {
      const first = this.review.next(this.one.current ?? -1, filter, 1, true);
      if (first === null) this.frame.note({ text: "There are no such images." });
      else this.one.show(first);
    }
    this.frame.refresh();
  }

  /** All is decided, but one wants to see it again. */
  look() {
    this.#reveal(0);
  }

  stretch() {
    this.picture.stretched = !this.picture.stretched;
    const { current } = this.one;
    this.one.current = null;
    this.one.show(current);
    this.frame.refresh();
  }

  #decideInGrid(numbers, decision, label) {
    this.deciding.decide(numbers, decision, label);
    this.grid.clear();
    if (this.grid.allDecided) this.advance();
  }

  #enter() {
    if (this.grid.asking) {
      const { numbers, decision, label } = this.grid.answer();
      this.#decideInGrid(numbers, decision, label);
    } else this.setMode("one");
  }

  async #otherClass() {
    if (this.ended) return;
    const label = await this.dialog.ask();
    if (label === null) return;
    this.deciding.remember(label);
    this.decide("class", label);
  }

  #recent(i) {
    const label = this.deciding.recent[i];
    if (label) this.decide("class", label);
  }

  #step(step) {
    this.ended = false;
    this.one.step(step);
    this.frame.refresh();
  }

  #turnGroup(step) {
    this.grid.turnGroup(step);
    this.frame.refresh();
  }

  #reveal(n) {
    this.ended = false;
    this.view.reveal(n);
    this.frame.refresh();
  }

  #changed(numbers) {
    if (numbers.includes(this.one.current)) this.one.refresh();
    if (this.ended && this.review.counts.open) this.advance(); // somebody else took one back
    else this.frame.refresh();
  }

  #press(event) {
    if (isElsewhere(event)) return;
    const entry = actOf(event, this.mode);
    if (!entry) return;
    event.preventDefault();
    this.acts[entry.act](event.key);
  }
}

/** What hinders the work, where something does. */
function banner({ standing, trouble, held }) {
  const where = find("banner");
  const text = { here: trouble && TROUBLE(trouble, held), lost: LOST(held), dead: OUT_OF_DATE(held) }[standing];
  where.hidden = !text;
  say(where, text || "");
}

async function begin() {
  const [tree, references, state] = await Promise.all(["tree", "references", "state"].map(get));
  const review = new Review(tree, references);
  const everything = ({ verdicts, present }) => review.follow(verdicts.map(([verdict, label], n) => [n, verdict, label, present[n]]));
  everything(state);
  const server = new Server(state);
  const page = new Page(review, server);
  page.pace = state.pace;
  server.addEventListener("news", ({ detail }) => {
    page.pace = detail.pace;
    page.deciding.hear(detail);
    page.frame.refresh();
  });
  server.addEventListener("state", ({ detail }) => everything(detail));
  server.addEventListener("standing", () => {
    banner(server);
    page.frame.refresh();
  });
  addEventListener("beforeunload", (event) => server.held && event.preventDefault());
  banner(server);
  page.frame.arrange();
  page.advance();
}

begin().catch((error) => {
  document.body.replaceChildren(element("p", { id: "banner", role: "alert" }, "This page could not be opened. Is dupekit still running? If it was started anew, open the new address that it shows."));
  throw error;
});
