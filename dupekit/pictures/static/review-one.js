// One by one: an image large, beside typical images of both classes, and above what it looks like.

import { element, find, named, say } from "./review-dom.js";
import { prepareThumbs, thumbs } from "./review-thumbs.js";
import { KINDS, UNSEEN, verdictWords } from "./review-words.js";

const AHEAD = 4;

export class OneByOne {
  filter = { kind: "all", by: "pair", group: null };
  current = null;

  constructor(review, picture) {
    this.review = review;
    this.picture = picture;
  }

  /** The filter for what comes next by itself: what is open, or the one verdict that is looked at. */
  get #wanted() {
    const { kind } = this.filter;
    return { ...this.filter, kind: kind === "all" ? "open" : kind };
  }

  /** Shows the next image that is wanted after the present one, or the first; false where there is none. */
  advance() {
    const next = this.review.next(this.current ?? -1, this.#wanted, 1, true);
    if (next === null) return false;
    this.show(next);
    return true;
  }

  /** Shows the image `step` images on, of those that the filter lets through. */
  step(step) {
    let to = this.current;
    for (let i = 0; i < Math.abs(step); i++) to = this.review.next(to, this.filter, Math.sign(step)) ?? to;
    this.show(to);
  }

  /** Shows an image, also where the filter would not let it through: then it lets through more. */
  reveal(n) {
    if (!this.review.matches(n, { ...this.filter, group: null })) this.filter.kind = "all";
    if (!this.review.matches(n, this.filter)) this.filter.group = null;
    this.show(n);
  }

  show(n) {
    if (this.current === n) return this.refresh();
    this.current = n;
    const image = this.review.images[n];
    this.#instead(""); // what is hidden has no size to be fitted into
    this.#show(image);
    this.#question(image);
    const [given, suggested, alike] = image.beside;
    this.#column(find("given"), "Now in", image.given, given);
    this.#column(find("suggested"), "The models say", image.suggested, suggested);
    find("alike").replaceChildren(...thumbs(this.review, alike, { label: true }));
    find("alike-row").hidden = !alike.length;
    this.refresh();
    this.#prepare();
  }

  #show(image) {
    this.picture.show(image, this.review.enlarged, `Image ${image.number + 1}: ${image.name}`, () => {
      if (this.current === image.number && this.review.shown[image.number].present) this.#instead(UNSEEN);
    });
  }

  /** Words in the place of the image; "" where it is there. */
  #instead(words) {
    find("away").hidden = !words;
    say(find("away"), words);
    find("frame").hidden = find("scale").hidden = Boolean(words);
  }

  /** What can change while the image stays. */
  refresh() {
    if (this.current === null) return;
    const { kind, label, present } = this.review.shown[this.current];
    const chip = find("question").lastChild;
    chip.hidden = kind === "open";
    chip.className = `verdict ${KINDS[kind].colour}`;
    say(chip, kind === "open" ? "" : verdictWords(kind, label));
    this.#instead(present ? "" : `Deleted in the file manager: ${verdictWords(kind, label)}.`);
    if (present && this.picture.broken) this.#show(this.review.images[this.current]);
  }

  #question(image) {
    const votes = image.votes === null || !this.review.votesShown ? "" : ` (${image.votes} of ${this.review.models})`;
    find("question").replaceChildren(
      "Now in ", named(image.given, "strong"), ". The models say ", named(image.suggested, "strong"), `${votes}. `,
      element("span", { className: "verdict", hidden: true }),
    );
  }

  #column(where, words, label, ids) {
    const typical = ids.length ? ids : this.review.typical(label).slice(0, 5);
    where.replaceChildren(
      element("p", { className: "quiet" }, words),
      named(label, "h2"),
      typical.length
        ? element("div", { className: "thumbs" }, ...thumbs(this.review, typical))
        : element("p", { className: "quiet none" }, "No typical images of this class came with the folder."),
    );
  }

  /** Gets the images that come next, so that they are there when a key is pressed. */
  #prepare() {
    const soon = [];
    for (let n = this.current; soon.length < AHEAD; ) {
      n = this.review.next(n, this.#wanted);
      if (n === null) break;
      soon.push(n);
    }
    const beside = [this.review.next(this.current, this.filter), this.review.next(this.current, this.filter, -1)];
    this.picture.prepare([...new Set([...soon, ...beside])].filter((n) => n !== null && this.review.shown[n].present));
    for (const n of soon) prepareThumbs(this.review.images[n].beside.flat());
  }
}
