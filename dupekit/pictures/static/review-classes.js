// The dialog for another class: one types a part of its name. A new class is made only where one chooses that.

import { element, find, named } from "./review-dom.js";
import { matching, same } from "./review-match.js";
import { thumbs } from "./review-thumbs.js";

const SAMPLE = 6;

export class ClassDialog {
  #dialog = find("classes");
  #text = find("class-text");
  #list = find("class-list");
  #sample = find("class-sample");
  #options = [];
  #active = -1;
  #answer = null;

  constructor(review) {
    this.review = review;
    this.#text.addEventListener("input", () => this.#offer());
    this.#dialog.addEventListener("keydown", (event) => this.#press(event));
    this.#dialog.addEventListener("close", () => this.#dialog.open || this.#finish(null));
    this.#dialog.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
  }

  /** The class chosen, or null. */
  ask() {
    this.#text.value = "";
    this.#dialog.showModal();
    this.#text.focus();
    this.#offer();
    return new Promise((answer) => (this.#answer = answer));
  }

  /** At once, and not when the browser tells of it: the next key may come before. */
  #finish(label) {
    const answer = this.#answer;
    this.#answer = null;
    this.#text.blur();
    this.#dialog.close();
    answer?.(label);
  }

  #offer() {
    const text = this.#text.value.trim();
    const { classes } = this.review;
    this.#options = matching(text, classes).map((label) => ({ label, made: false }));
    if (text && !same(text, classes)) this.#options.push({ label: text, made: true });
    this.#list.replaceChildren(...this.#options.map((option, i) => this.#item(option, i)));
    this.#activate(this.#options[0] && !this.#options[0].made ? 0 : -1);
  }

  #item({ label, made }, i) {
    const inner = made ? ["Make a new class: ", named(label)] : [named(label)];
    const item = element("li", { id: `class-${i}`, role: "option", "aria-selected": "false", className: made ? "made" : "" }, ...inner);
    item.addEventListener("pointerdown", (event) => event.preventDefault());
    item.addEventListener("click", () => this.#finish(label));
    return item;
  }

  #activate(i) {
    this.#list.children[this.#active]?.setAttribute("aria-selected", "false");
    this.#active = i;
    const item = this.#list.children[i];
    item?.setAttribute("aria-selected", "true");
    item?.scrollIntoView({ block: "nearest" });
    if (item) this.#text.setAttribute("aria-activedescendant", item.id);
    else this.#text.removeAttribute("aria-activedescendant");
    const option = this.#options[i];
    this.#sample.replaceChildren(...(option && !option.made ? thumbs(this.review, this.review.typical(option.label).slice(0, SAMPLE)) : []));
  }

  #press(event) {
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8 };
    const last = this.#options.length - 1;
    if (event.key in steps) {
      event.preventDefault();
      this.#activate(Math.max(last < 0 ? -1 : 0, Math.min(last, this.#active + steps[event.key])));
    } else if (event.key === "Escape") {
      event.preventDefault();
      this.#finish(null);
    } else if (event.key === "Enter" && !event.isComposing) {
      event.preventDefault();
      const option = this.#options[this.#active];
      if (option) this.#finish(option.label);
    }
  }
}
